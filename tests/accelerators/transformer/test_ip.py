"""The transformer machine as an IP core, driven by models of AXI that are not ours, through its own driver."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from frozen_transformers import random_gpt, random_vit
from ip_bench import (
    build_cocotb,
    build_simulation,
    compile_strictly,
    ip_xact_problems,
    run_cocotb,
    run_fusesoc,
    run_simulation,
)
from lutra.accelerators.transformer import latency
from lutra.accelerators.transformer.compiler import compile_model, sized_for
from lutra.accelerators.transformer.ip.core import MachineCore
from lutra.accelerators.transformer.ip.package import machine_package, package_run
from lutra.accelerators.transformer.ip.registers import transformer_registers
from lutra.accelerators.transformer.machine import Call
from lutra.cli.commands import app
from lutra.errors import InputError
from lutra.frozen import store
from lutra.frozen.graph import FrozenModel
from lutra.hardware.axi.package import IMAGE_HEADER
from lutra.hardware.bench import verilator
from lutra.recipes.language import Recipe
from lutra.recipes.sections import validate
from lutra.report.trust.verify import verify
from lutra.runs.claim import save_recipe
from lutra.runs.files import RunFiles
from transformer_machines import random_input

SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"
HEADER = IMAGE_HEADER.size
TOKENS = 6
CALLS = [(TOKENS, 0), (2, 3), (1, 5)]


def gpt(seed=1, size=2, lanes=2):
    rng = np.random.default_rng(seed)
    program = random_gpt(rng, layers=1, width=6, heads=1, context=TOKENS, vocabulary=5, ffn="weightless")
    image = compile_model(program, replace(sized_for(program, size, lanes), fold_factor="all"))
    core = MachineCore("gpt_ip", image)
    return core, machine_package(core, [random_input(rng, image, TOKENS)], "f" * 64)


def vit(lanes):
    rng = np.random.default_rng(lanes)
    program = random_vit(rng, layers=1, width=6, heads=2, image=(4, 6), patch=2, classes=5, ffn="mlp")
    image = compile_model(program, sized_for(program, 8 if lanes > 4 else 4, lanes))
    core = MachineCore("vit_ip", image)
    return core, machine_package(core, [random_input(rng, image, 1) for _ in range(3)], "f" * 64)


def changed(content, place):
    """The bytes with one bit flipped."""
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def written(package, folder):
    package.write(folder)
    return folder


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A small GPT's machine in a simulation for cocotb: its folder, core and package."""
    pytest.importorskip("cocotbext.axi", reason="cocotb and cocotbext-axi are not installed")
    folder = tmp_path_factory.mktemp("gpt")
    core, package = gpt()
    out = written(package, folder / "ip")
    build_cocotb(folder, core.name, out)
    return folder, core, out


def run(simulated, **plan):
    folder, core, out = simulated
    image = str(out / f"image/{core.name}.bin")
    return run_cocotb(folder, core.name, out, "transformer_cocotb", **plan, image=image)


def test_no_beat_is_lost_or_wrong_under_random_stalls(simulated):
    found = run(simulated, patterns=6)
    assert (found["calls"], found["wrong"]) == (6, [])
    assert found["stalls"][1] > 0


def test_what_is_done_wrong_is_said_and_the_next_call_is_right(simulated):
    assert run(simulated, errors=True) == {
        "unloaded": ["unloaded"],
        "broken_image": ["image"],
        "load": [],
        "short": ["short"],
        "long": ["long"],
        "holes": ["keep"],
        "unknown_token": ["token"],
        "twice": ["start"],
        "too_many": ["call"],
        "give_up": [],
    }


def test_the_packaged_driver_runs_on_pynq_in_the_predicted_cycles_and_refuses_another_build(simulated, tmp_path):
    _, core, out = simulated
    other = written(gpt(seed=2)[1], tmp_path / "ip")
    found = run(
        simulated,
        pynq=True,
        calls=CALLS,
        vectors_folder=str(out / "vectors"),
        other_driver=str(other / f"driver/python/{core.name}.py"),
        other_vectors=str(other / "vectors"),
        other_image=str(other / f"image/{core.name}.bin"),
    )
    assert found["compared"] == 2 * TOKENS
    assert found["cycles"] == [latency.call_cycles(core.image, Call(*call)) for call in CALLS]
    assert found["interrupt"] == [1, 0]
    assert "the hardware is of build" in found["other build"] and "\n" not in found["other build"]
    assert "vectors of build" in found["other vectors"]
    assert "an image of build" in found["other image"]


