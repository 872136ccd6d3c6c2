"""RTL, golden model and schedule agree on every block; a difference is found and explained."""

import json
import os
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from frozen_blocks import mixed_block, random_rows
from lutra.accelerators.block.bench import harness
from lutra.accelerators.block.bench.compare import compare
from lutra.accelerators.block.bench.harness import Device, Recording
from lutra.accelerators.block.emit import block_design
from lutra.accelerators.block.plan import BlockPlan
from lutra.accelerators.block.simulate import simulate_devices, simulate_graphs, simulate_run
from lutra.accelerators.block.tree import TreePlan
from lutra.accelerators.block.wave import WavePlan
from lutra.errors import InputError, MismatchError, RunDirectoryError, ToolError
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel
from lutra.frozen.random_block import ENCODED_VALUES, random_block
from lutra.hardware.bench import verilator
from lutra.hardware.bench.streams import STALLING_PASSES
from lutra.recipes.language import Recipe
from lutra.runs.files import RunFiles
from lutra.runs.typed import read_evidence
from lutra.synth.tools.ecp5 import ECP5_MACRO

pytestmark = pytest.mark.usefixtures("unoptimised")

FOLDS = (1, 2, 3, 4, "all")
DATAFLOWS = ("accumulate", "tree", "graph", "auto")


def random_case(rng):
    """A random block of any shape a recipe can ask for, a fold factor, and rows."""
    layers = int(rng.integers(1, 4))
    sources = rng.choice(layers + 1, int(rng.integers(1, 3)), replace=False)
    graph = random_block(
        rng,
        width=int(rng.integers(1, 16)),
        output_width=int(rng.integers(1, 16)),
        thermometer_bits=int(rng.choice([1, 2, 3, 8, 31, 255], p=[0.2, 0.2, 0.2, 0.2, 0.15, 0.05])),
        luts=tuple(int(count) for count in rng.integers(1, 30, layers)),
        inputs=tuple(int(n) for n in rng.integers(2, 9, layers)),
        sum_sources=tuple(sorted(int(source) for source in sources)),
        groups=int(rng.integers(1, 5)),
        output_bits=int(rng.choice([4, 8, 16, 24, 32])),
        max_shift=int(rng.integers(0, 7)),
        encoded_values=str(rng.choice(sorted(ENCODED_VALUES))),
    )
    rows = int(rng.choice([1, 2, 3, 20]))
    return graph, FOLDS[int(rng.integers(len(FOLDS)))], random_rows(rng, graph, rows)


def simulate_random_cases(rng, count, folder):
    """Random cases in one build, the dataflows in turn; graphs need all outputs in one cycle."""
    devices = []
    for index in range(count):
        graph, fold, rows = random_case(rng)
        dataflow = DATAFLOWS[index % len(DATAFLOWS)]
        fold = "all" if dataflow == "graph" else fold
        devices.append(Device(BlockPlan(graph, f"block_{index}", fold, dataflow), rows))
    block_design([device.plan for device in devices]).write(folder / "rtl")
    return simulate_devices(devices, folder / "rtl", folder / "waveforms")


def assert_equal(results):
    assert [result.problem for result in results if result.problem] == []
    for result in results:
        assert result.mismatches == result.mismatches_with_stalls == 0
        assert result.cycles_measured == result.cycles_predicted


def test_random_blocks_equal_the_golden_model_and_the_schedule(tmp_path):
    assert_equal(simulate_random_cases(np.random.default_rng(2024), 24, tmp_path))


@pytest.fixture
def as_for_a_board(monkeypatch):
    """What is simulated is what a bitstream is made of, but for the cells of its tables."""
    monkeypatch.setattr(harness, "DEFINES", (*harness.DEFINES, ECP5_MACRO))


