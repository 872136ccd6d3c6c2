"""Whole BERTs on BAT: every value that a unit hands over, every cycle, without and with stalls of memory."""

from __future__ import annotations

import numpy as np
import pytest

import bat_models
from frozen_berts import small_config
from lutra.accelerators.bat import bench, compiler, emit
from lutra.accelerators.bat.compare import golden_trace
from lutra.accelerators.bat.config import ModuleConfig, config_for
from lutra.accelerators.bat.simulate import Sentences, require_match, simulate_model
from lutra.errors import InputError, LutraError, MismatchError, ToolError
from lutra.hardware.bench import verilator

pytestmark = pytest.mark.usefixtures("unoptimised")

QUANTISATION = {"method": "bmt", "activation_bits": 4}
TINY = small_config(
    layers=2, heads=2, head_width=16, width=64, intermediate=64, positions=16, quantisation=QUANTISATION
)
MODULES = (
    ModuleConfig(p_dpu=4, p_quan=4, p_vu=4, p_ln=2, p_pe=32, p_softmax=4),
    ModuleConfig(p_dpu=2, p_quan=8, p_vu=6, p_ln=4, p_pe=32),
)


@pytest.fixture(autouse=True)
def quiet():
    """Small models quantise with steps that send some numbers to infinity, which is clipped."""
    with np.errstate(over="ignore"):
        yield


@pytest.fixture(scope="module")
def tiny():
    return bat_models.frozen(TINY, seed=3)


@pytest.fixture(scope="module")
def two_modules(tmp_path_factory):
    return bench.build(config_for(TINY, MODULES), tmp_path_factory.mktemp("tiny"))


def groups_of(model, lengths, seed=1):
    return [bat_models.embedded(model, each, seed) for each in lengths]


def test_a_tiny_model_on_two_modules(two_modules, tiny):
    groups = groups_of(tiny, [[16, 16], [5, 16], [16, 1], [9]])
    assert bat_models.problems(two_modules, tiny, groups) == []


OUT_OF_RANGE = {
    "layers.0.attention.scores": ("layers.0.attention.score_factor", 6e4, 0, "vector unit"),
    "layers.1.attention.contexts": ("layers.1.attention.context_factor", -6e4, 0, "vector unit"),
    "layers.0.feed_forward.intermediate": ("layers.0.feed_forward.intermediate.factor", -6e4, 1, "vector unit"),
    "layers.1.attention.norm": ("layers.1.attention.norm.gain", 6e4, 0, "layer norm"),
    "layers.0.feed_forward.hidden_quantiser": (
        "layers.0.feed_forward.hidden_quantiser.bias",
        65504,
        1,
        "quantisation unit",
    ),
}
"""What golden refuses; the tensor that makes it so, its values; module and unit that must say so."""


@pytest.mark.parametrize("where", OUT_OF_RANGE)
def test_numbers_that_golden_refuses_set_the_error_bit(two_modules, where):
    tensor, value, module, unit = OUT_OF_RANGE[where]
    model = bat_models.frozen(TINY, seed=3)
    model.tensors[tensor][...] = value
    if unit == "quantisation unit":  # 65504 and more: the rows that go in have to be large, too
        model.tensors["layers.0.feed_forward.intermediate.bias"][...] = 30_000
    (group,) = groups_of(model, [[7]])
    with pytest.raises(LutraError, match=rf"^{where}: an activation leaves the range"):
        golden_trace(model, group[0])
    image = compiler.compile_model(model, two_modules.config)
    (run,) = bench.simulate(two_modules, image, [group])
    assert unit in run.modules[module].errors


@pytest.mark.parametrize("seed", range(5))
def test_random_models_on_random_accelerators(tmp_path, seed):
    run_random(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5, 55))
def test_more_random_models_on_random_accelerators(tmp_path, seed):
    run_random(tmp_path, seed)


def run_random(folder, seed):
    config, accelerator = bat_models.draw(seed)
    model, longest = bat_models.frozen(config, seed), accelerator.positions
    lengths = [[longest, longest], [longest], [1, longest], [longest, 2]]
    groups = groups_of(model, [each[: len(accelerator.modules)] for each in lengths], seed)
    assert bat_models.problems(bench.build(accelerator, folder), model, groups) == []


def test_a_value_that_is_not_goldens_is_named(two_modules, tiny):
    """The bench compares with another model's golden values: the first step whose weights differ is found."""
    other = bat_models.frozen(TINY, seed=3)
    other.tensors["layers.1.feed_forward.intermediate.factor"] *= np.float16(-1)
    groups = groups_of(tiny, [[6]])
    image = compiler.compile_model(tiny, two_modules.config)
    run = bench.simulate(two_modules, image, groups)[0]
    assert bat_models.problems_of("here", image, tiny, groups[0], run, stalls=False) == []
    found = bat_models.problems_of("here", image, other, groups[0], run, stalls=False)
    assert found[0].startswith(
        "here, module 1: step layers.1.feed_forward.hidden of sentence 0, vector unit, row 0, element "
    )