def test_a_run_becomes_a_package_that_holds_together(tmp_path):
    files = RunFiles(tmp_path / "run")
    store.save(FrozenModel.of_whole(gpt()[0].image.program), files.frozen)
    tree = {"name": "small", "model": {"ffn": "mlp"}}
    recipe = validate(Recipe, {**tree, "machine": {"size": 2, "characters": 4}}, "test")
    result = package_run(files, recipe, tmp_path / "ip")
    assert (result["name"], result["rows"], result["blocks"]) == ("small_ip", TOKENS, ["h.0.mlp"])
    findings = {each.subject: each.verdict for each in verify(tmp_path / "ip")}
    assert [findings[name] for name in ("ip.json", "files", "build hash", "rtl")] == ["holds"] * 4
    save_recipe(recipe, files.recipe)
    said = CliRunner().invoke(app, ["package", str(files.root), "--machine", "--out", str(tmp_path / "again")])
    assert said.exit_code == 0
    assert f"small_ip, build {result['build_hash']}, transformer, {result['cycles']:,} cycles for 6 rows" in " ".join(
        said.stdout.split()
    )
    assert "this run did not simulate the machine" in (tmp_path / "ip/README.md").read_text()
    with pytest.raises(InputError, match="its recipe asks for no machine"):
        package_run(files, validate(Recipe, tree, "test"), tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_files_of_a_package_name_every_port_and_every_register(tmp_path):
    core, package = gpt()
    out = written(package, tmp_path / "ip")
    registers = transformer_registers(package.build_hash, core.rows, whole=False)
    described = ElementTree.parse(out / "component.xml").getroot()
    offsets = {
        each.find(f"{SPIRIT}name").text: int(each.find(f"{SPIRIT}addressOffset").text, 0)
        for each in described.iter(f"{SPIRIT}register")
    }
    assert offsets == {register.name: offset for offset, register in registers}
    header = (out / f"driver/c/{core.name}.h").read_text()
    for name, offset in offsets.items():
        assert f"#define GPT_IP_{name.upper()} 0x{offset:02x}u" in header
    ports = [each.find(f"{SPIRIT}name").text for each in described.iter(f"{SPIRIT}port")]
    mapped = [each.text for each in described.findall(f".//{SPIRIT}physicalPort/{SPIRIT}name")]
    assert sorted(mapped) == sorted(ports)
    assert ip_xact_problems((out / "component.xml").read_text()) == ""
    compile_strictly(tmp_path, core.name, out)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt", "vit"])
def test_the_c_driver_runs_against_the_rtl_and_refuses_another_image(tmp_path, kind):
    core, package = {"gpt": gpt, "vit": lambda: vit(2)}[kind]()
    out = written(package, tmp_path / "ip")
    compile_strictly(tmp_path, core.name, out)
    program = build_simulation(tmp_path / "right", core.name, out)
    ran = run_simulation(program, out, "20")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith(f"{20 * (TOKENS if core.tokens else 3)} rows, 0 differ\n")

    vectors = (out / f"vectors/{core.name}_0.bin").read_bytes()
    (tmp_path / "damaged.bin").write_bytes(changed(vectors, len(vectors) - 1))
    ran = run_simulation(program, out, "1", str(tmp_path / "damaged.bin"))
    assert ran.returncode == 1
    row = TOKENS - 1 if core.tokens else 2
    assert f"sequence 0, stall pattern 0: row {row}, element {core.logit_columns - 1}: RTL" in ran.stderr

    image = out / f"image/{core.name}.bin"
    whole = image.read_bytes()
    for wrong, words in (
        (whole[:-4], "an image of another build, or not whole"),
        (whole.replace(package.build_hash.encode(), b"0" * 16), "an image of another build, or not whole"),
        (changed(whole, HEADER), "the core's register of errors"),  # a command
        (changed(whole, HEADER + 20), "the image did not arrive whole; load it again"),  # a word of a memory
    ):
        image.write_bytes(wrong)
        ran = run_simulation(program, out, "1")
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
        assert f"{core.name}: the memories: {words}" in ran.stderr


@pytest.mark.slow
def test_fusesoc_builds_and_runs_the_simulation(tmp_path):
    core, package = gpt()
    said = run_fusesoc(tmp_path, core.name, written(package, tmp_path / "ip"))
    assert f"{4 * TOKENS} rows, 0 differ" in said


@pytest.mark.parametrize("lanes", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 8])
def test_machines_for_images_and_their_streams_are_free_of_warnings(tmp_path, lanes):
    core, package = vit(lanes)
    rtl = written(package, tmp_path / "ip") / "rtl"
    assert verilator.lint([rtl / name for name in (rtl / "filelist.f").read_text().split()], core.name) == ""


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_images_pass_streams_of_every_width(tmp_path, lanes):
    pytest.importorskip("cocotbext.axi", reason="cocotb and cocotbext-axi are not installed")
    core, package = vit(lanes)
    out = written(package, tmp_path / "ip")
    build_cocotb(tmp_path, core.name, out)
    found = run((tmp_path, core, out), patterns=100)
    assert (found["calls"], found["wrong"]) == (100, [])


@pytest.mark.slow
def test_no_beat_is_lost_or_wrong_under_a_thousand_patterns_of_stalls(simulated):
    found = run(simulated, patterns=1000)
    assert (found["calls"], found["wrong"]) == (1000, [])
    # A call of tokens is at most three beats, which wait in front of the machine: it seldom misses one.
    assert found["stalls"][0] > 0 and found["stalls"][1] > 1000
