"""Faults in the handshakes of every stream module: 16 rows find each of them, with any seed of the stalls."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from frozen_blocks import random_rows
from lutra.accelerators.block.bench import harness
from lutra.accelerators.block.bench.compare import compare
from lutra.accelerators.block.bench.harness import Device
from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.frozen.random_block import random_block

ROWS, SEEDS = 16, 64
REGISTER, CONTROLLER, PIPELINE = "lutra_stream_register.sv", "lutra_controller.sv", "lutra_pipeline.sv"
FAULTS = {
    "a beat is lost": (REGISTER, "ready_o = !spare_valid_q", "ready_o = 1'b1"),
    "the spare beat is dropped": (REGISTER, "valid_i || spare_valid_q", "valid_i"),
    "the spare beat is passed over": (REGISTER, "spare_valid_q ? spare_q : data_i", "data_i"),
    "the spare place stays full": (
        REGISTER,
        ";\n      spare_valid_q <= 1'b0;\n    end else if (valid_i)",
        ";\n    end else if (valid_i)",
    ),
    "the spare beat is overwritten": (REGISTER, "if (!spare_valid_q)", "if (1'b1)"),
    "data does not wait": (REGISTER, "advance = ready_i || !valid_q", "advance = 1'b1"),
    "an offer waits for the sink": (REGISTER, "valid_o = valid_q", "valid_o = valid_q && ready_i"),
    "input is taken over a row": (CONTROLLER, "!filled_q || take_o;", "1'b1;"),
    "bits are taken over a row": (CONTROLLER, "filled_q && (!summing_q || summed)", "filled_q"),
    "a row ends while it waits": (CONTROLLER, "summing_q && step_ready_i && step_q", "summing_q && step_q"),
    "a filled row is forgotten": (CONTROLLER, "filled || (filled_q && !take_o)", "filled"),
    "a summed row is forgotten": (CONTROLLER, "take_o || (summing_q && !summed)", "take_o"),
    "what is not offered is stored": (CONTROLLER, "x_valid_i && x_ready_o", "x_ready_o"),
    "marks move while they wait": ("lutra_delay.sv", "else if (enable_i)", "else if (1'b1)"),
    "comparisons move while they wait": (
        "block_0_thermometer.sv",
        "compared_q <= 1'b0;\n    end else if (advance_i)",
        "compared_q <= 1'b0;\n    end else if (1'b1)",
    ),
    "sums leave while they wait": (
        "block_0_summation.sv",
        "valid_q <= 1'b0;\n    end else if (ready_i)",
        "valid_q <= 1'b0;\n    end else if (1'b1)",
    ),
}
"""File, what is right and what is wrong, at F = all with accumulators, where 16 rows are 16 beats."""
FOLDED_FAULTS = {
    "steps go on while they wait": (CONTROLLER, "else if (summing_q && step_ready_i)", "else if (summing_q)")
}
TREE_FAULTS = {
    "a pipeline does not wait": (PIPELINE, "else if (ready_i)", "else if (1'b1)"),
    "a pipeline's data does not wait": (PIPELINE, "advance_o = ready_i", "advance_o = 1'b1"),
    "output of a tree is lost": (REGISTER, "ready_o = !spare_valid_q", "ready_o = 1'b1"),
    "input of a tree is taken over a row": (CONTROLLER, "!filled_q || take_o;", "1'b1;"),
}
GRAPH_FAULTS = {
    "a graph's data does not wait": (
        "block_0_graph_0.sv",
        "if (advance_i) begin\n      output_0_",
        "if (1'b1) begin\n      output_0_",
    )
}
FOLDED_TREE_FAULTS = {"beats are counted when none leaves": (PIPELINE, "if (valid_o)", "if (1'b1)")}
EVERY_FAULT = {
    name: (fold, dataflow, change)
    for fold, dataflow, faults in (
        ("all", "accumulate", FAULTS),
        (3, "accumulate", FOLDED_FAULTS),
        ("all", "tree", TREE_FAULTS),
        (2, "tree", FOLDED_TREE_FAULTS),
        ("all", "graph", GRAPH_FAULTS),
    )
    for name, change in faults.items()
}
QUICK = "a beat is lost"


def problems(folder: Path, fold, dataflow, change, seeds: int) -> list[str | None]:
    """What simulation says about a block with `change` in one of its files, for every seed."""
    rng = np.random.default_rng(1)
    graph = random_block(rng, luts=(10,), inputs=(4,))
    device = Device(BlockPlan(graph, "block_0", fold, dataflow), random_rows(rng, graph, ROWS))
    design = block_design([device.plan])
    if change:
        file, right, wrong = change
        assert design.files[file].count(right) == 1, (file, right)
        files = {**design.files, file: design.files[file].replace(right, wrong)}
        design = dataclasses.replace(design, files=files)
    design.write(folder / "rtl")
    bench, patience = harness.build([device], folder / "rtl", folder / "build"), harness.patience([device])
    passes = [harness.run(bench, patience, seed) for seed in range(seeds)]
    return [compare(device, [recordings[0] for recordings in each]).problem for each in passes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fold", "dataflow"),
    [("all", "accumulate"), (3, "accumulate"), ("all", "tree"), (2, "tree"), ("all", "graph")],
)
def test_a_block_without_faults_passes_with_every_seed(tmp_path, fold, dataflow):
    assert problems(tmp_path, fold, dataflow, None, SEEDS) == [None] * SEEDS


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=[] if name == QUICK else pytest.mark.slow) for name in EVERY_FAULT]
)
def test_every_fault_is_found_with_every_seed(tmp_path, fault):
    found = problems(tmp_path, *EVERY_FAULT[fault], SEEDS)
    assert [seed for seed, problem in enumerate(found) if problem is None] == []
