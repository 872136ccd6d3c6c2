"""From a trained model to integers and back into it: the only module that knows both PyTorch and the frozen model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import save as dump_tensors
from torch import Tensor, nn

from lutra import __version__
from lutra.data.text import load_shakespeare, validation_windows
from lutra.errors import InputError
from lutra.files import RunFiles, replacing, write_json, write_text
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, Graph
from lutra.frozen.ops import ConditionalSum, LutLayer, Requantise, Thermometer
from lutra.frozen.types import TensorType
from lutra.models.gpt import GPT
from lutra.nn.weightless import WeightlessBlock, weightless_blocks
from lutra.recipe import Recipe
from lutra.recovery import recovery
from lutra.train.checkpoint import load_model
from lutra.train.evaluate import validation_loss
from lutra.train.generate import generate_text

EngineName = Literal["torch", "golden", "runtime"]

IntegerEngine = Callable[[np.ndarray], np.ndarray]
"""Turns int8 input rows (N, D) of one graph into its integer output rows (N, D_out)."""


def freeze_block(name: str, block: WeightlessBlock) -> Graph:
    """The integer graph of a quantised block.

    Raises:
        InputError: the block is not quantised.
    """
    integers = block.export()
    ops: list[Thermometer | LutLayer | ConditionalSum | Requantise] = [
        Thermometer(("x",), "bits0", integers.thresholds),
    ]
    for layer, (connections, tables) in enumerate(integers.lut_layers, start=1):
        ops.append(LutLayer((f"bits{layer - 1}",), f"bits{layer}", connections, tables))
    sources = tuple(f"bits{source}" for source in integers.sum_sources)
    ops.append(ConditionalSum(sources, "sum", integers.encoded, integers.bias, integers.groups))
    width = len(integers.bias)
    output_type = TensorType(signed=True, bits=integers.output_bits, scale=integers.output_scale)
    shift = np.full(width, integers.shift)
    ops.append(Requantise(("sum",), "y", np.ones(width, np.int64), shift, output_type))
    input_type = TensorType(signed=True, bits=8, scale=integers.input_scale)
    graph = Graph(name, "x", input_type, block.width, tuple(ops))
    graph.check()
    return graph


def freeze_model(model: nn.Module, origin: dict[str, str] | None = None) -> FrozenModel:
    """Freeze every weightless block of `model`; blocks that are not quantised yet are quantised first.

    Raises:
        InputError: there is no weightless block, or one was never calibrated.
    """
    blocks = weightless_blocks(model)
    if not blocks:
        raise InputError(
            "the model has no weightless block to freeze; train one with ffn = weightless, or call replace_mlp"
        )
    quantise_blocks(model)
    graphs = tuple(freeze_block(name, block) for name, block in blocks.items())
    return FrozenModel(graphs, {"lutra": __version__, "torch": torch.__version__, **(origin or {})})


def quantise_blocks(model: nn.Module) -> None:
    """Switch the blocks of `model` to integers; those that were trained with integers keep their input scale."""
    for block in weightless_blocks(model).values():
        if not block.quantised:
            block.quantise_()


class FrozenBlock(nn.Module):
    """A frozen graph in the place of the module that it was frozen from; inference only."""

    def __init__(self, graph: Graph, engine: IntegerEngine) -> None:
        super().__init__()
        self.graph, self.engine = graph, engine

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(..., D) float -> (..., D_out) of the same type: quantise, integer engine, dequantise."""
        rows = x.detach().float().reshape(-1, self.graph.input_width).cpu().numpy()
        integers = golden.quantise(rows, self.graph.input_type).astype(np.int8)
        y = golden.dequantise(self.engine(integers), self.graph.output_type)
        return torch.from_numpy(y).to(x.device, x.dtype).view(*x.shape[:-1], self.graph.output_width)


def golden_engine(graph: Graph) -> IntegerEngine:
    """The NumPy definition as an engine."""
    return functools.partial(golden.run, graph)


def install(
    model: nn.Module, frozen: FrozenModel, create_engine: Callable[[Graph], IntegerEngine] = golden_engine
) -> None:
    """Put the frozen graphs in the place of the modules that they were frozen from.

    Raises:
        FrozenModelError, InputError: the frozen model lacks a block of `model`, or has one that `model` lacks.
    """
    expected, found = set(weightless_blocks(model)), {graph.name for graph in frozen.graphs}
    if expected != found:
        odd = sorted(expected ^ found)
        raise InputError(f"frozen model and checkpoint differ in {', '.join(odd)}; run `lutra freeze` again")
    for graph in frozen.graphs:
        block, engine = model.get_submodule(graph.name), FrozenBlock(graph, create_engine(graph))
        places = [path for path, module in model.named_modules(remove_duplicate=False) if module is block]
        for path in places:  # a block that several layers share stands in several
            parent, _, attribute = path.rpartition(".")
            setattr(model.get_submodule(parent), attribute, engine)


