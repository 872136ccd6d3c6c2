"""The step `cost` of models that are frozen whole: blocks alone, and the machine that runs all of it."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from lutra.accelerators.transformer.machine import Call
from lutra.accelerators.transformer.synthesis.variants import Variant, variants_of
from lutra.cost import step
from lutra.cost.machine import LEAVES_OUT, BlockEnergies, machine_parts, sequence_call, token_call
from lutra.cost.machine_work import work_of
from lutra.cost.systolic import SystolicArray, systolic_array
from lutra.cost.technology import quweit_paper
from lutra.cost.weightless import fitted_fpga_energy, paper_asic_energy, paper_fpga_energy
from lutra.cost.whole_model import EnergyPart, total
from lutra.frozen import store
from lutra.recipes.language import Recipe
from lutra.recipes.vision import VisionRecipe
from lutra.runs.files import RunFiles
from lutra.runs.record import failed_steps
from lutra.runs.schemas.machine import MachineCost, MachineSynthesis
from lutra.runs.schemas.simulation import MachineSimulation
from lutra.runs.typed import read_record, write_record

logger = logging.getLogger("lutra")


def cost_run(files: RunFiles, recipe: Recipe | VisionRecipe) -> dict[str, Any]:
    """Write what a run's blocks cost (see `step.cost_of`), and its whole machine where the recipe asks for one.

    Raises:
        FrozenModelError, RunDirectoryError, InputError: see `step.cost_of` and `machine_cost`.
    """
    result: dict[str, Any] = step.cost_run(files, recipe) if recipe.has_blocks else {}
    if not recipe.machine.size:
        return result
    evidence = machine_cost(files, recipe)
    write_record(files.machine_cost, MachineCost, evidence)
    return {**result, "machine": evidence}


def machine_cost(files: RunFiles, recipe: Recipe | VisionRecipe) -> dict[str, Any]:
    """Cycles and energy of a sequence, and of a token alone, on the machine: with the run's model, and with the dense
    MLP of its baseline.

    Cycles are the latency model's; what simulation has measured of the same calls stands beside them. Blocks are
    charged for the LUTs that synthesis has counted, or, where it has not, what the paper prints.

    Raises:
        FrozenModelError: a frozen model is missing or damaged.
        RunDirectoryError: `machine.json` or `machine_synth.json` is damaged.
        InputError: a size out of range, or an operation that the machine does not have.
    """
    variants, skipped = variants_of(files, recipe)
    array = _array(recipe.machine.size)
    block, basis = _block_energies(files, variants[0])
    machines = [_variant_cost(files, each, array, block) for each in variants]
    return {
        "frozen_hash": store.content_hash(files.frozen),
        "machines": machines,
        "ratios": _ratios(machines) if len(machines) > 1 else [],
        "basis": {"array": _array_basis(recipe.machine.size, array), **basis},
        "leaves_out": list(LEAVES_OUT),
        "skipped": skipped,
    }


def _array(size: int) -> SystolicArray | None:
    """The paper's array of a size; None where it has measured none."""
    known = {int(name.removeprefix("systolic_")) for name in quweit_paper().sections() if name.startswith("systolic_")}
    return systolic_array(size) if size in known else None


def _array_basis(size: int, array: SystolicArray | None) -> str:
    if array is None:
        return f"the paper measured no array of {size} x {size}: cycles alone"
    return f"the paper's energy per cycle of a {size} x {size} array, for other units in proportion"


def _block_energies(files: RunFiles, model: Variant) -> tuple[BlockEnergies | None, dict[str, str]]:
    """Per cycle, and what it rests on."""
    if not model.image.blocks:
        return None, {}
    fpga, asic = paper_fpga_energy(), paper_asic_energy()
    synthesised = _record(files, files.machine_synth, "synth")
    uses = [] if synthesised is None else [m for m in synthesised["machines"] if m["variant"] == "model"]
    if not uses:
        return BlockEnergies(fpga.j_per_cycle, asic.j_per_cycle), {"block_fpga": fpga.basis, "block_asic": asic.basis}
    blocks = uses[0]["blocks"]
    fitted = [fitted_fpga_energy(_sum(each, "lut_packed"), _sum(each, "bram")) for each in blocks]
    mean = sum(each.j_per_cycle for each in fitted) / len(fitted)
    return BlockEnergies(mean, asic.j_per_cycle), {"block_fpga": fitted[0].basis, "block_asic": asic.basis}