@pytest.mark.usefixtures("as_for_a_board")
def test_random_blocks_for_a_board_equal_the_golden_model_and_the_schedule(tmp_path):
    assert_equal(simulate_random_cases(np.random.default_rng(2025), 8, tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("as_for_a_board")
@pytest.mark.parametrize(
    ("module", "right", "wrong"),
    [
        ("lutra_turns", "end else if (next_i) begin", "end else begin"),
        ("lutra_turns", "turn_q <= {turn_q", "turn_q <= ~{turn_q"),
        ("lutra_turns", "turn_q[Beats-1]}", "1'b0}"),
        ("lutra_controller", "last_q <= step_q == LastStep - 1'b1", "last_q <= step_q == LastStep"),
        ("lutra_controller", "last_q <= LastStep == '0", "last_q <= 1'b1"),
    ],
)
def test_faults_of_what_only_a_board_has_are_found(tmp_path, module, right, wrong):
    rng = np.random.default_rng(1)
    graph = random_block(rng, width=6, luts=(12, 8), inputs=(4, 3), output_bits=16)
    plan = BlockPlan(graph, "block_0", 1)
    block_design([plan]).write(tmp_path / "rtl")
    path = tmp_path / "rtl" / f"{module}.sv"
    assert path.read_text().count(right) == 1
    path.write_text(path.read_text().replace(right, wrong))
    (result,) = simulate_devices([Device(plan, random_rows(rng, graph, 100))], tmp_path / "rtl", tmp_path / "waveforms")
    assert result.problem


@pytest.mark.slow
def test_outputs_that_follow_several_registers_of_the_step(tmp_path):
    rng = np.random.default_rng(3)
    graph = random_block(rng, width=4, output_width=40, luts=(40,), inputs=(3,), groups=2)
    devices = [Device(BlockPlan(graph, f"block_{fold}", fold), random_rows(rng, graph, 5)) for fold in (1, 2)]
    assert [WavePlan(device.plan).segments for device in devices] == [3, 3]
    block_design([device.plan for device in devices]).write(tmp_path / "rtl")
    assert_equal(simulate_devices(devices, tmp_path / "rtl", tmp_path / "waveforms"))


@pytest.mark.slow
def test_trees_wait_for_the_graphs_of_other_groups(tmp_path):
    plan = BlockPlan(mixed_block(128), "block_0", "all", "auto")
    assert [each.dataflow for each in plan.schedule.sums] == ["graph", "tree"]
    assert TreePlan(plan).lane(6).waiting > 0
    block_design([plan]).write(tmp_path / "rtl")
    device = Device(plan, random_rows(np.random.default_rng(6), plan.graph, 20))
    assert_equal(simulate_devices([device], tmp_path / "rtl", tmp_path / "waveforms"))


@pytest.mark.slow
def test_thousands_of_random_blocks(tmp_path):
    blocks = int(os.environ.get("LUTRA_RANDOM_BLOCKS", "2000"))
    for seed in range(-(-blocks // 50)):
        assert_equal(simulate_random_cases(np.random.default_rng(seed), 50, tmp_path / f"{seed}"))


MUTATIONS = {
    "output changes under back-pressure": ("lutra_stream_register", "ready_i || !valid_q", "1'b1"),
    "spare beat is lost": ("lutra_stream_register", "spare_valid_q ? spare_q : data_i", "data_i"),
    "sums are chosen all the time": ("lutra_select", "select_i[k] & ", ""),
    "input is taken while full": ("lutra_controller", "!filled_q || take_o;", "1'b1;"),
    "bits are taken too early": ("lutra_controller", "filled_q && (!summing_q || summed)", "filled_q"),
    "a cycle is wasted per row": ("lutra_controller", "(!summing_q || summed)", "!summing_q"),
    "accumulators forget to restart": ("lutra_accumulator", "restart_i ? Bias : sum_q", "sum_q"),
    "a stalled step is added again": ("lutra_accumulator", "if (add_i)", "if (1'b1)"),
    "a stalled step is looked up too early": ("lutra_addend", "if (enable_i[Stage])", "if (1'b1)"),
    "an addend without a partner is lost": ("lutra_addend", "= extended[2*i*Bits +: Bits];", "= '0;"),
    "adders lose the sign": ("lutra_addend", "{SignBits{gen_level", "{SignBits{1'b0 & gen_level"),
    "bits go on under back-pressure": ("lutra_delay", "if (enable_i)", "if (1'b1)"),
    "step counter forgets the reset": (
        "lutra_controller",
        "if (!rst_ni || summed) begin\n      step_q",
        "if (summed) begin\n      step_q",
    ),
    "rounding is left out": ("lutra_product", "sum * multiplier + Rounding", "sum * multiplier"),
    "negative sums become positive": ("lutra_product", "sum_i[SumBits-1]", "1'b0"),
    "large multipliers become negative": (
        "lutra_product",
        "-MultiplierBits){1'b0}}",
        "-MultiplierBits){multiplier_i[MultiplierBits-1]}}",
    ),
    "clamp is left out": ("lutra_clamp", "scaled > High", "1'b0"),
    "clamp has no lower end": ("lutra_clamp", "scaled < Low", "1'b0"),
    "negative products are shifted as positive ones": ("lutra_clamp", "product >>> Shift", "product_i >> Shift"),
    "bits reach every tap at once": ("lutra_delay", "{taps_q[(Taps-1)*Width-1:0], word_i}", "{Taps{word_i}}"),
    "bits of the row before stay": ("lutra_delay", "taps_q <= taps_d", "taps_q <= taps_d | taps_q"),
    "sums are chosen by the mark of the first": ("lutra_select", "select_i[k]", "select_i[0]"),
    "only the first sum is chosen": ("lutra_select", "words_i[k*Width + b]", "words_i[b]"),
    "the step waits for the next row": ("block_1_summation", "|| |last_at[2:0] || choosing_q)", ")"),
    "the step goes on under back-pressure": ("block_1_summation", "assign move = ready_i && (", "assign move = ("),
    "a row that begins without bits does not restart": ("block_1_summation", "first_at[0 + k] || ", ""),
    "the last beat of sums is lost": (
        "block_1_summation",
        "(choosing_q && choice_q != ",
        "(choosing_q && choice_q + 1'b1 != ",
    ),
    "a tree's adder loses an operand": ("block_2_lane_1", "assign sum_1_0 = ", "assign sum_1_0 = 0 & "),
    "threshold is exclusive": ("lutra_threshold", "offset >= threshold_i", "offset > threshold_i"),
    "trees go on under back-pressure": ("lutra_pipeline", "advance_o = ready_i", "advance_o = 1'b1"),
    "beats of a tree are not counted by row": ("lutra_pipeline", "beat_q == LastBeat", "1'b0"),
    "three terms lose a carry": ("lutra_ternary_add", "z_i[CarryBits-1:0] & (x_i", "z_i[CarryBits-1:0] & (y_i"),
    "a graph gets other bits": ("block_3_summation", ".bits_i(bits_0)", ".bits_i(~bits_0)"),
    "a graph goes on under back-pressure": (
        "block_3_graph_0",
        "if (advance_i) begin\n      output_0_",
        "if (1'b1) begin\n      output_0_",
    ),
    "bits of a tree's row stay valid": ("lutra_pipeline", "Stages'(valid_i)", "Stages'(1)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_faults_in_modules_are_found(tmp_path, mutation):
    module, right, wrong = MUTATIONS[mutation]
    rng = np.random.default_rng(1)
    designs = ((1, "accumulate"), (3, "accumulate"), (2, "tree"), ("all", "graph"))
    # Outputs of 8 bits are clamped, which hides wrong sums.
    graphs = [random_block(rng, width=6, luts=(12, 8), inputs=(4, 3), output_bits=bits) for bits in (8, 16, 8, 16)]
    plans = [BlockPlan(graph, f"block_{i}", *designs[i]) for i, graph in enumerate(graphs)]
    block_design(plans).write(tmp_path / "rtl")
    path = tmp_path / "rtl" / f"{module}.sv"
    assert path.read_text().count(right) == 1
    path.write_text(path.read_text().replace(right, wrong))
    devices = [Device(plan, random_rows(rng, plan.graph, 100)) for plan in plans]
    results = simulate_devices(devices, tmp_path / "rtl", tmp_path / "waveforms")
    assert any(result.problem for result in results)


@pytest.fixture
def run(tmp_path):
    """A run directory with two frozen blocks and their rows, as freezing leaves it."""
    files = RunFiles(tmp_path / "run")
    rng = np.random.default_rng(11)
    graphs = tuple(random_block(rng, luts=(14, 10), inputs=(4, 3), name=f"h.{index}.mlp") for index in range(2))
    store.save(FrozenModel(graphs), files.frozen)
    save_file({graph.name: random_rows(rng, graph, 30).astype(np.int8) for graph in graphs}, files.samples)
    return files


def recipe(fold_factor):
    hardware = {"fold_factors": (fold_factor,), "synthesise_fold_factors": (), "rows": 24}
    return Recipe(name="t", hardware=hardware)


def flip_a_table_bit(run, fold_folder):
    """Flip the entry of a last-layer table that row 0 reads; return the table's number."""
    graph = store.load(run.frozen).graphs[1]
    layer = graph.ops[2]
    table = BlockPlan(graph, "block_1", 1).existing(2)[0]
    bits = golden.trace(graph, _sample_rows(run, graph)[:1])[layer.inputs[0]][0]
    address = sum(int(bits[source]) << i for i, source in enumerate(layer.connections[table]))
    path = fold_folder / "block_1_network.sv"
    text = path.read_text()
    pattern = re.compile(rf"(\.Table\(\d+'h)([0-9a-f]+)(\)\) u_lut_2_{table} )")
    assert len(pattern.findall(text)) == 1
    path.write_text(pattern.sub(lambda m: f"{m[1]}{int(m[2], 16) ^ (1 << address):x}{m[3]}", text))
    return table


def _sample_rows(run, graph):
    return load_file(run.samples)[graph.name].astype(np.int64)


def test_a_run_is_proved_and_broken_rtl_is_found(run):
    result = simulate_run(run, recipe(3))
    assert read_evidence(run, recipe(3), "simulate") == result
    assert (result["rows"], result["mismatches"], result["cycles_match"]) == (48, 0, True)
    assert result["frozen_hash"] == store.content_hash(run.frozen)
    assert re.match(r"Verilator \d", result["simulator"])
    (design,) = result["designs"]
    assert design["fold_factor"] == 3
    assert [block["name"] for block in design["blocks"]] == ["block_0", "block_1"]
    assert all(block["cycles_measured"] == block["cycles_predicted"] > 0 for block in design["blocks"])

    table = flip_a_table_bit(run, run.rtl / "fold_3")
    with pytest.raises(MismatchError) as caught:
        simulate_run(run, recipe(3), rows=5)
    message = str(caught.value)
    assert re.search(r"block_1 \(h\.1\.mlp\): row 0, element \d+ \(without stalls\): RTL -?\d+, golden -?\d+", message)
    assert re.search(rf"first wrong inside: bits2\[{table}\]: RTL [01], golden [01]", message)
    waveform = run.root / "waveforms" / "fold_3" / "block_1.vcd"
    assert str(waveform) in message
    assert "layer_2" in waveform.read_text()
    evidence = json.loads(run.simulate.read_text())
    assert evidence["mismatches"] > 0
    assert evidence["designs"][0]["blocks"][0]["mismatches"] == 0
    assert evidence["designs"][0]["blocks"][1]["mismatches_with_stalls"] > 0
    assert "problem" in evidence["designs"][0]["blocks"][1]


def test_a_run_without_rows_says_what_to_do(run):
    save_file({"h.0.mlp": np.zeros((3, 12), np.int8)}, run.samples)
    with pytest.raises(RunDirectoryError, match=r"no rows for h\.1\.mlp; run `lutra freeze`"):
        simulate_run(run, recipe(1))
    run.samples.unlink()
    with pytest.raises(RunDirectoryError, match="run `lutra freeze`"):
        simulate_run(run, recipe(1))


def test_rows_that_the_block_does_not_take_are_refused(tmp_path):
    graph = random_block(np.random.default_rng(0))
    for rows in (np.zeros((0, 12), int), np.zeros((2, 11), int), np.zeros((2, 12)), np.full((2, 12), 128)):
        with pytest.raises(InputError, match="rows"):
            simulate_graphs([(graph, 1, rows)], tmp_path)


@pytest.fixture
def device():
    rng = np.random.default_rng(0)
    graph = random_block(rng)
    return Device(BlockPlan(graph, "block_0", 4), random_rows(rng, graph, 3))


def faultless(device, **changes):
    s = device.plan.schedule
    last = s.cycles(3) - 1
    values = {
        "output": golden.run(device.plan.graph, device.rows),
        "row_cycles": np.arange(3) * s.steps,
        "output_cycles": last - np.arange(3 * s.output_beats)[::-1],
        "extra_beats": 0,
        "unstable_cycle": None,
        "source_stalled_cycles": 9,
        "sink_stalled_cycles": 9,
    }
    return Recording(**(values | changes))


def test_every_kind_of_fault_is_reported(device):
    good = faultless(device)

    def problem(free, stalled, *rest):
        return compare(device, [free, stalled, *rest, *[good] * (len(STALLING_PASSES) - 2 - len(rest))]).problem

    assert problem(good, good) is None
    wrong = good.output.copy()
    wrong[2, 5] += 1
    late, never = good.output_cycles + 1, {"source_stalled_cycles": 0, "sink_stalled_cycles": 0}
    least = sum(each.stalls("source") for each in STALLING_PASSES)
    faults = {
        "row 2, element 5 \\(with stalls\\)": [good, faultless(device, output=wrong)],
        "element 5 \\(with stalls at the sink\\)": [good, good, faultless(device, output=wrong)],
        "only 2 of 3 rows came out without stalls": [faultless(device, output=good.output[:2]), good],
        "1 beats too many came out with stalls": [good, faultless(device, extra_beats=1)],
        "changed before it was taken in cycle 7 with stalls": [good, faultless(device, unstable_cycle=7)],
        "cycles measured": [faultless(device, output_cycles=late), good],
        "only 0 of 3 rows": [faultless(device, output=good.output[:0], output_cycles=late[:0]), good],
        f"the source stalled in 0 cycles only, at least {least} prove": [faultless(device, **never)]
        * len(STALLING_PASSES),
    }
    for pattern, recordings in faults.items():
        assert re.search(pattern, problem(*recordings) or ""), pattern


@pytest.mark.parametrize(("bits", "lanes", "signed"), [(8, 1, True), (8, 9, True), (5, 13, False), (32, 3, True)])
def test_beats_are_packed_and_unpacked(bits, lanes, signed):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    elements = np.random.default_rng(0).integers(low, high, (6, lanes))
    words = harness.pack(elements, bits)
    assert words.shape == (6, -(-bits * lanes // 32))
    assert (harness.unpack(words, lanes, bits, signed) == elements).all()
    assert harness.unpack(words[:0], lanes, bits, signed).shape == (0, lanes)  # a fault may let nothing come out


def test_a_missing_compiler_is_one_clear_error(monkeypatch):
    verilator.root.cache_clear()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="perl: not found"):
        verilator.root()
    verilator.root.cache_clear()


def test_a_design_that_verilator_refuses_is_one_clear_error(tmp_path):
    (tmp_path / "broken.sv").write_text("module broken (input logic a_i); assign b = ; endmodule\n")
    with pytest.raises(ToolError, match=r"verilator: broken: failed .*syntax error"):
        verilator.build([tmp_path / "broken.sv"], "broken", tmp_path / "main.cpp", tmp_path)
