"""BAT as an IP core, driven by models of AXI that are not ours, through its own driver."""

from __future__ import annotations

import re

import numpy as np
import pytest
from safetensors.numpy import save_file

import bat_models
from frozen_berts import small_config
from ip_bench import (
    build_cocotb,
    build_simulation,
    compile_strictly,
    ip_xact_problems,
    run_cocotb,
    run_fusesoc,
    run_simulation,
)
from lutra.accelerators.bat import compiler
from lutra.accelerators.bat.config import ModuleConfig, config_for
from lutra.accelerators.bat.ip.core import BatCore
from lutra.accelerators.bat.ip.package import bat_package, package_run
from lutra.errors import InputError
from lutra.hardware.bench import verilator
from lutra.recipes.bert import BertRecipe
from lutra.recipes.sections import validate
from lutra.report.trust.verify import verify
from lutra.runs.files import RunFiles
from vivado import calls_of

MODEL = small_config(
    layers=1, heads=2, head_width=8, width=20, intermediate=24, positions=4,
    quantisation={"method": "bmt", "activation_bits": 4},
)  # fmt: skip
MODULES = (
    ModuleConfig(p_dpu=2, p_quan=4, p_vu=2, p_ln=2, p_pe=16, p_softmax=2),
    ModuleConfig(p_dpu=2, p_quan=2, p_vu=2, p_ln=2, p_pe=16),
)
LENGTHS = [4, 1, 3]


@pytest.fixture(autouse=True)
def quiet():
    """Small models quantise with steps that send some numbers to infinity, which is clipped."""
    with np.errstate(over="ignore"):
        yield


def bat(modules, seed=3):
    model = bat_models.frozen(MODEL, seed)
    core = BatCore("bat_ip", compiler.compile_model(model, config_for(MODEL, modules)))
    return core, bat_package(core, model, bat_models.embedded(model, LENGTHS, seed), "f" * 64)


