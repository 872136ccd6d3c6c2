"""Every hand-written module refuses parameters that it cannot be built with, and takes its own without a warning."""

from __future__ import annotations

import contextlib
import re
from functools import cache
from pathlib import Path

import pytest

import lutra
from lutra.errors import ToolError
from lutra.hardware.bench import verilator
from lutra.synth.tools.find import fpga_yosys, run_tool

PACKAGE = Path(lutra.__file__).parent
PARTS = {
    f"lutra_transformer_{name}"
    for name in (
        *("attention", "banks", "block_rows", "controller", "core", "embed", "feeder", "left"),
        *("pixels", "product", "program", "queue", "rows", "scoreboard", "step", "stream", "tile", "walk", "wide"),
    )
}
"""What holds a transformer machine together; its vector units are modules like others."""
MODULES = {
    path.stem: path
    for path in sorted(PACKAGE.rglob("*.sv"))
    if path.parent.parent.name != "bat" and path.stem not in PARTS
}
"""Parts of one machine (BAT's, those above) are not among them: nobody else instantiates them, and the machine's
configuration checks what they get."""
CHECK = re.compile(r'\n  if \((?P<condition>[^"]*?)\) begin : gen_wrong\n    \$error\("(?P<rule>[^"]+)"\);\n  end\n')
"""How a module refuses parameters."""
PARAMETER = re.compile(r"^  parameter (?:int unsigned|bit|logic)\b", re.MULTILINE)

LEAVES = {"lutra_adder_tree": {"Terms": 4}, "lutra_leading_zeros": {"Levels": 1}}
"""Where modules that instantiate themselves end: Verilator does not look inside one that is the top otherwise."""
SMALL = {"Size": 2, "Depth": 4, "Lanes": 2}
"""An array of which Verilator makes little."""

