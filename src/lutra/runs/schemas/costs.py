"""`cost.json`."""

from __future__ import annotations

from pydantic import Field, model_validator

from lutra.names import Name
from lutra.runs.schemas.values import Amount, Count, Fold, Hash, Message, Positive, Share, Versioned
from lutra.schema import Strict


class Part(Strict):
    """One part of the dense model."""

    name: Message
    group: Message
    weights: Count
    parameters: Count
    macs_per_sequence: Count


class Model(Strict):
    """The dense model that the run's model replaces."""

    layers: Positive = 1
    width: Positive = 1
    heads: Positive = 1
    hidden: Positive = 1
    sequence_tokens: Positive
    parts: list[Part] = Field(default_factory=list)
    mlp_share_of_macs: Share = 0.0
    mlp_share_of_layer_macs: Share = 0.0
    mlp_share_of_parameters: Share = 0.0


class Counts(Strict):
    """What a block holds and does for one token."""

    name: Name
    graph: Name
    thermometer_bits: Count
    comparators: Count
    distinct_comparators: Count
    luts: Count
    additions_per_token: Count
    table_bytes: Amount
    encoded_bytes: Amount


class BlockCost(Strict):
    """One block at one fold factor, per sequence."""

    name: Name
    graph: Name = "unnamed"
    fold_factor: Fold
    cycles_per_token: Positive
    latency_cycles: Positive
    cycles_per_sequence: Positive
    measured_rows: Positive | None = None
    measured_cycles: Count | None = None
    predicted_cycles_of_measured_rows: Positive | None = None
    fpga_energy_paper_power_j: Amount
    fpga_energy_interpolated_j: Amount | None
    asic_energy_paper_power_j: Amount
    asic_energy_measured_switching_j: Amount | None = None


class Product(Strict):
    """`count` products of a (rows x inner) with an (inner x columns) matrix."""

    name: Message
    rows: Positive
    inner: Positive
    columns: Positive
    count: Positive


class ProductCost(Strict):
    """A product on the systolic array."""

    gemm: Product
    steady_cycles: Count
    cycles: Count
    fpga_energy_j: Amount
    asic_energy_j: Amount


class ArrayCost(Strict):
    """Products together."""

    steady_cycles: Count
    cycles: Count
    fpga_energy_j: Amount
    asic_energy_j: Amount


class DenseLayer(Strict):
    """A dense layer on the systolic array."""

    systolic_array_size: Positive
    gemms: list[ProductCost] = Field(default_factory=list)
    attention: ArrayCost | None = None
    mlp: ArrayCost


class LayerCosts(Strict):
    """A dense layer's energy over that of a layer with a block."""

    fold_factor: Fold
    block_cycles_per_sequence: Amount = 0.0
    fpga_ratio_paper_power: Amount | None = None
    fpga_ratio_interpolated: Amount | None
    asic_ratio_paper_power: Amount | None = None
    upper_limit_ratio: Amount | None = None


class Basis(Strict):
    """Where each energy comes from, in words."""

    fpga_paper_power: Message
    fpga_interpolated: Message
    asic_paper_power: Message = ""
    asic_measured_switching: Message = ""


class Cost(Versioned):
    """The file."""

    frozen_hash: Hash | None = None
    model: Model
    inference_counts: list[Counts] = Field(default_factory=list)
    blocks: list[BlockCost] = Field(min_length=1)
    dense_layer: DenseLayer | None
    """None for a frozen model whose recipe says nothing of a dense one."""
    layers: list[LayerCosts] = Field(min_length=1)
    energy_basis: Basis
    leaves_out: list[Message] = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_a_block_for_each_layer(self) -> Cost:
        if missing := {layer.fold_factor for layer in self.layers} - {block.fold_factor for block in self.blocks}:
            raise ValueError(f"layers has the fold factor {next(iter(missing))}, blocks has not")
        return self
