"""The cost step of a run: cycles and energy of the trained model, next to its dense baseline."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, TypeVar

from lutra.accelerators.block.schedule import BlockSchedule, FoldFactor, schedule
from lutra.cost.layer import LEAVES_OUT, GemmCost, LayerCost, layer_cost, total
from lutra.cost.shapes import shape_of_conversion, shape_of_frozen, shape_of_recipe
from lutra.cost.systolic import systolic_array
from lutra.cost.weightless import (
    fitted_fpga_energy,
    inference_counts,
    paper_asic_energy,
    paper_fpga_energy,
)
from lutra.cost.workload import ENCODER, TransformerShape, workload
from lutra.errors import InputError
from lutra.frozen import store
from lutra.frozen.graph import WeightlessBlock, as_weightless
from lutra.recipes.convert import ConvertRecipe
from lutra.recipes.frozen import FrozenRecipe
from lutra.recipes.language import Recipe
from lutra.recipes.sections import Experiment
from lutra.recipes.vision import VisionRecipe
from lutra.runs.files import RunFiles
from lutra.runs.record import failed_steps
from lutra.runs.typed import read_evidence, write_evidence

ARRAY_SIZE = 32
"""The paper's choice for end-to-end comparisons (section 4.3.2)."""

ASIC_TARGETS = ("asic", "asic_gated")
MEASURED_SWITCHING_LABEL = (
    "mapped standard cells with the switching counted on captured rows, without wires, clock tree and glitches; "
    "all cycles at the power of steady work"
)

AnyRecipe = Recipe | VisionRecipe | ConvertRecipe | FrozenRecipe
Place = tuple[FoldFactor, str]
"""A block at a fold factor."""
T = TypeVar("T")

logger = logging.getLogger("lutra")


def cost_run(files: RunFiles, recipe: AnyRecipe) -> dict[str, Any]:
    """Write `files.cost`, see `cost_of`.

    Raises:
        FrozenModelError, RunDirectoryError, InputError: see `cost_of`.
    """
    result = cost_of(files, recipe)
    write_evidence(files, recipe, "cost", result)
    return result


def cost_of(files: RunFiles, recipe: AnyRecipe) -> dict[str, Any]:
    """What one sequence costs on the run's blocks and on the dense baseline, as `files.cost` holds it.

    Of a frozen model from elsewhere, whose recipe says nothing of a dense one, the blocks stand alone.

    Reads the frozen model. Measured cycles of `files.simulate` stand beside the predicted ones. From `files.synth`
    comes energy that is interpolated from LUTs, and energy in standard cells from their measured power (with gated
    clocks where the library could). Both files count where they belong to the same frozen model.

    Raises:
        FrozenModelError: the frozen model is missing or damaged.
        RunDirectoryError: `files.simulate` or `files.synth` is damaged.
        InputError: attention has 1-bit weights, which the int8 array does not compute.
    """
    if isinstance(recipe, Recipe) and recipe.model.binary_attention:
        raise InputError(f"{files.recipe}: attention with 1-bit weights has no cost model yet; run --to synth")
    graphs = store.load(files.frozen).graphs
    blocks = {f"block_{index}": as_weightless(graph) for index, graph in enumerate(graphs)}
    (shape, tokens), frozen_hash = _shape(files, recipe, list(blocks.values())), store.content_hash(files.frozen)
    layer = None if shape is None else layer_cost(shape, systolic_array(ARRAY_SIZE))
    measured = _evidence(files, recipe, "simulate", frozen_hash, _measured)
    luts = _evidence(files, recipe, "synth", frozen_hash, _synthesised)
    asic_j_per_cycle = _evidence(files, recipe, "synth", frozen_hash, _asic_j_per_cycle)
    rows = [
        _block_row(
            name,
            schedule(block, fold, recipe.hardware.dataflow),
            block,
            tokens,
            measured,
            luts,
            asic_j_per_cycle,
        )
        for fold in recipe.hardware.fold_factors
        for name, block in blocks.items()
    ]
    return {
        "frozen_hash": frozen_hash,
        "model": {"sequence_tokens": tokens} if shape is None else _model(shape),
        "inference_counts": [
            {"name": name, "graph": block.graph.name, **asdict(inference_counts(block))}
            for name, block in blocks.items()
        ],
        "blocks": rows,
        "dense_layer": None if layer is None else _dense_layer(layer),
        "layers": [_layer_row(layer, fold, rows) for fold in recipe.hardware.fold_factors],
        "energy_basis": {
            "fpga_paper_power": paper_fpga_energy().basis,
            "fpga_interpolated": fitted_fpga_energy(0, 0).basis,
            "asic_paper_power": paper_asic_energy().basis,
            "asic_measured_switching": MEASURED_SWITCHING_LABEL,
        },
        "leaves_out": list(LEAVES_OUT),
    }


def _shape(files: RunFiles, recipe: AnyRecipe, blocks: list[WeightlessBlock]) -> tuple[TransformerShape | None, int]:
    """The dense model, if it is known, and the tokens of a sequence."""
    if isinstance(recipe, FrozenRecipe):
        return shape_of_frozen(recipe, blocks), recipe.tokens
    shape = shape_of_conversion(files, recipe) if isinstance(recipe, ConvertRecipe) else shape_of_recipe(recipe)
    return shape, shape.tokens