# Module -> wrong parameters, one condition of its check after the other; what is not given is as the module has it.
WRONG: dict[str, list[dict[str, int]]] = {
    "lutra_adder_tree": [{"Terms": 0}, {"Terms": 4, "Bits": 1}, {"Terms": 4, "SumBits": 9}],
    "lutra_axi_lite": [{"AddressBits": 2}],
    "lutra_binary16_divide": [{"Bits": 25}, {"Bits": 65}],
    "lutra_binary16_from_integer": [{"Bits": 1}, {"Bits": 64}],
    "lutra_clamp": [{"OutBits": 0}, {"ProductBits": 17}, {"Shift": 18}],
    "lutra_delay": [{"Width": 0}, {"FirstTap": 1}],
    "lutra_fifo": [{"Bits": 0}, {"AddressBits": 0}],
    "lutra_job": [],
    "lutra_keep": [{"Units": 0}, {"UnitBytes": 0}, {"CountBits": 2}],
    "lutra_leading_zeros": [{"Levels": 0}],
    "lutra_lut": [],
    "lutra_lut_memory": [{"Words": 0}, {"Bits": 0}, {"Words": 17}],
    "lutra_memory": [{"Words": 0}, {"Bits": 0}, {"Words": 17}],
    "lutra_multiply": [{"XBits": 1}, {"YBits": 1}],
    "lutra_mux": [{"Width": 0}],
    "lutra_narrow": [{"Lanes": 0}, {"Bits": 0}, {"ContainerBits": 7}, {"LastLanes": 0}, {"LastLanes": 2}],
    "lutra_pipeline": [{"Stages": 0}, {"Beats": 0}, {"Beats": 3}],
    "lutra_product": [{"SumBits": 0}, {"MultiplierBits": 0}, {"MultiplierBits": 2}, {"Shift": 17}],
    "lutra_reciprocal": [{"Skip": 0}, {"Skip": 28}, {"DivisorBits": 32}, {"TagBits": 0}],
    "lutra_repack": [{"UnitBits": 0}, {"InUnits": 0}, {"OutLastUnits": 0}, {"OutLastUnits": 4}, {"CountBits": 3}],
    "lutra_requantise": [{"SumBits": 0}, {"MultiplierBits": 0}, {"OutBits": 0}],
    "lutra_rom": [{"Width": 0}],
    "lutra_round_shift": [{"OutBits": 1}, {"Bits": 16}, {"ShiftBits": 0}],
    "lutra_saturating_add": [{"Bits": 1}],
    "lutra_shift_exp": [{"Unit": 0}, {"Shift": 0}, {"Shift": 24}, {"MantissaBits": 5}, {"ValueBits": 29}],
    "lutra_shift_gelu": [
        *({"Size": 0}, {"Size": 24}, {"Lanes": 16}),
        *({"MaxTiles": 0}, {"MaxTiles": 256}),
    ],
    "lutra_shift_gelu_lane": [{"Skip": 6}, {"MultiplierBits": 0}],
    "lutra_stream_register": [{"Bits": 0}],
    "lutra_ternary_add": [{"CarryBits": 0}, {"CarryBits": 8}],
    "lutra_uart_bridge": [{"AddressBits": 9}, {"BitCycles": 3}, {"CountBits": 4}],
    "lutra_uart_receive": [{"BitCycles": 3}, {"CountBits": 4}],
    "lutra_uart_send": [{"BitCycles": 1}, {"CountBits": 4}],
    "lutra_widen": [{"Lanes": 0}, {"Bits": 0}, {"ContainerBits": 7}],
    "lutra_accumulator": [{"AddendBits": 7}, {"AddendBits": 17}, {"Steps": 0}, {"StepBits": 0}, {"Steps": 3}],
    "lutra_addend": [
        *({"Fold": 0}, {"ValueBits": 1}, {"AddendBits": 7}, {"LevelsPerStage": 0}),
        *({"Fold": 3}, {"Fold": 3, "Stages": 3}),
    ],
    "lutra_controller": [
        *({"InputBeats": 0}, {"InputBeats": 2}, {"InputBeats": 3, "Steps": 3, "StepBits": 2}),
        {"Steps": 3},
    ],
    "lutra_select": [{"Words": 0}, {"Width": 0}],
    "lutra_threshold": [{"Bits": 1}],
    "lutra_turns": [{"Beats": 1}, {"Beats": 3}],
    "lutra_dense_mlp": [{**SMALL, "MaxTiles": 0}, {**SMALL, "MaxTiles": 256}],
    "lutra_systolic_column": [{"Size": 6}, {"RowBits": 4}, {"SumBits": 16}],
    "lutra_systolic_controller": [
        *({"Size": 6}, {"RowBits": 4}, {"Groups": 0}, {"Groups": 3, "GroupBits": 2}),
        *({"Groups": 4}, {"InnerBits": 8}, {"TileBits": 0}),
    ],
    "lutra_systolic_edge": [{"Depth": 0}, {"Depth": 192}, {"AddressBits": 10}],
    "lutra_systolic_gemm": [
        *({**SMALL, "Size": 3}, {**SMALL, "Depth": 1}, {**SMALL, "Depth": 3}, {**SMALL, "Lanes": 4}),
        {"Size": 4, "Depth": 4, "Lanes": 3},
    ],
    "lutra_systolic_sums": [
        *({**SMALL, "Size": 3}, {**SMALL, "Depth": 1}, {**SMALL, "Depth": 3}, {**SMALL, "Lanes": 4}),
        {"Size": 4, "Depth": 4, "Lanes": 3},
    ],
    "lutra_systolic_loader": [{"AddressBits": 1}, {"InnerBits": 8}],
    "lutra_systolic_pe": [{"SumBits": 16}],
    "lutra_systolic_result": [{"Size": 0}, {"Size": 6}, {"Size": 1, "RowBits": 0}, {"RowBits": 4}],
    "lutra_systolic_selector": [{"Size": 6}, {"RowBits": 4}, {"SumBits": 16}],
    "lutra_transformer_gearbox": [{"Bits": 0}, {"Elements": 0}, {"InLanes": 0}],
    "lutra_transformer_loader": [{"Parts": 0}, {"Parts": 256}, {"LoadBits": 321}, {"AddressBits": 32}],
    "lutra_transformer_norm": [{"Lanes": 0}, {"Lanes": 65}, {"Beats": 0}, {"BeatBits": 3}],
    "lutra_transformer_norm_sums": [{"Lanes": 0}, {"Lanes": 257}],
    "lutra_transformer_reciprocal": [{"ValueBits": 37}],
    "lutra_transformer_requantise": [{"Lanes": 0}],
    "lutra_transformer_residual": [{"Lanes": 0}],
    "lutra_transformer_session": [
        *({"InBits": 16, "InUnits": 1}, {"OutBits": 16, "LogitBits": 16}, {"InputBits": 64}, {"OutUnits": 2}),
        *({"InUnits": 1}, {"RowBeats": 0}, {"LargeWord": 0}, {"LargeUnits": 1}),
    ],
    "lutra_transformer_softmax": [
        *({"Size": 1}, {"Size": 6}, {"Lanes": 512, "Keys": 512}),
        *({"Keys": 0}, {"Keys": 2048}, {"Keys": 63}, {"ChunkBits": 3}, {"RowBits": 3}, {"KeyBits": 6}),
    ],
    "lutra_transformer_softmax_max": [{"Size": 1}, {"Size": 6}, {"Banks": 3}, {"RowBits": 3}],
    "lutra_transformer_table": [{"Lanes": 0}, {"Tables": 0}, {"Tables": 3, "TableBits": 1}],
}
# The same, so wrong that Verilator finds an error before it comes to the check.
HOPELESS: dict[str, list[dict[str, int]]] = {
    "lutra_job": [{"FlightBits": 0}],
    "lutra_lut": [{"Inputs": 0}],
    "lutra_mux": [{"AddressBits": 0}],
    "lutra_pipeline": [{"BeatBits": 0}],
    "lutra_rom": [{"AddressBits": 0}],
    "lutra_shift_gelu": [{"Lanes": 0}, {"Lanes": 3}],
    "lutra_controller": [{"InputBeatBits": 0}, {"StepBits": 0}],
    "lutra_systolic_column": [{"Size": 1, "RowBits": 0}],
    "lutra_systolic_controller": [{"Size": 1, "RowBits": 0}, {"GroupBits": 0}],
    "lutra_systolic_gemm": [{"Size": 1}, {"Lanes": 0}],
    "lutra_systolic_sums": [{"Size": 1}, {"Lanes": 0}],
    "lutra_systolic_selector": [{"Size": 1, "RowBits": 0}],
    "lutra_transformer_gearbox": [{"OutLanes": 0}],
    "lutra_transformer_reciprocal": [{"ValueBits": 1}],
    "lutra_transformer_softmax": [{"Lanes": 0}, {"Lanes": 3, "Keys": 63}],
    "lutra_transformer_softmax_max": [{"Lanes": 0}, {"Lanes": 3}],
}
LARGE = [("lutra_transformer_norm", {"Lanes": 65}), ("lutra_transformer_softmax", {"Lanes": 512, "Keys": 512})]
"""Of which Verilator makes much before it comes to the check."""


