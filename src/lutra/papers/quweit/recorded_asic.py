"""Blocks and systolic arrays of ours in 45 nm whose mapping is recorded: area, slack, and power from counted switching.

Neither knows wires or a clock tree; arrays have no memories but those that are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutra.cost.systolic import SystolicArray
from lutra.papers.recorded_designs import recorded
from lutra.papers.records import Records

RECORDED_BLOCKS = {model: f"weightless-asic-{model}" for model in ("ivit-t", "gpt-baby", "gpt-mini")}
"""By model, the `design` of the records of syntheses."""
RECORDED_ELEMENTS = "systolic-asic-ivit-t"
PAPER_SHAPE = "paper-4D-D-dense"
BUFFERED_OPERANDS = 768
"""Terms of the longest sums of I-ViT-T's MLP: what an edge lane needs at least to feed a tile."""
DEPTHS, ARRAY_CLOCK_HZ = (16, 64), 1e9
"""What `benchmarks/measure_systolic_asic.py` maps, and the clock of its power."""


@dataclass(frozen=True)
class AsicBlock:
    """A trained block in standard cells, at work without stalls."""

    shape: str
    dataflow: str
    fold_factor: int
    gated: bool
    area_mm2: float
    slack_ns: float
    power_w: float
    """From switching counted on real rows."""
    clock_hz: float
    """Of the power; the block reaches `reached_hz`."""
    cycles_per_sequence: int

    @property
    def energy_j(self) -> float:
        """Per sequence."""
        return self.power_w * self.cycles_per_sequence / self.clock_hz

    @property
    def reached_hz(self) -> float:
        return reached_hz(self.slack_ns, self.clock_hz)

    @property
    def label(self) -> str:
        clock = "gated clocks" if self.gated else "plain clock"
        return f"{self.shape}, {self.dataflow}, F = {self.fold_factor}, {clock}"


def reached_hz(slack_ns: float, clock_hz: float) -> float:
    """The clock at which nothing is missing of a slack at `clock_hz`; never more than that."""
    return 1 / (1 / clock_hz + max(0.0, -slack_ns) * 1e-9)


def recorded_blocks(records: Records, tokens: int, model: str = "ivit-t") -> list[AsicBlock]:
    """The recorded blocks of `model`'s width for sequences of `tokens` tokens, in the record's order.

    Raises:
        InputError: a record is damaged.
    """

    def block(target: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        built = AsicBlock(
            **{key: target[key] for key in ("shape", "dataflow", "fold_factor", "area_mm2", "slack_ns", "clock_hz")},
            gated=target["clock_gating"],
            power_w=target["power_measured"]["total_w"],
            cycles_per_sequence=(tokens - 1) * target["cycles_per_token"] + target["latency_cycles"],
        )
        return built.label, {"block": built}

    return [values["block"] for values in recorded(records, RECORDED_BLOCKS[model], block).values()]


@dataclass(frozen=True)
class AsicArray:
    """A systolic array counted up from its elements, the selectors of its columns and the lanes at its edges."""

    size: int
    area_mm2: float
    """Elements, edge lanes without their memories, and the selectors that take sums out of columns."""
    buffer_area_mm2: float
    """What edge buffers of flip-flops would add: one bank of `BUFFERED_OPERANDS` operands per lane."""
    power_w: float
    """Elements and edge lanes at work, counted at real operands."""
    slack_ns: float
    """Of elements among their neighbours and of selectors; edge lanes depend on their memories."""

    def energy_j(self, cycles: int) -> float:
        """Without buffers."""
        return self.power_w * cycles / ARRAY_CLOCK_HZ

    def as_systolic(self) -> SystolicArray:
        """For `layer.layer_cost`: the same array with energy in 45 nm alone."""
        return SystolicArray(self.size, 0.0, self.power_w / ARRAY_CLOCK_HZ)


def recorded_array(records: Records, size: int) -> AsicArray | None:
    """A `size` x `size` array from its recorded parts; None where they are not recorded.

    Raises:
        InputError: the record is damaged.
    """

    def part(target: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        used = {key: target[key] for key in ("area_mm2", "slack_ns")}
        return target["name"], used | {"power_w": target.get("power_measured", {}).get("total_w")}

    parts = recorded(records, RECORDED_ELEMENTS, lambda target: None if target["clock_gating"] else part(target))
    if f"selector_{size}" not in parts:
        return None
    element, selector = parts["element_mlp_1"], parts[f"selector_{size}"]
    element_w = (element["power_w"] + parts["element_mlp_2"]["power_w"]) / 2  # both products take as many cycles
    edge_mm2, banks_mm2 = _line(parts, "area_mm2")
    edge_w, _ = _line(parts, "power_w")
    return AsicArray(
        size,
        size**2 * element["area_mm2"] + 2 * size * edge_mm2 + size * selector["area_mm2"],
        2 * size * BUFFERED_OPERANDS * banks_mm2 / 2,
        size**2 * element_w + 2 * size * edge_w,
        min(parts["grid_mlp_1"]["slack_ns"], selector["slack_ns"]),
    )


def _line(parts: dict[str, dict[str, Any]], figure: str) -> tuple[float, float]:
    """A figure of an edge lane as a line over its depth: what is left without memory, and what depth adds."""
    low, high = ((parts[f"edge_{depth}_written"][figure] + parts[f"edge_{depth}_read"][figure]) / 2 for depth in DEPTHS)
    slope = (high - low) / (DEPTHS[1] - DEPTHS[0])
    return low - DEPTHS[0] * slope, slope
