"""How much of a transformer its MLPs are: any model as QuWeiT's Table 1, and the models of its Fig. 1 beside others."""

from __future__ import annotations

from lutra.cost.shapes import preset
from lutra.cost.workload import ENCODER, TransformerShape, Workload, workload
from lutra.papers.records import Records
from lutra.papers.table import PaperTable, Row
from lutra.report.shares_figure import shares_figure

FIGURE_MODELS = {
    "deit-t": "DeiT-T",
    "deit-s": "DeiT-S",
    "deit-b": "DeiT-B",
    "bert-base": "BERT-base",
    "gpt-baby": "nanoGPT-baby",
    "gpt2": "GPT-2",
    "gpt2-medium": "GPT-2 medium",
    "gpt2-large": "GPT-2 large",
    "gpt2-xl": "GPT-2 XL",
    "llama-2-7b": "Llama 2 7B",
    "llama-3-8b": "Llama 3 8B",
    "gpt3": "GPT-3 175B",
}
"""Presets and their names in the figure."""


def figure_workloads() -> dict[str, Workload]:
    """The models of the figure by their names in it."""
    return {label: workload(preset(name)) for name, label in FIGURE_MODELS.items()}


def quweit_figure_1(records: Records) -> PaperTable:
    """Shares of the MLPs in whole models, and in the layers alone."""
    rows = []
    for label, model in figure_workloads().items():
        parameters, macs = 100 * model.mlp_share_of_parameters(), 100 * model.mlp_share_of_macs()
        layers = f"{100 * model.mlp_share_of_weights():.1f} % of the layers' weights"
        rows.append(Row(f"{label}, MLP share of parameters", "%", None, parameters, layers))
        of_layers = f"{100 * model.mlp_share_of_macs(ENCODER):.1f} % of the layers' MACs"
        length = f"{of_layers}, {model.shape.tokens:,} tokens"
        rows.append(Row(f"{label}, MLP share of MACs", "%", None, macs, length))
    notes = (
        'The paper draws a figure without numbers and says "over 60 %" of the weights, "50 - 70 %" of the MACs.',
        "Of whole models that holds where embeddings are small beside the layers; GPT-2 and BERT-base have large ones.",
        "Attention is counted in full; language models evaluate their head for every token, as in training.",
        "BERT-base is counted at 128 tokens, the others at the longest sequence that they take.",
    )
    return PaperTable("quweit-fig1", "QuWeiT Fig. 1: the MLPs' share of parameters and MACs", tuple(rows), notes)


def workload_table(shape: TransformerShape) -> PaperTable:
    """Every part of a model of `shape`: matrix elements and MACs per sequence, then the MLPs' shares."""
    model = workload(shape)
    rows = []
    for part in model.parts:
        if part.weights:
            rows.append(Row(f"{part.name}, weights", "", None, part.weights))
        if part.macs_per_sequence:
            rows.append(Row(f"{part.name}, MACs per sequence", "", None, part.macs_per_sequence))
    rows.append(Row("all parameters", "", None, model.parameters(), "with biases and normalisations"))
    rows.append(Row("MLP share of parameters", "%", None, 100 * model.mlp_share_of_parameters()))
    rows.append(Row("MLP share of the layers' weights", "%", None, 100 * model.mlp_share_of_weights()))
    rows.append(Row("MLP share of MACs", "%", None, 100 * model.mlp_share_of_macs()))
    rows.append(Row("MLP share of the layers' MACs", "%", None, 100 * model.mlp_share_of_macs(ENCODER)))
    kind = "gated MLP" if shape.gated else "MLP"
    shared = f", {shape.kv_heads} of keys and values" if shape.kv_heads not in (None, shape.heads) else ""
    described = f"{shape.layers} layers of width {shape.width:,}, {shape.heads} heads{shared}, {kind} {shape.hidden:,}"
    notes = (f"{described}; {shape.tokens:,} tokens per sequence.", "Attention is counted in full.")
    return PaperTable("quweit-1", f"QuWeiT Table 1 for {shape.name}: weights and MACs", tuple(rows), notes)


def draw_figure_1(records: Records) -> str:
    """The figure as SVG."""
    return shares_figure(figure_workloads())
