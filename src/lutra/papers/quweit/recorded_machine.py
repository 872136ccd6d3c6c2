"""The transformer machine out of the records: what it does for the models of Table 4, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutra.accelerators.transformer.synthesis.machine import parts_of
from lutra.cost.machine import BlockEnergies, machine_parts
from lutra.cost.machine_work import Work
from lutra.cost.systolic import SystolicArray, systolic_array
from lutra.cost.weightless import fitted_fpga_energy, paper_asic_energy
from lutra.cost.whole_model import PAPER_BLOCK_WIDTH, EnergyPart, total
from lutra.papers.quweit.machine_models import MODELS
from lutra.papers.quweit.recorded_asic import (
    ARRAY_CLOCK_HZ,
    RECORDED_BLOCKS,
    RECORDED_ELEMENTS,
    recorded_array,
    recorded_blocks,
)
from lutra.papers.recorded_designs import BlockDesign, recorded, recorded_designs
from lutra.papers.records import Records
from lutra.synth.tools.hierarchy import HierarchyUse, ModuleUse
from lutra.synth.tools.yosys import FpgaUse

WORK, MACHINES = "transformer-machine-work", "transformer-machine"
"""The `design` of the records."""


@dataclass(frozen=True)
class Point:
    """A machine that runs a model: the array's size, and how blocks are folded; no fold factor: with the MLPs."""

    model: str
    size: int
    fold_factor: int | None
    call: str
    """"sequence", or "token": one alone at half the context."""