FAULTS = {
    "a bank is loaded while it is used": ("lutra_bat_loader", "if (!loaded_q[bank_q]) begin", "if (1) begin"),
    "all steps in one bank": ("lutra_bat_loader", "bank_q           <= !bank_q", "bank_q           <= bank_q"),
    "a section of weights is skipped": ("lutra_bat_loader", "following(words, 3'd0)", "following(words, 3'd1)"),
    "words are not counted": ("lutra_bat_loader", "word_q <= word_q + 1'b1", "word_q <= word_q"),
    "modules do not wait": ("lutra_bat_controller", "(!waits || jobs_q != '0)", "1'b1"),
    "jobs are forgotten": ("lutra_bat_controller", "+ Jobs'(peer_job_end_i)", ""),
    "steps end before rows are in memory": ("lutra_bat_controller", "(!use_norm || written_q || written_i)", "1'b1"),
    "weights of the other bank": ("lutra_bat_products", "bank_i && !planes", "!bank_i && !planes"),
    "inputs from the wrong memory": ("lutra_bat_products", "x_is_input ? input_word : work_word", "work_word"),
    "planes from the weights": ("lutra_bat_products", "planes ? plane_word :", ""),
    "factors of scores for each beat": ("lutra_bat_dequantise", ".same_factor_i(same_factor)", ".same_factor_i(1'b0)"),
    "parameters of the other bank": ("lutra_bat_parameters", "{read_bank_i,", "{!read_bank_i,"),
    "one head's biases for all": ("lutra_bat_encode", ".by_head_i(context_step)", ".by_head_i(1'b0)"),
    "tables of the other bank": ("lutra_bat_encode", "bank_i ? table_1_q", "!bank_i ? table_1_q"),
    "probabilities of whole beats": ("lutra_bat_probabilities", ".last_lanes_i(last_lanes)", ".last_lanes_i('1)"),
    "codes for the other module kept": ("lutra_bat_module", "store_peer ? x_write : '0", "'0"),
    "residuals taken for inputs": ("lutra_bat_module", "use_residual ? residual_ready", "0 ? residual_ready"),
    "a burst too long": ("lutra_bat_dma_read", "8'(burst - 1'b1)", "8'(burst)"),
}
WIDE_FAULTS = {
    "parts of a word in one place": ("lutra_bat_parameters", "write_i && part_i == Part", "write_i"),
    "rows for memory lost": ("lutra_bat_normalise", "memory_ready && (codes_ready || !store)", "codes_ready || !store"),
}
"""Only where a word of parameters has several parts, and norms are faster than the memory."""
WIDE_MODULES = (ModuleConfig(p_dpu=32, p_quan=16, p_vu=16, p_ln=16, p_pe=32, p_softmax=4),)


@pytest.mark.slow
def test_wide_modules_have_no_fault_of_their_own(tmp_path, tiny):
    built = bench.build(config_for(TINY, WIDE_MODULES), tmp_path)
    assert bat_models.problems(built, tiny, groups_of(tiny, [[16]])) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*FAULTS, *WIDE_FAULTS])
def test_faults_in_the_whole_are_found(tmp_path, monkeypatch, tiny, fault):
    module, right, wrong = (FAULTS | WIDE_FAULTS)[fault]
    modules, lengths = (MODULES, [16, 7]) if fault in FAULTS else (WIDE_MODULES, [16])
    library = dict(emit.library_files(emit.RTL))
    assert library[f"{module}.sv"].count(right) == 1
    library[f"{module}.sv"] = library[f"{module}.sv"].replace(right, wrong)
    monkeypatch.setattr(emit, "library_files", lambda *_: library)
    monkeypatch.setattr(bench, "PATIENCE", 20_000)
    built = bench.build(config_for(TINY, modules), tmp_path)
    try:
        found = bat_models.problems(built, tiny, groups_of(tiny, [lengths]))
    except ToolError as error:  # the external memory refuses what AXI4 forbids
        found = [str(error)]
    assert found != []


def test_a_difference_leaves_a_waveform(tmp_path, monkeypatch):
    """In the row of the first value that differs."""
    library = dict(emit.library_files(emit.RTL))
    library["lutra_bat_relu.sv"] = library["lutra_bat_relu.sv"].replace("enable_i && x_i[15]", "1'b0")
    monkeypatch.setattr(emit, "library_files", lambda *_: library)
    config = small_config(heads=1, head_width=4, width=8, intermediate=8, layers=1, quantisation=QUANTISATION)
    model = bat_models.frozen(config, seed=3)
    sentences = Sentences(np.arange(4)[None], np.zeros((1, 4), int), np.array([4]))
    lanes = ModuleConfig(p_dpu=2, p_quan=2, p_vu=2, p_ln=2, p_pe=8, p_softmax=2)
    waveform = tmp_path / "rows.vcd"
    result = simulate_model(model, config_for(config, (lanes,)), sentences, tmp_path / "build", waveform)
    where = r"bmt: step layers\.0\.feed_forward\.hidden of sentence 0, vector unit, row .* waveform .*rows\.vcd"
    with pytest.raises(MismatchError, match=where):
        require_match(result, "bmt")
    assert "u_relu" in waveform.read_text()


@pytest.mark.parametrize("count", [1, 2])
def test_verilator_has_no_warning(tmp_path, count):
    design = emit.bat_design(config_for(TINY, MODULES[:count]))
    design.write(tmp_path / "rtl")
    assert verilator.lint([tmp_path / "rtl" / name for name in design.sources], emit.TOP) == ""


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [([17], "17 tokens does not fit"), ([], "1 to 2 sentences, got 0"), ([4, 4, 4], "1 to 2 sentences, got 3")],
)
def test_sentences_that_do_not_fit(tiny, tokens, problem):
    image = compiler.compile_model(tiny, config_for(TINY, MODULES))
    with pytest.raises(InputError, match=problem):
        compiler.compile_sentences(image, tokens)