def _sum(block: dict[str, Any], resource: str) -> Any:
    return sum(module["instances"] * module["use"][resource] for module in block["modules"])


def _variant_cost(
    files: RunFiles, variant: Variant, array: SystolicArray | None, block: BlockEnergies | None
) -> dict[str, Any]:
    image = variant.image
    calls: dict[str, Call | None] = {"sequence": sequence_call(image), "token": token_call(image)}
    measured = _measured(files, variant)
    costs = []
    for what, call in calls.items():
        if call is None:
            continue
        work = work_of(image, [call])
        parts = () if array is None else machine_parts(work, array, block if image.blocks else None)
        costs.append(
            {
                "what": what,
                **asdict(call),
                "cycles": work.cycles,
                "measured_cycles": measured.get((call.rows, call.past)),
                **{
                    name: getattr(work, name)
                    for name in ("array_cycles", "block_cycles", "memory_bytes", "weight_bytes")
                },
                "parts": [
                    {
                        "name": part.name,
                        "off_chip": part.off_chip,
                        "fpga_energy_j": part.fpga_energy_j,
                        "asic_energy_j": part.asic_energy_j,
                    }
                    for part in parts
                ],
                "fpga_energy_j": total(_on_chip(parts)).fpga_energy_j if parts else None,
                "asic_energy_j": total(_on_chip(parts)).asic_energy_j if parts else None,
            }
        )
    return {"variant": variant.name, "frozen_hash": variant.frozen_hash, "size": image.config.size, "calls": costs}


def _on_chip(parts: tuple[EnergyPart, ...]) -> list[EnergyPart]:
    return [part for part in parts if not part.off_chip]


def _ratios(machines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The dense MLP over the run's model, call by call."""
    found = []
    for ours, dense in zip(machines[0]["calls"], machines[1]["calls"], strict=True):
        whole = [sum(part["fpga_energy_j"] for part in each["parts"]) for each in (dense, ours)]
        known = ours["fpga_energy_j"] is not None
        found.append(
            {
                "what": ours["what"],
                "cycles": dense["cycles"] / ours["cycles"],
                "fpga": dense["fpga_energy_j"] / ours["fpga_energy_j"] if known else None,
                "fpga_with_off_chip": whole[0] / whole[1] if known else None,
                "asic": dense["asic_energy_j"] / ours["asic_energy_j"] if known else None,
            }
        )
    return found


def _measured(files: RunFiles, variant: Variant) -> dict[tuple[int, int], int]:
    """Cycles of simulated calls of the same frozen model, by rows and rows before."""
    found = _record(files, files.machine, "simulate") if variant.name == "model" else None
    if found is None or found["frozen_hash"] != variant.frozen_hash:
        return {}
    return {
        (call["rows"], call["past"]): call["cycles_measured"]
        for call in found["calls"]
        if not call["stalled"] and call["cycles_measured"] is not None
    }


def _record(files: RunFiles, path: Any, made_by: str) -> dict[str, Any] | None:
    """What another step found out about the same frozen model; None where it did not run, or failed."""
    schemas: dict[str, type[BaseModel]] = {"simulate": MachineSimulation, "synth": MachineSynthesis}
    if not path.exists() or made_by in failed_steps(files):
        return None
    found = read_record(path, schemas[made_by], made_by)
    if found["frozen_hash"] == store.content_hash(files.frozen):
        return found
    logger.warning("%s: made from another frozen model, so it is left out; run `lutra %s` again", path, made_by)
    return None