def freeze_run(run: RunFiles, recipe: Recipe) -> dict[str, Any]:
    """Freeze the best checkpoint of a run into `run.frozen`, and capture real input rows for the simulation.

    The rows (`run.samples`) are what each block receives on the first windows of the validation text.

    Returns:
        `content_hash`, `graphs` (names) and `rows` per graph.

    Raises:
        CheckpointError, InputError: no usable checkpoint, or a model without weightless blocks.
    """
    model = load_model(run)
    frozen = freeze_model(
        model, {"recipe": recipe.name, "recipe_hash": recipe.content_hash(), "seed": str(recipe.seed)}
    )
    store.save(frozen, run.frozen)
    samples = capture_inputs(model, frozen, recipe.hardware.rows)
    with replacing(run.samples) as temporary:
        temporary.write_bytes(dump_tensors(samples))
    names = [graph.name for graph in frozen.graphs]
    return {"content_hash": store.content_hash(run.frozen), "graphs": names, "rows": recipe.hardware.rows}


@torch.no_grad()
def capture_inputs(model: GPT, frozen: FrozenModel, rows: int) -> dict[str, np.ndarray]:
    """int8 input rows (rows, D) of every frozen block, as validation text produces them."""
    caught: dict[str, list[np.ndarray]] = {graph.name: [] for graph in frozen.graphs}

    def catch(graph: Graph) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            real = inputs[0].float().reshape(-1, graph.input_width).numpy()
            caught[graph.name].append(golden.quantise(real, graph.input_type).astype(np.int8))

        return hook

    hooks = [model.get_submodule(graph.name).register_forward_pre_hook(catch(graph)) for graph in frozen.graphs]
    windows = validation_windows(load_shakespeare().validation, 1, model.config.context)
    try:
        while sum(map(len, caught[frozen.graphs[0].name])) < rows:
            model(next(windows)[0])
    except StopIteration:
        raise InputError(f"hardware.rows: the validation text has fewer than {rows} rows") from None
    finally:
        for hook in hooks:
            hook.remove()
    return {name: np.concatenate(parts)[:rows] for name, parts in caught.items()}


def load_with_engine(run: RunFiles, engine: EngineName) -> GPT:
    """The best model of a run: as trained ("torch"), or with its frozen blocks in place ("golden", "runtime").

    Raises:
        CheckpointError, FrozenModelError, InputError: see `load_model`, `store.load` and `install`.
    """
    model = load_model(run)
    if engine != "torch":
        install(model, store.load(run.frozen), _ENGINES[engine])
    return model


def _runtime_engine(graph: Graph) -> IntegerEngine:
    from lutra.runtime.engine import BlockRuntime

    return BlockRuntime(graph)


_ENGINES: dict[str, Callable[[Graph], IntegerEngine]] = {"golden": golden_engine, "runtime": _runtime_engine}


def evaluate_run(run: RunFiles, recipe: Recipe, engine: EngineName = "golden") -> dict[str, Any]:
    """Losses on the whole validation text: of the model with real-valued, fake-quantised and frozen integer blocks, and
    of the baselines; and the recovery of the integer model. Writes `run.evaluate` and a sample text.

    Returns:
        `validation_loss` by arithmetic ("float", "fake_quantised" and the engine's name, or "float" alone where there
        is no weightless block), `baselines` by ffn, `recovery` (None unless both baselines are trained), `tokens`.

    Raises:
        InputError: an engine was asked for a model without weightless blocks; CheckpointError, FrozenModelError: see
            `load_with_engine`.
    """
    tokens, batch = load_shakespeare().validation, recipe.train.evaluate_batch
    model = load_model(run)
    blocks = weightless_blocks(model).values()
    losses: dict[str, float] = {}
    if blocks:
        frozen = load_with_engine(run, engine)
        losses = {engine: validation_loss(frozen, tokens, batch)}
        quantise_blocks(model)
        losses["fake_quantised"] = validation_loss(model, tokens, batch)
        for block in blocks:
            block.dequantise_()
    losses["float"] = validation_loss(model, tokens, batch)
    baselines = {
        ffn: validation_loss(load_model(run.baseline(ffn)), tokens, batch)
        for ffn in recipe.baselines
        if run.baseline(ffn).best_checkpoint.exists()
    }
    ours = losses.get(engine, losses["float"])
    both = {"mlp", "none"} <= baselines.keys()
    result = {
        "validation_loss": losses,
        "baselines": baselines,
        "recovery": recovery(baselines["none"], ours, baselines["mlp"]) if both else None,
        "tokens": len(tokens) - 1,
        "engine": engine if blocks else "torch",
    }
    write_text(run.sample, generate_run(run, recipe, engine=engine if blocks else "torch"))
    write_json(run.evaluate, result)
    return result


def generate_run(
    run: RunFiles,
    recipe: Recipe,
    prompt: str = "\n",
    characters: int = 500,
    seed: int | None = None,
    temperature: float = 0.8,
    engine: EngineName = "golden",
) -> str:
    """`prompt` and `characters` more of text from the best model of a run; without `seed`, the recipe's.

    Raises:
        InputError: a character that the model does not know, or a temperature below 0; see also `load_with_engine`.
    """
    return generate_text(
        load_with_engine(run, engine),
        prompt,
        load_shakespeare().characters,
        max_new_characters=characters,
        temperature=temperature,
        seed=recipe.seed if seed is None else seed,
    )
