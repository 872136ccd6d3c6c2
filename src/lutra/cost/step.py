"""The cost step of a run: cycles and energy of the trained model, next to its dense baseline."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lutra.cost.layer import LEAVES_OUT, GemmCost, LayerCost, end_to_end, layer_cost, total
from lutra.cost.shapes import shape_of_recipe
from lutra.cost.systolic import systolic_array
from lutra.cost.technology import Technology, quweit_paper
from lutra.cost.weightless import (
    PAPER_POWER_LABEL,
    BlockEnergy,
    fitted_fpga_energy,
    inference_counts,
    paper_asic_energy,
    paper_fpga_energy,
)
from lutra.cost.workload import ENCODER, TransformerShape, workload
from lutra.files import RunFiles, read_json, write_json
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel, WeightlessBlock, as_weightless
from lutra.recipe import Recipe
from lutra.rtl.schedule import FoldFactor, schedule

ARRAY_SIZE = 32
"""The paper's choice for end-to-end comparisons (section 4.3.2)."""


def cost_run(run: RunFiles, recipe: Recipe) -> dict[str, Any]:
    """Write `run.cost`: what one sequence costs on the run's blocks and on the dense baseline.

    Reads the frozen model; predicted cycles stand beside the measured ones of `run.simulate`, and energy follows the
    LUTs of `run.synth`, where these files are there and belong to the same frozen model.

    Raises:
        FrozenModelError: the frozen model is missing or damaged.
        RunDirectoryError: `run.simulate` or `run.synth` is not JSON.
    """
    shape, technology = shape_of_recipe(recipe), quweit_paper()
    model, frozen_hash = store.load(run.frozen), store.content_hash(run.frozen)
    blocks = [as_weightless(graph) for graph in model.graphs]
    layer = layer_cost(shape, systolic_array(ARRAY_SIZE, technology))
    measured, synthesised = _measured_cycles(run, frozen_hash), _synthesised(run, frozen_hash)
    block_rows, layer_rows = [], []
    for fold in recipe.hardware.fold_factors:
        for index, block in enumerate(blocks):
            use = synthesised.get((fold, f"block_{index}"))
            row = _block_row(block, fold, shape.tokens, use, technology) | measured.get((fold, block.graph.name), {})
            block_rows.append(row)
        layer_rows += _layer_rows(layer, [row for row in block_rows if row["fold_factor"] == fold], technology)
    result = {
        "frozen_hash": frozen_hash,
        "model": _model(shape),
        "inference_counts": [{"block": block.graph.name, **asdict(inference_counts(block))} for block in blocks],
        "blocks": block_rows,
        "baseline_layer": _baseline(layer, technology),
        "layers": layer_rows,
        "upper_limit_ratio": layer.upper_limit,
        "leaves_out": list(LEAVES_OUT),
    }
    write_json(run.cost, result)
    return result