def cases(table: dict[str, list[dict[str, int]]]) -> pytest.MarkDecorator:
    pairs = [
        pytest.param(module, wrong, id=_id(module, wrong), marks=[pytest.mark.slow] if (module, wrong) in LARGE else [])
        for module in table
        for wrong in table[module]
    ]
    return pytest.mark.parametrize(("module", "wrong"), pairs)


def _id(module: str, wrong: dict[str, int]) -> str:
    return "-".join([module, *(f"{name}-{value}" for name, value in wrong.items())])


def lint(module: str, parameters: dict[str, int]) -> str:
    """What Verilator says of a module with other parameters than its own."""
    return verilator.lint([MODULES[name] for name in sorted(needed(module))], module, parameters)


@cache
def needed(module: str) -> frozenset[str]:
    """The module and all that it instantiates, so that Verilator reads no others."""
    words = set(re.findall(r"\blutra_\w+", MODULES[module].read_text(encoding="utf-8"))) & MODULES.keys() - {module}
    return frozenset({module}).union(*map(needed, words))


def test_every_module_with_parameters_checks_them():
    with_parameters = {name for name, path in MODULES.items() if PARAMETER.search(path.read_text(encoding="utf-8"))}
    assert with_parameters == WRONG.keys()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_no_warning_with_the_parameters_that_it_comes_with(module):
    assert lint(module, LEAVES.get(module, {})) == ""


@pytest.mark.parametrize("module", WRONG)
def test_every_condition_of_a_check_has_a_case(module):
    (check,) = CHECK.finditer(MODULES[module].read_text(encoding="utf-8"))
    assert len(WRONG[module]) + len(HOPELESS.get(module, [])) >= len(check["condition"].split("||"))


@cases(WRONG)
def test_a_module_refuses_a_wrong_parameter(module, wrong):
    (check,) = CHECK.finditer(MODULES[module].read_text(encoding="utf-8"))
    said = lint(module, wrong)
    assert re.search(rf"USERERROR: {MODULES[module]}:\d+:\d+: {re.escape(check['rule'])}\n", said), said


@cases(HOPELESS)
def test_verilator_refuses_what_the_check_cannot(module, wrong):
    assert "%Error: " in lint(module, wrong)


def test_yosys_refuses_a_wrong_parameter_too(tmp_path):
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    (tmp_path / "lutra_delay.sv").write_text(MODULES["lutra_delay"].read_text(encoding="utf-8"))
    for first, refused in ((1, False), (2, True)):
        script = (
            f"read_verilog -sv lutra_delay.sv; hierarchy -top lutra_delay -chparam Taps 2 -chparam FirstTap {first}"
        )
        with pytest.raises(ToolError, match="FirstTap") if refused else contextlib.nullcontext():
            run_tool(yosys, ["-q", "-p", script], tmp_path, tmp_path / "log")