def _model(shape: TransformerShape) -> dict[str, Any]:
    """The dense model that the run's model replaces."""
    dense = workload(shape)
    return {
        "layers": shape.layers,
        "width": shape.width,
        "heads": shape.heads,
        "hidden": shape.hidden,
        "sequence_tokens": shape.tokens,
        "parts": [asdict(part) for part in dense.parts],
        "mlp_share_of_macs": dense.mlp_share_of_macs(),
        "mlp_share_of_layer_macs": dense.mlp_share_of_macs(ENCODER),
        "mlp_share_of_parameters": dense.mlp_share_of_parameters(),
    }


def _dense_layer(layer: LayerCost) -> dict[str, Any]:
    """One layer of the dense model on the systolic array, per sequence."""

    def sums(costs: tuple[GemmCost, ...]) -> dict[str, float]:
        return {
            "steady_cycles": int(total(costs, "steady_cycles")),
            "cycles": int(total(costs, "cycles")),
            "fpga_energy_j": total(costs, "fpga_energy_j"),
            "asic_energy_j": total(costs, "asic_energy_j"),
        }

    return {
        "systolic_array_size": layer.array.size,
        "gemms": [asdict(cost) for cost in layer.attention + layer.mlp],
        "attention": sums(layer.attention),
        "mlp": sums(layer.mlp),
    }


def _block_row(
    name: str,
    plan: BlockSchedule,
    block: WeightlessBlock,
    tokens: int,
    measured: dict[Place, dict[str, int]],
    luts: dict[Place, tuple[int, float]],
    asic_j_per_cycle: dict[Place, float],
) -> dict[str, Any]:
    """One block at one fold factor, per sequence; None where nothing was simulated or synthesised."""
    fold, cycles = plan.fold_factor, plan.cycles(tokens)
    nothing = {"measured_rows": None, "measured_cycles": None, "predicted_cycles_of_measured_rows": None}
    simulated = measured.get((fold, name))
    if simulated:
        predicted = plan.cycles(simulated["measured_rows"])
        simulated = {**simulated, "predicted_cycles_of_measured_rows": predicted}
    use, asic_j = luts.get((fold, name)), asic_j_per_cycle.get((fold, name))
    return {
        "name": name,
        "graph": block.graph.name,
        "fold_factor": fold,
        "cycles_per_token": plan.interval_cycles,
        "latency_cycles": plan.latency_cycles,
        "cycles_per_sequence": cycles,
        **(simulated or nothing),
        "fpga_energy_paper_power_j": cycles * paper_fpga_energy().j_per_cycle,
        "fpga_energy_interpolated_j": cycles * fitted_fpga_energy(*use).j_per_cycle if use else None,
        "asic_energy_paper_power_j": cycles * paper_asic_energy().j_per_cycle,
        "asic_energy_measured_switching_j": None if asic_j is None else cycles * asic_j,
    }


def _layer_row(layer: LayerCost | None, fold: FoldFactor, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A dense layer's energy over that of an average layer with a weightless block."""

    def mean(key: str) -> float | None:
        values = [row[key] for row in rows if row["fold_factor"] == fold]
        return None if None in values else sum(values) / len(values)

    def ratio(energy_j: float | None) -> float | None:
        return None if energy_j is None or layer is None else layer.fpga_ratio(energy_j)

    asic_energy_j = mean("asic_energy_paper_power_j")
    return {
        "fold_factor": fold,
        "block_cycles_per_sequence": mean("cycles_per_sequence"),
        "fpga_ratio_paper_power": ratio(mean("fpga_energy_paper_power_j")),
        "fpga_ratio_interpolated": ratio(mean("fpga_energy_interpolated_j")),
        "asic_ratio_paper_power": None if asic_energy_j is None or layer is None else layer.asic_ratio(asic_energy_j),
        "upper_limit_ratio": None if layer is None else layer.upper_limit,
    }


def _measured(simulation: dict[str, Any]) -> dict[Place, dict[str, int]]:
    """Rows and cycles that the simulation measured."""
    return {
        (design["fold_factor"], block["name"]): {
            "measured_rows": block["rows"],
            "measured_cycles": block["cycles_measured"],
        }
        for design in simulation["designs"]
        for block in design["blocks"]
    }


def _synthesised(synthesis: dict[str, Any]) -> dict[Place, tuple[int, float]]:
    """Packed LUTs and BRAMs of the blocks on an FPGA; Vivado's figures come last and win."""
    return {
        (target["fold_factor"], block["name"]): (block["lut_packed"], block["bram"])
        for target in synthesis["targets"]
        if target["target"] in ("xcup", "vivado")
        for block in target["blocks"]
    }


def _asic_j_per_cycle(synthesis: dict[str, Any]) -> dict[Place, float]:
    """Energy per cycle of the blocks in standard cells; with gated clocks comes last and wins."""
    targets = [target for kind in ASIC_TARGETS for target in synthesis["targets"] if target["target"] == kind]
    return {
        (target["fold_factor"], block["name"]): block["power_measured"]["total_w"] / target["clock_hz"]
        for target in targets
        for block in target["blocks"]
        if block["power_measured"]
    }


def _evidence(
    files: RunFiles,
    recipe: Experiment,
    step: Literal["simulate", "synth"],
    frozen_hash: str,
    extract: Callable[[Any], dict[Place, T]],
) -> dict[Place, T]:
    """What another step found out about the same frozen model; nothing where it did not run, or failed."""
    path = {"simulate": files.simulate, "synth": files.synth}[step]
    if not path.exists():
        return {}
    if step in failed_steps(files):
        logger.warning("%s: left out, the step failed; run `lutra %s` again", path, step)
        return {}
    content = read_evidence(files, recipe, step)
    if content.get("frozen_hash") == frozen_hash:
        return extract(content)
    logger.warning("%s: made from another frozen model, so it is left out; run `lutra %s` again", path, step)
    return {}
