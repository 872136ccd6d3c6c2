"""`rtl.json` beside generated SystemVerilog: what the folder holds, with the design's hash."""

from __future__ import annotations

from lutra.names import Name
from lutra.runs.schemas.values import Count, Dataflow, Fold, Hash, Positive, Versioned
from lutra.schema import Strict


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