def written(package, folder):
    package.write(folder)
    return folder


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A small BERT on two modules in a simulation for cocotb: its folder, core and package."""
    pytest.importorskip("cocotbext.axi", reason="cocotb and cocotbext-axi are not installed")
    folder = tmp_path_factory.mktemp("bat")
    core, package = bat(MODULES)
    out = written(package, folder / "ip")
    build_cocotb(folder, core.name, out)
    return folder, core, out


def run(simulated, **plan):
    folder, core, out = simulated
    return run_cocotb(folder, core.name, out, "bat_cocotb", **plan, images=str(out / "image"))


@pytest.mark.slow
def test_no_number_is_lost_or_wrong_under_random_stalls_of_memory(simulated):
    found = run(simulated, patterns=2)
    assert (found["runs"], found["wrong"]) == (2, [])
    assert len(set(found["cycles"])) == 2


@pytest.mark.slow
def test_the_packaged_driver_runs_on_pynq_and_refuses_another_build(simulated, tmp_path):
    _, core, out = simulated
    other = written(bat(MODULES, seed=4)[1], tmp_path / "ip")
    found = run(
        simulated,
        pynq=True,
        vectors_folder=str(out / "vectors"),
        other_driver=str(other / f"driver/python/{core.name}.py"),
        other_vectors=str(other / "vectors"),
        other_images=str(other / "image"),
    )
    assert found["compared"] == sum(LENGTHS)
    # Attention and feed-forward blocks write a row each, in every layer; the last group was a sentence alone.
    assert found["counters"]["rows"] == 2 * MODEL.layers * LENGTHS[-1]
    assert found["kept"] == 4
    assert found["interrupt"] == [1, 0]
    assert (found["twice"], found["cleared"]) == (1, 0)
    assert "the hardware is of build" in found["other build"] and "\n" not in found["other build"]
    assert "vectors of build" in found["other vectors"]
    assert "an image of build" in found["other image"]
    assert "left the range of binary16" in found["out of range"]
    assert "a sentence must be float16 of shape (1 to 4, 20)" in found["too long"]


def test_files_of_a_package_name_every_port_and_vivado_joins_every_master_to_memory(tmp_path):
    core, package = bat(MODULES)
    out = written(package, tmp_path / "ip")
    text = (out / "component.xml").read_text()
    assert ip_xact_problems(text) == ""
    files = re.findall(r"<spirit:name>(rtl/[^<]+)</spirit:name>", text)
    assert {out / name for name in files} == {each for each in (out / "rtl").iterdir() if each.name != "filelist.f"}
    calls = calls_of(out / "vivado/block_design.tcl")
    joined = {call[-1]: call for call in calls if call[0] == "apply_bd_automation" and "Slave" in " ".join(call)}
    masters = {f"bat_ip_0/{each.name}" for each in core.interfaces}
    assert len(masters) == 4 and masters - joined.keys() == {"bat_ip_0/m_axi_load_0"}
    assert "/bat_ip_0/m_axi_load_0" in " ".join(joined["processor/S_AXI_HP0"])
    assert not any("dma" in " ".join(call) for call in calls)
    compile_strictly(tmp_path, core.name, out)


@pytest.mark.slow
@pytest.mark.parametrize("modules", [MODULES[:1], MODULES], ids=["one module", "two modules"])
def test_the_c_driver_runs_against_the_rtl_and_refuses_another_image(tmp_path, modules):
    core, package = bat(modules)
    out = written(package, tmp_path / "ip")
    compile_strictly(tmp_path, core.name, out)
    program = build_simulation(tmp_path / "right", core.name, out)
    ran = run_simulation(program, out, "20")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith(f"{20 * len(modules) * sum(LENGTHS)} rows, 0 differ\n")

    for name, word in ((f"image/{core.name}_weights.bin", "the memories: "), (f"image/{core.name}_programs.bin", "")):
        image = out / name
        whole = image.read_bytes()
        image.write_bytes(whole.replace(package.build_hash.encode(), b"0" * 16))
        ran = run_simulation(program, out, "1")
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
        assert f"{word}an image of another build, or not whole" in ran.stderr
        image.write_bytes(whole)


@pytest.mark.slow
def test_fusesoc_builds_and_runs_the_simulation(tmp_path):
    core, package = bat(MODULES)
    said = run_fusesoc(tmp_path, core.name, written(package, tmp_path / "ip"))
    assert f"{4 * 2 * sum(LENGTHS)} rows, 0 differ" in said


@pytest.mark.parametrize("modules", [pytest.param(MODULES[:1], marks=pytest.mark.slow), MODULES], ids=["one", "two"])
def test_the_rtl_is_free_of_warnings(tmp_path, modules):
    core, package = bat(modules)
    rtl = written(package, tmp_path / "ip") / "rtl"
    assert verilator.lint([rtl / name for name in (rtl / "filelist.f").read_text().split()], core.name) == ""


def test_a_method_of_a_run_becomes_a_package_that_holds_together(tmp_path):
    files = RunFiles(tmp_path / "run")
    bat_models.frozen(MODEL, 3).save(files.frozen / "bmt-w1a4")
    bat_models.frozen(MODEL.model_copy(update={"activation": "gelu"}), 3).save(files.frozen / "bit-w1a4")
    shape = {"tokens": (2, 4), "token_types": (2, 4), "lengths": (2,)}
    save_file(
        {name: np.ones(each, np.int32) * (3 if name == "lengths" else 1) for name, each in shape.items()}, files.samples
    )
    accelerator = {"modules": 1, "attention": vars(MODULES[0]), "device": "none"}
    tree = {
        "kind": "bert",
        "name": "small",
        "task": "MRPC",
        "checkpoint": "x",
        "max_length": 8,
        "accelerator": accelerator,
    }
    recipe = validate(BertRecipe, {**tree, "methods": ["bmt-w1a4", "bit-w1a4"]}, "test")
    result = package_run(files, recipe, tmp_path / "ip")
    assert (result["name"], result["machine"], result["rows"]) == ("small_ip", "BAT for bmt-w1a4", 4)
    findings = {each.subject: each.verdict for each in verify(tmp_path / "ip")}
    assert [findings[name] for name in ("ip.json", "files", "build hash", "rtl")] == ["holds"] * 4
    assert package_run(files, recipe, tmp_path / "again", method="bmt-w1a4")["build_hash"] == result["build_hash"]
    with pytest.raises(InputError, match="--method elsewhere: unknown; there are bmt-w1a4"):
        package_run(files, recipe, tmp_path / "no", method="elsewhere")
    with pytest.raises(InputError, match="--method bit-w1a4: BAT: activation gelu"):
        package_run(files, recipe, tmp_path / "no", method="bit-w1a4")
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
@pytest.mark.parametrize("modules", [MODULES[:1], MODULES], ids=["one module", "two modules"])
def test_no_number_is_lost_or_wrong_under_hundreds_of_patterns_of_stalls(tmp_path, modules):
    pytest.importorskip("cocotbext.axi", reason="cocotb and cocotbext-axi are not installed")
    core, package = bat(modules)
    out = written(package, tmp_path / "ip")
    build_cocotb(tmp_path, core.name, out)
    found = run((tmp_path, core, out), patterns=300)
    assert (found["runs"], found["wrong"]) == (300, [])