def recorded_work(records: Records) -> dict[Point, Work]:
    """Of every machine, model and kind of call.

    Raises:
        InputError: a record is damaged.
    """

    def points(target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        found = {
            Point(target["model"], target["size"], entry["fold_factor"], entry["call"]): Work(**entry["work"])
            for entry in target["works"]
        }
        return (target["model"], target["size"]), {"points": found}

    return {point: work for each in recorded(records, WORK, points).values() for point, work in each["points"].items()}


def overlapped_cycles(records: Records) -> dict[Point, int]:
    """Cycles of the same calls on machines whose steps overlap.

    Raises:
        InputError: a record is damaged.
    """

    def cycles(target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        found = {
            Point(target["model"], target["size"], entry["fold_factor"], entry["call"]): entry["overlapped_cycles"]
            for entry in target["works"]
        }
        return (target["model"], target["size"]), {"cycles": found}

    return {
        point: count for each in recorded(records, WORK, cycles).values() for point, count in each["cycles"].items()
    }


@dataclass(frozen=True)
class BuiltMachine:
    """A machine that was synthesised, without its blocks."""

    modules: tuple[ModuleUse, ...]

    @property
    def parts(self) -> dict[str, FpgaUse]:
        """By what they belong to."""
        return parts_of(self.modules, ())

    @property
    def total(self) -> FpgaUse:
        return HierarchyUse(self.modules).total


def recorded_machines(records: Records) -> dict[tuple[str, str, int], BuiltMachine]:
    """By model, "mlp" or "weightless", and size.

    Raises:
        InputError: a record is damaged.
    """

    def machine(target: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        modules = (ModuleUse(m["name"], m["instances"], FpgaUse(**m["use"])) for m in target["modules"])
        key = target["model"], target["ffn"], target["config"]["size"]
        return key, {"machine": BuiltMachine(tuple(modules))}

    return {key: values["machine"] for key, values in recorded(records, MACHINES, machine).items()}


def tree_designs(records: Records, model: str) -> dict[int, BlockDesign]:
    """The recorded blocks of a model that deliver outputs whole, by fold factor; the default shape alone.

    Raises:
        InputError: a record is damaged.
    """
    designs = recorded_designs(records, MODELS[model].shape.tokens, model)
    return {each.fold_factor: each for each in designs if (each.dataflow, each.shape) == ("tree", "8D-in-8-groups")}


def tree_asic_j_per_cycle(records: Records, model: str) -> dict[int, float]:
    """Energy per cycle in 45 nm of the recorded blocks with trees, by fold factor; with gated clocks where there are.

    Raises:
        InputError: a record is damaged.
    """
    blocks = recorded_blocks(records, MODELS[model].shape.tokens, model)
    trees = sorted((each for each in blocks if each.dataflow == "tree"), key=lambda each: each.gated)
    return {each.fold_factor: each.power_w / each.clock_hz for each in trees}


def tree_leakage_w(records: Records, model: str) -> dict[int, float]:
    """Of the same blocks.

    Raises:
        InputError: a record is damaged.
    """

    def leakage(target: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        if target["dataflow"] != "tree":
            return None
        return target["fold_factor"], {"leakage_w": target["power_measured"]["leakage_w"]}

    return {fold: found["leakage_w"] for fold, found in recorded(records, RECORDED_BLOCKS[model], leakage).items()}


def element_leakage_w(records: Records) -> float:
    """Of one element of the array; 0 where no array is recorded, of which nothing is shown then.

    Raises:
        InputError: the record is damaged.
    """

    def leakage(target: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        power = target.get("power_measured")
        return None if power is None else (target["name"], {"leakage_w": power["leakage_w"]})

    found = recorded(records, RECORDED_ELEMENTS, leakage)
    return float(found["element_mlp_1"]["leakage_w"]) if "element_mlp_1" in found else 0.0


@dataclass(frozen=True)
class Energy:
    """Of one call on one machine."""

    point: Point
    work: Work
    parts: tuple[EnergyPart, ...]

    def fpga_j(self, off_chip: bool = False) -> float:
        """On the FPGA, with loading all weights once from outside or without."""
        return total(part for part in self.parts if off_chip or not part.off_chip).fpga_energy_j

    def asic_j(self, off_chip: bool = False) -> float:
        """In 45 nm, likewise."""
        return total(part for part in self.parts if off_chip or not part.off_chip).asic_energy_j


class Energies:
    """Energies of all recorded points, in one technology of array, units and blocks.

    `own`: in 45 nm by switching that was counted in our own flow, of array and blocks, where recorded;
    otherwise by the paper's figures.
    """

    def __init__(self, records: Records, own: bool = False) -> None:
        self.own, self.work, self.overlapped = own, recorded_work(records), overlapped_cycles(records)
        models, sizes = ({getattr(point, name) for point in self.work} for name in ("model", "size"))
        self._arrays: dict[int, SystolicArray | None] = {size: systolic_array(size) for size in sizes}
        self._blocks = {
            (model, fold): block for model in models for fold, block in _paper_blocks(records, model).items()
        }
        if own and self.work:
            counted = {size: recorded_array(records, size) for size in sizes}
            self._arrays = {size: None if array is None else array.as_systolic() for size, array in counted.items()}
            self._blocks = {
                (model, fold): BlockEnergies(0.0, j_per_cycle)
                for model in models
                for fold, j_per_cycle in tree_asic_j_per_cycle(records, model).items()
            }
            self._element_w = element_leakage_w(records)
            self._block_w = {model: tree_leakage_w(records, model) for model in models}

    def of(self, point: Point) -> Energy | None:
        """None where work, array or block is not recorded."""
        work, array = self.work.get(point), self._arrays.get(point.size)
        block = None if point.fold_factor is None else self._blocks.get((point.model, point.fold_factor))
        if work is None or array is None or (block is None and point.fold_factor is not None):
            return None
        parts = machine_parts(work, array, block, edge_buffers=self.own)
        return Energy(point, work, (*parts, *self._waiting(point, work)))

    def best(self, model: str, size: int, call: str) -> Energy | None:
        """The fold factor of least energy; on the FPGA, or in 45 nm where figures are our own."""
        folds = {point.fold_factor for point in self.work if point.model == model and point.fold_factor is not None}
        found = [each for fold in folds if (each := self.of(Point(model, size, fold, call))) is not None]
        return min(found, key=lambda each: each.asic_j() if self.own else each.fpga_j(), default=None)

    def _waiting(self, point: Point, work: Work) -> tuple[EnergyPart, ...]:
        """What array and blocks leak in cycles in which they do not work; their power at work has it already."""
        if not self.own:
            return ()
        leaked = self._element_w * point.size**2 * (work.cycles - work.array_cycles)
        if point.fold_factor is not None:
            waiting = MODELS[point.model].shape.layers * work.cycles - work.block_cycles
            leaked += self._block_w[point.model][point.fold_factor] * waiting
        return (EnergyPart("leakage while waiting", False, False, 0.0, leaked / ARRAY_CLOCK_HZ),)


def _paper_blocks(records: Records, model: str) -> dict[int, BlockEnergies]:
    """By fold factor: on the FPGA from LUTs of ours, in 45 nm the paper's power in proportion to the width."""
    wider = MODELS[model].shape.width / PAPER_BLOCK_WIDTH
    return {
        fold: BlockEnergies(
            fitted_fpga_energy(design.lut_packed, design.bram).j_per_cycle, wider * paper_asic_energy().j_per_cycle
        )
        for fold, design in tree_designs(records, model).items()
    }
