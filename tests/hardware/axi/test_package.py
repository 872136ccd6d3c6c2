"""The folder of an IP core: complete, consistent, refused when it is not, and what the tools want it to be."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from frozen_blocks import random_rows
from ip_bench import Case, random_package
from lutra.accelerators.block.package import package_run, row_core
from lutra.cli.commands import app
from lutra.errors import InputError, LutraError
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel
from lutra.frozen.random_block import random_block
from lutra.hardware.axi.package import MANIFEST
from lutra.hardware.axi.registers import row_registers
from lutra.hardware.axi.streams import bus_bits_for
from lutra.hardware.bench import verilator
from lutra.hardware.design import LIBRARY
from lutra.recipes.language import Recipe
from lutra.report.trust.verify import verify
from lutra.runs.files import RunFiles
from vivado import calls_of

ROOT = Path(__file__).parents[3]
CASES = [
    Case("odd_ip", 13, 7, 5, "accumulate", output_bits=12),
    Case("wide_ip", 16, 24, "all", "tree", blocks=2, output_bits=32),
    Case("byte_ip", 9, 5, 2, "tree", blocks=3, bus_bits=(8, 8)),
]
SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"


@pytest.fixture
def run(tmp_path):
    """A run with two frozen blocks and their rows, as freezing leaves it, and its recipe."""
    files, rng = RunFiles(tmp_path / "run"), np.random.default_rng(11)
    graphs = tuple(random_block(rng, luts=(14, 10), inputs=(4, 3), name=f"h.{index}.mlp") for index in range(2))
    store.save(FrozenModel(graphs), files.frozen)
    save_file({graph.name: random_rows(rng, graph, 70).astype(np.int8) for graph in graphs}, files.samples)
    return files, Recipe(name="small-model", hardware={"fold_factors": (3, "all"), "synthesise_fold_factors": (3,)})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_rtl_is_free_of_warnings(tmp_path, case):
    core, package = random_package(case)
    package.write(tmp_path / "ip")
    rtl = tmp_path / "ip" / "rtl"
    assert verilator.lint([rtl / name for name in (rtl / "filelist.f").read_text().split()], core.name) == ""


def test_a_run_becomes_a_package_that_holds_together(run, tmp_path):
    files, recipe = run
    result = package_run(files, recipe, tmp_path / "ip")
    assert (result["name"], result["fold_factor"]) == ("small_model_ip", 3)
    assert result["blocks"] == ["h.0.mlp", "h.1.mlp"]
    manifest = json.loads((tmp_path / "ip" / MANIFEST).read_text())
    assert manifest["build_hash"] == result["build_hash"]
    there = {path.relative_to(tmp_path / "ip").as_posix() for path in (tmp_path / "ip").rglob("*") if path.is_file()}
    assert there == {*manifest["files"], MANIFEST}
    findings = {each.subject: each.verdict for each in verify(tmp_path / "ip")}
    assert [findings[name] for name in (MANIFEST, "files", "build hash", "rtl")] == ["holds"] * 4
    again = package_run(files, recipe, tmp_path / "again")
    assert again["build_hash"] == result["build_hash"]
    readme = (tmp_path / "ip" / "README.md").read_text()
    assert "this run did not simulate them" in readme and "LUTs and flip-flops were not counted" in readme


def test_every_change_of_a_package_is_found(run, tmp_path):
    files, recipe = run
    package_run(files, recipe, tmp_path / "ip")
    manifest = json.loads((tmp_path / "ip" / MANIFEST).read_text())
    for name in manifest["files"]:
        path = tmp_path / "ip" / name
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        found = {each.subject: each for each in verify(tmp_path / "ip")}
        assert found["files"].verdict == "FAILS" and name in found["files"].what
        assert found["build hash"].verdict == "FAILS"
        path.write_bytes(before)
    (tmp_path / "ip" / "rtl" / "more.sv").write_text("module more; endmodule\n")
    assert {each.subject: each.verdict for each in verify(tmp_path / "ip")}["files"] == "FAILS"


def test_every_build_has_its_own_hash(run, tmp_path):
    files, recipe = run
    hashes = {
        package_run(files, recipe, tmp_path / "a")["build_hash"],
        package_run(files, recipe, tmp_path / "b", fold_factor="all")["build_hash"],
        package_run(files, recipe, tmp_path / "c", name="other")["build_hash"],
        package_run(files, recipe, tmp_path / "d", blocks=[1])["build_hash"],
        package_run(files, recipe, tmp_path / "e", blocks=[1, 0])["build_hash"],
    }
    assert len(hashes) == 5


def test_what_cannot_be_packaged_is_refused_in_one_line(run, tmp_path):
    files, recipe = run
    for wrong, words in (
        ({"blocks": [2]}, "--block 2: the frozen model has 2 blocks"),
        ({"name": "a b"}, "letters, digits and _ only"),
        ({"name": "lutra_x"}, "begin with lutra_"),
        ({"name": "x" * 65}, "65 characters"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            package_run(files, recipe, tmp_path / "ip", **wrong)
    assert not (tmp_path / "ip").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="something other than Lutra wrote"):
        package_run(files, recipe, tmp_path / "mine")
    rng = np.random.default_rng(0)
    graphs = [random_block(rng, width=width, name=f"b{width}") for width in (8, 12)]
    with pytest.raises(InputError, match="b12 and b8 have rows of different shapes"):
        row_core(graphs, "mixed", 1)
    files.samples.unlink()
    with pytest.raises(LutraError, match="samples"):
        package_run(files, recipe, tmp_path / "ip")


def test_a_package_is_written_whole_or_not_at_all(run, tmp_path, monkeypatch):
    files, recipe = run
    first = package_run(files, recipe, tmp_path / "ip")
    written = 0
    whole = Path.write_bytes

    def full(path, content):
        nonlocal written
        written += 1
        if written == 9:
            raise OSError(28, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LutraError, match="free some space"):
        package_run(files, recipe, tmp_path / "ip", fold_factor="all")
    monkeypatch.undo()
    assert json.loads((tmp_path / "ip" / MANIFEST).read_text())["build_hash"] == first["build_hash"]
    assert {path.name for path in tmp_path.iterdir()} == {"run", "ip"}


def test_vectors_are_what_the_golden_model_gives(run, tmp_path):
    files, recipe = run
    package_run(files, recipe, tmp_path / "ip")
    for index, graph in enumerate(store.load(files.frozen).graphs):
        content = (tmp_path / "ip" / f"vectors/small_model_ip_block_{index}.bin").read_bytes()
        count = int.from_bytes(content[28:32], "little")
        rows = np.frombuffer(content[40 : 40 + count * 12], np.int8).reshape(count, 12)
        outputs = np.frombuffer(content[40 + count * 12 :], "<i2").reshape(count, 12)
        assert count == 64
        assert (outputs == golden.run(graph, rows.astype(np.int64))).all()


def test_the_register_map_has_no_overlaps_and_one_meaning_everywhere(tmp_path):
    core, package = random_package(CASES[0])
    registers = row_registers(package.build_hash, 1)
    for _, register in registers:
        masks = [field.mask for field in register.fields]
        assert sum(masks) == np.bitwise_or.reduce(masks) < 1 << 32
    package.write(tmp_path / "ip")
    header = (tmp_path / "ip" / f"driver/c/{core.name}.h").read_text()
    described = ElementTree.parse(tmp_path / "ip" / "component.xml").getroot()
    offsets = {
        each.find(f"{SPIRIT}name").text: int(each.find(f"{SPIRIT}addressOffset").text, 0)
        for each in described.iter(f"{SPIRIT}register")
    }
    assert offsets == {register.name: offset for offset, register in registers}
    for name, offset in offsets.items():
        assert re.search(rf"^#define ODD_IP_{name.upper()} 0x{offset:02x}u", header, re.MULTILINE)


def test_ip_xact_names_every_file_and_every_port(tmp_path):
    core, package = random_package(CASES[1])
    package.write(tmp_path / "ip")
    root = ElementTree.parse(tmp_path / "ip" / "component.xml").getroot()
    files = [each.text for each in root.findall(f".//{SPIRIT}file/{SPIRIT}name")]
    assert all((tmp_path / "ip" / name).is_file() for name in files)
    assert files == [f"rtl/{name}" for name in (tmp_path / "ip/rtl/filelist.f").read_text().split()]
    top = (tmp_path / "ip" / f"rtl/{core.name}.v").read_text()
    header = top[top.index("module ") : top.index(");\n")]
    declared = {
        name: (direction, int(left or 0))
        for direction, left, name in re.findall(r"^  (input|output) +wire (?:\[(\d+):0\] )?(\w+)", header, re.MULTILINE)
    }
    described = {
        port.find(f"{SPIRIT}name").text: (
            {"in": "input", "out": "output"}[port.find(f".//{SPIRIT}direction").text],
            int(left.text) if (left := port.find(f".//{SPIRIT}left")) is not None else 0,
        )
        for port in root.iter(f"{SPIRIT}port")
    }
    assert described == declared
    mapped = [each.text for each in root.findall(f".//{SPIRIT}physicalPort/{SPIRIT}name")]
    assert sorted(mapped) == sorted(described)


def test_buses_are_as_narrow_as_the_blocks_allow():
    assert [bus_bits_for(192, cycles) for cycles in (192, 48, 47, 24, 8, 1)] == [32, 32, 64, 64, 256, 1024]


@pytest.mark.parametrize("part", ["", "xczu3eg-sbva484-1-e"])
def test_the_script_for_vivado_builds_one_connected_system(tmp_path, part):
    core, package = random_package(CASES[1])
    package.write(tmp_path / "ip")
    calls = calls_of(tmp_path / "ip/vivado/block_design.tcl", part)
    cells = {call[-1]: call for call in calls if call[0] == "create_bd_cell"}
    assert set(cells) == {"processor", "wide_ip_0", "axi_dma_0", "interrupts"}
    assert "lutra:ip:wide_ip:1.0" in cells["wide_ip_0"]
    assert ("zynq_ultra" in " ".join(cells["processor"])) == bool(part)
    streams = {call[1:] for call in calls if call[0] == "connect_bd_intf_net"}
    assert streams == {("axi_dma_0/M_AXIS_MM2S", "wide_ip_0/s_axis"), ("wide_ip_0/m_axis", "axi_dma_0/S_AXIS_S2MM")}
    (engine,) = (call for call in calls if call[0] == "set_property" and call[-1] == "axi_dma_0")
    settings = engine[2].split()
    wanted = dict(zip(settings[::2], settings[1::2], strict=True))
    assert int(wanted["CONFIG.c_m_axis_mm2s_tdata_width"]) == core.input.bus_bits
    assert int(wanted["CONFIG.c_s_axis_s2mm_tdata_width"]) == core.output.bus_bits


def test_the_licence_and_the_library_come_as_they_are(tmp_path):
    _, package = random_package(CASES[0])
    package.write(tmp_path / "ip")
    assert (tmp_path / "ip/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    for path in (tmp_path / "ip/rtl").glob("lutra_*.sv"):
        if (LIBRARY / path.name).exists():
            assert path.read_bytes() == (LIBRARY / path.name).read_bytes()


def test_the_commands_say_what_they_wrote_or_why_not(run, tmp_path):
    files, _ = run
    out, runner = tmp_path / "ip", CliRunner()
    done = runner.invoke(app, ["package", str(files.root), "--out", str(out), "--fold", "3", "--block", "1"])
    build = json.loads((out / MANIFEST).read_text())["build_hash"]
    assert done.exit_code == 0
    assert f"run_ip, build {build}, 1 block, 4 cycles per row, streams of 32 and 64 bits" in " ".join(
        done.stdout.split()
    )
    asked = runner.invoke(app, ["package", str(files.root), "--out", str(out), "--json"])
    assert json.loads(asked.stdout)["blocks"] == ["h.0.mlp", "h.1.mlp"]
    for wrong in (
        ["package", str(files.root), "--out", str(out), "--fold", "0"],
        ["package", str(files.root), "--out", str(files.root)],
        ["package", str(files.root), "--out", str(out), "--machine"],
        ["package", str(files.root), "--out", str(out), "--method", "bmt-w1a4"],
        ["bitstream", str(files.root), "--board", "elsewhere"],
    ):
        refused = runner.invoke(app, wrong)
        assert refused.exit_code == 2 and refused.stdout == ""
