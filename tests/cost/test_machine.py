"""Work and energy of the transformer machine: counted from its steps, beside golden's values and the latency model."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from frozen_transformers import random_gpt, random_vit
from lutra.accelerators.transformer import latency
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.machine import Call
from lutra.accelerators.transformer.program import Op
from lutra.cost.machine import (
    BlockEnergies,
    machine_parts,
    sequence_call,
    token_call,
)
from lutra.cost.machine_step import cost_run
from lutra.cost.machine_work import Work, loaded_bytes, work_of
from lutra.cost.systolic import systolic_array
from lutra.cost.whole_model import total
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.frozen.ops import LayerNorm, MatMul, Residual, Table
from lutra.recipes.language import Recipe
from lutra.recipes.sections import validate
from lutra.report.machine.tables import machine_cost_tables, machine_points
from lutra.runs.files import RunFiles
from lutra.runs.schemas.machine import MachineCost
from lutra.runs.typed import read_record


def gpt(ffn="mlp", **sizes):
    """Everything a multiple of 4, so that nothing is padded."""
    given = {"layers": 2, "width": 16, "heads": 2, "context": 8, "vocabulary": 8} | sizes
    return random_gpt(np.random.default_rng(1), ffn=ffn, **given)


def image_of(program, size=4, **settings):
    image = compile_model(program, sized_for(program, size))
    return replace(image, config=replace(image.config, **settings))


def test_without_padding_work_is_what_golden_computes():
    program = gpt()
    work = work_of(image_of(program), [Call(8)])
    products = [op for op in program.ops if isinstance(op, MatMul)]
    scores = 2 * 2 * (4 * 4 + 4 * 8)  # layers, heads; keys up to the last row of each tile of rows
    contexts = 2 * 8 * 16
    assert work.results == 8 * sum(op.width for op in products) + scores + contexts
    assert work.table_reads == 8 * sum(64 for op in program.ops if isinstance(op, Table))
    assert work.residual_sums == 8 * 16 * (1 + sum(isinstance(op, Residual) for op in program.ops))
    assert work.norm_elements == 8 * 16 * sum(isinstance(op, LayerNorm) for op in program.ops)
    assert (work.scores, work.exponentials, work.softmax_rows) == (scores, scores, 2 * 2 * 8)
    assert work.block_cycles == 0
    # Per tile of results 4 rows and 4 columns of operands are fed; left ones are loaded once per row of tiles.
    macs = sum(8 * len(op.weights) * op.width for op in products) + 2 * 2 * 8 * (4 * 4 + 4 * 8)
    assert work.edge_bytes > 2 * macs // 4


@pytest.mark.parametrize("ffn", ["mlp", "weightless"])
def test_cycles_are_those_of_the_latency_model_and_hold_those_of_the_array(ffn):
    image = image_of(gpt(ffn))
    for call in (sequence_call(image), token_call(image)):
        work = work_of(image, [call])
        assert work.cycles == latency.call_cycles(image, call)
        assert 0 < work.array_cycles < work.cycles
        times = latency.step_times(image, call)
        assert 0 <= sum(t.cycles for t in times if t.step.op == Op.BLOCK) - work.block_cycles < 20 * 2 * call.rows
    assert (sequence_call(image), token_call(image)) == (Call(8), Call(1, 4))


def test_work_of_calls_adds_up_and_weights_are_loaded_once():
    image = image_of(gpt())
    one, other = (work_of(image, [call]) for call in (Call(5), Call(3, 5)))
    both = work_of(image, [Call(5), Call(3, 5)])
    assert both.weight_bytes == one.weight_bytes == loaded_bytes(image) > 2 * 4 * 16 * 16 * 3
    for added, a, b in zip(astuple(both)[:-1], astuple(one)[:-1], astuple(other)[:-1], strict=True):
        assert added == a + b


def test_an_image_has_no_token_alone():
    image = image_of(random_vit(np.random.default_rng(3), only_class=True))
    assert (sequence_call(image), token_call(image)) == (Call(7), None)


def test_energy_goes_where_work_is():
    array, block = systolic_array(8), BlockEnergies(3e-9, 2e-12)
    work = Work(cycles=9, array_cycles=5, block_cycles=7, results=3, norm_elements=2, memory_bytes=16, weight_bytes=8)
    parts = {part.name: part for part in machine_parts(work, array, block)}
    assert parts["array"].fpga_energy_j == pytest.approx(5 * array.fpga_j_per_cycle)
    assert parts["weightless blocks"].fpga_energy_j == pytest.approx(7 * 3e-9)
    assert parts["memories"].asic_energy_j == pytest.approx(2 * 20e-12)
    assert parts["off-chip weights"].asic_energy_j == pytest.approx(1.3e-9)
    assert parts["requantisation"].asic_energy_j == pytest.approx(3 * (3.1e-12 + 0.2e-12))
    assert parts["softmax"].asic_energy_j == 0
    assert {name for name, part in parts.items() if part.off_chip} == {"off-chip weights"}
    assert "weightless blocks" not in {part.name for part in machine_parts(work, array, None)}
    fed = {p.name: p for p in machine_parts(Work(edge_bytes=24), array, None, edge_buffers=True)}
    assert fed["edge buffers"].asic_energy_j == pytest.approx(60e-12)


def run_of(tmp_path, size=8):
    files = RunFiles(tmp_path / "run")
    for where, ffn in ((files, "weightless"), (files.baseline("mlp"), "mlp")):
        store.save(FrozenModel.of_whole(gpt(ffn)), where.frozen)
    model = {"layers": 2, "heads": 2, "width": 16, "context": 8}
    machine = {"size": size, "fold_factor": 4}
    return files, validate(Recipe, {"name": "small", "model": model, "machine": machine}, "small")


def test_a_run_has_the_costs_of_its_machine_and_of_its_baseline(tmp_path):
    files, recipe = run_of(tmp_path)
    result = cost_run(files, recipe)["machine"]
    found = read_record(files.machine_cost, MachineCost, "cost")
    assert found == result
    assert [machine["variant"] for machine in found["machines"]] == ["model", "mlp"]
    ours, dense = (machine["calls"][0] for machine in found["machines"])
    assert found["ratios"][0]["cycles"] == dense["cycles"] / ours["cycles"] > 1
    on_chip = sum(part["fpga_energy_j"] for part in ours["parts"] if not part["off_chip"])
    assert ours["fpga_energy_j"] == pytest.approx(on_chip)
    assert found["ratios"][0]["fpga"] == pytest.approx(dense["fpga_energy_j"] / on_chip)
    assert ours["measured_cycles"] is None
    assert total(()).fpga_energy_j == 0
    (table,) = machine_cost_tables(found)
    assert [row[0] for row in table.rows][-2:] == [
        "ratio, a sequence at once",
        "ratio, a token alone, at half the context",
    ]
    assert any("leakage" in point for point in machine_points(found))


def test_an_array_that_the_paper_did_not_measure_has_cycles_alone(tmp_path):
    files, recipe = run_of(tmp_path, size=4)
    found = cost_run(files, recipe)["machine"]
    assert found["machines"][0]["calls"][0]["fpga_energy_j"] is None
    assert found["ratios"][0]["fpga"] is None
    assert found["ratios"][0]["cycles"] > 1
    assert "measured no array of 4 x 4" in found["basis"]["array"]
    assert machine_cost_tables(found)[0].rows[0][4] == "–"
