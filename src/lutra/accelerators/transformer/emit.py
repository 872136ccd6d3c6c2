"""Writes the SystemVerilog of the transformer machine: hand-written modules as they are, and a top that sizes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mako.template import Template

from lutra.accelerators.block.emit import RTL as BLOCK
from lutra.accelerators.block.emit import block_files
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.transformer.config import TransformerConfig
from lutra.frozen.graph import Graph
from lutra.frozen.types import TensorType
from lutra.hardware.design import Design, library_files

RTL = Path(__file__).parent / "rtl"
SYSTOLIC = Path(__file__).parents[1] / "systolic" / "rtl"
TOP = "transformer"


def core_parameters(config: TransformerConfig) -> dict[str, int]:
    """Of `lutra_transformer_core`."""
    return {
        "Size": config.size,
        "Lanes": config.lanes,
        "NormLanes": config.norm_lanes,
        "Rows": config.rows,
        "Depth": config.depth,
        "StreamWords": config.stream_words,
        "LeftWords": config.left_words,
        "NormedWords": config.normed_words,
        "KeyWords": config.key_words,
        "ValueWords": config.value_words,
        "WeightWords": config.weight_words,
        "ConstantWords": config.constant_words,
        "NormWords": config.norm_words,
        "TokenWords": config.token_words,
        "PositionWords": config.position_words,
        "Tables": config.tables,
        "ProgramWords": config.program_words,
        "Pixels": int(config.pixels),
        "Overlap": int(config.overlap),
        "InputBits": config.input_bits,
        "LoadBits": config.load_bits,
    }


def block_plans(config: TransformerConfig, blocks: Sequence[Graph]) -> list[BlockPlan]:
    """What the RTL of a model's weightless blocks consists of.

    Raises:
        InputError: a fold factor or dataflow that a block does not have.
    """
    return [BlockPlan(graph, f"block_{k}", config.fold_factor, config.dataflow) for k, graph in enumerate(blocks)]


def machine_top(config: TransformerConfig, plans: Sequence[BlockPlan]) -> str:
    """The module that sizes the core, and joins weightless blocks to it."""
    template = Template(
        filename=str(RTL / "transformer.sv.mako"), strict_undefined=True, imports=["from lutra.escape import comment"]
    )
    parameters = core_parameters(config)
    return str(template.render(config=config, name=TOP, parameters=parameters, plans=plans, extended=_extended))


def transformer_design(config: TransformerConfig, blocks: Sequence[Graph] = ()) -> Design:
    """The machine of a configuration, with the weightless blocks of one model."""
    plans = block_plans(config, blocks)
    text = machine_top(config, plans)
    generated = {file: text for plan in plans for file, text in block_files(plan).items()} | {f"{TOP}.sv": text}
    described = [{"module": plan.name, "graph": plan.graph.name, **asdict(plan.schedule)} for plan in plans]
    manifest = {"top": TOP, "config": config.to_mapping()} | ({"blocks": described} if described else {})
    return Design.complete(generated, library_files(SYSTOLIC, BLOCK, RTL), manifest)


def _extended(words: str, lane: int, type_: TensorType) -> str:
    """A lane of a word as 32 bits."""
    sign = f"{words}[{type_.bits * (lane + 1) - 1}]" if type_.signed else "1'b0"
    value = f"{words}[{type_.bits * lane} +: {type_.bits}]"
    return value if type_.bits == 32 else f"{{{{{32 - type_.bits}{{{sign}}}}}, {value}}}"
