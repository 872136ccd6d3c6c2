"""`rtl.json` beside generated SystemVerilog: what the folder holds, with the design's hash."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lutra.names import Name
from lutra.runs.schemas.values import Count, Dataflow, Fold, Hash, Message, Positive, Versioned
from lutra.schema import Strict


class SumsOfGroup(Strict):
    """How the outputs of one group are summed, and the LUTs that either way was counted to take."""

    dataflow: Literal["tree", "graph"]
    tree_luts: Count
    graph_luts: Count


class BlockOfDesign(Strict):
    """A module, its graph and its schedule."""

    module: Name
    graph: Name
    dataflow: Dataflow = "accumulate"
    fold_factor: Fold
    steps: Positive
    bits_per_step: Count
    input_lanes: Positive
    output_lanes: Positive
    input_beats: Positive
    output_beats: Positive
    input_stages: Count
    drain_cycles: Count
    sums: list[SumsOfGroup] = Field(default_factory=list)
    """Of every group of outputs, where there was a choice."""
    fallback: Message | None = None
    """Why there was none."""


class Manifest(Versioned):
    """The file."""

    design_hash: Hash
    blocks: list[BlockOfDesign] | None = None
    """Of the weightless blocks of a model."""
    systolic: dict[str, object] | None = None
    """Of a systolic array: its module, size and ports."""
    top: Name | None = None
    config: dict[str, object] | None = None
    """Of a whole machine: its module, and a `BatConfig` or a `TransformerConfig`, which reads it."""
