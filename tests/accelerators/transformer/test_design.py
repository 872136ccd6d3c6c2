"""The transformer machine's RTL: clean for both tools, complete, and built only from what it takes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from frozen_transformers import random_gpt, random_vit
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.config import TransformerConfig
from lutra.accelerators.transformer.emit import RTL, TOP, transformer_design
from lutra.accelerators.transformer.program import FIELD_BITS, STEP_BITS, Op, Step
from lutra.errors import InputError
from lutra.hardware.bench import verilator
from lutra.synth.tools.find import fpga_yosys, run_tool

MACHINES = {
    "smallest": (2, 1, 1, "gpt", "mlp"),
    "lanes": (8, 2, 1, "gpt", "none"),
    "block": (4, 4, 2, "gpt", "weightless"),
    "pixels": (4, 4, 4, "vit", "mlp"),
}


def design_of(size, lanes, norm_lanes, kind, ffn):
    rng = np.random.default_rng(1)
    program = random_vit(rng, ffn=ffn) if kind == "vit" else random_gpt(rng, ffn=ffn)
    config = sized_for(program, size, lanes, norm_lanes)
    return transformer_design(config, compile_model(program, config).blocks)


@pytest.mark.parametrize(
    "machine", ["block", *(pytest.param(name, marks=pytest.mark.slow) for name in MACHINES if name != "block")]
)
def test_verilator_has_no_warning(tmp_path, machine):
    files = design_of(*MACHINES[machine]).write(tmp_path / "rtl")
    assert verilator.lint([path for path in files if path.suffix == ".sv"], TOP) == ""


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_yosys_reads_it(tmp_path, machine):
    design = design_of(*MACHINES[machine])
    design.write(tmp_path / "rtl")
    yosys = fpga_yosys()
    if yosys is None:
        pytest.skip("Yosys is not installed")
    script = f"read_verilog -sv {' '.join(design.sources)}; hierarchy -check -top {TOP}; proc; check -assert"
    run_tool(yosys, ["-q", "-p", script], tmp_path / "rtl", tmp_path / "log")


def test_the_same_machine_is_the_same_text_and_every_field_shows():
    config = sized_for(random_gpt(np.random.default_rng(1), ffn="mlp"), 4)
    design = transformer_design(config)
    assert transformer_design(replace(config)).content_hash == design.content_hash
    for name in ("size", "norm_lanes", "rows", "depth", "weight_words", "program_words", "tables"):
        scale = 2 if name != "norm_lanes" else 4
        other = replace(config, **{name: scale * getattr(config, name)}, **({"depth": 128} if name == "rows" else {}))
        assert transformer_design(other).content_hash != design.content_hash
    assert TransformerConfig.from_mapping(config.to_mapping()) == config
    for hostile in ({"x" * 10_000: 1}, {"\rx": 1}, {"size": "\r" + "x" * 10_000}):
        with pytest.raises(InputError) as caught:
            TransformerConfig.from_mapping(config.to_mapping() | hostile)
        assert len(str(caught.value)) < 1000 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("size", 6, "size must be a power of two"),
        ("size", 128, "size must be from 2 to 64"),
        ("lanes", 8, "norm_lanes <= lanes <= size <= depth must hold"),
        ("rows", 10, "rows must be a multiple of size 4"),
        ("rows", 2048, "rows must be a multiple of size 4 up to 1024"),
        ("program_words", 257, "program_words must be at most 256"),
        ("weight_words", 0, "weight_words must be an integer from 1"),
        ("key_words", True, "key_words must be an integer from 1"),
    ],
)
def test_configurations_out_of_range_are_refused(field, value, problem):
    config = sized_for(random_gpt(np.random.default_rng(1), ffn="mlp"), 4)
    with pytest.raises(InputError, match=problem):
        replace(config, **{field: value})


def test_the_rtl_has_the_fields_of_a_step_in_their_order():
    text = (RTL / "lutra_transformer_step.sv").read_text(encoding="utf-8")
    ports = re.findall(r"output logic (?:\[(\d+):0\])? +(\w+)_o,? ", text)
    assert [(name, int(high or 0) + 1) for high, name in ports] == list(FIELD_BITS.items())
    joined = re.search(r"assign \{([^}]+)\} = word_i", text)
    assert joined is not None
    assert [name.strip().removesuffix("_o") for name in joined[1].split(",")] == list(reversed(FIELD_BITS))
    step = Step(Op.PRODUCT, "x", rows=3, inner=5, causal=1)
    word = step.word()
    place = 0
    for field, bits in FIELD_BITS.items():
        assert word >> place & (1 << bits) - 1 == int(getattr(step, field))
        place += bits
    assert place == STEP_BITS
    with pytest.raises(InputError, match="rows of its step is 65536, it has 16 bits"):
        Step(Op.PRODUCT, "x", rows=1 << 16).word()
