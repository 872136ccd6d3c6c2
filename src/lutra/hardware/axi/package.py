"""An IP core as a folder: sources, IP-XACT, scripts, drivers, golden vectors; written whole or not at all.

Everything carries the build hash, a digest of everything else in the folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mako.template import Template

from lutra.errors import InputError, LutraError
from lutra.escape import quoted
from lutra.hardware.axi.core import RowCore, ports_of
from lutra.hardware.axi.registers import ACCESS_IN_WORDS, IDENTITY, MAP_VERSION, RegisterMap, row_registers, signal_of
from lutra.hardware.axi.streams import RowStream
from lutra.hardware.design import FILE_LIST, Design, library_files
from lutra.runs.files import PREFIX, cannot_write
from lutra.runs.schemas.package import PackageManifest
from lutra.runs.typed import VERSION
from lutra.version import __version__

HERE = Path(__file__).parent
MANIFEST = "ip.json"
HASH_DIGITS = 16
NO_HASH = "0" * HASH_DIGITS
CLOCK_MHZ = 100
"""Of the Zynq system that the script for Vivado builds."""
VECTORS_MAGIC = b"LUTRAVEC"
VECTORS_HEADER = struct.Struct("<8s16sIIII")
PATIENCE_CYCLES = 10_000
"""Beside what a block takes for a row: cycles of a simulation in which nothing happens."""


@dataclass(frozen=True)
class Vendor:
    """Vendor, library, name and version of the core, as IP-XACT and FuseSoC want it."""

    name: str
    vendor: str = "lutra"
    library: str = "ip"
    version: str = "1.0"

    def __str__(self) -> str:
        return f"{self.vendor}:{self.library}:{self.name}:{self.version}"

    @property
    def fusesoc(self) -> str:
        """The same with a version that FuseSoC takes."""
        return f"{self}.0"


@dataclass(frozen=True, eq=False)
class GoldenRows:
    """Rows of a block and what the golden model makes of them, (rows, width) each."""

    block: int
    rows: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True)
class Package:
    """The files of an IP core: path within its folder -> content."""

    files: Mapping[str, bytes]
    build_hash: str
    manifest: str = MANIFEST
    """The file that tells such a folder from others."""

    def write(self, out: Path) -> list[Path]:
        """Write the folder `out`, replacing an earlier package there, whole or not at all; the paths.

        Raises:
            InputError: `out` holds something other than a package.
        """
        if out.exists() and not (out / self.manifest).is_file() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out}: holds something other than Lutra wrote there before; choose an empty folder")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{out.name}.", dir=out.parent))
            try:
                for name, content in self.files.items():
                    path = staging / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                staging.chmod(0o755)
                old = staging.with_name(f"{staging.name}.old")
                if out.exists():
                    out.rename(old)
                staging.rename(out)
                shutil.rmtree(old, ignore_errors=True)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        except OSError as error:
            raise LutraError(cannot_write(out, error)) from error
        return [out / name for name in self.files]


def axi_files(core: RowCore, registers: RegisterMap) -> dict[str, str]:
    """The modules between the blocks and AXI, the outermost last: file name -> text."""
    templates = {"registers": "registers.sv", "blocks": "blocks.sv", "axi": "wrapper.sv"}
    return {f"{core.name}_{part}.sv": render(template, core, registers) for part, template in templates.items()}


def build_package(core: RowCore, vectors: Sequence[GoldenRows], about: Mapping[str, Any]) -> Package:
    """The package of a core.

    `about` holds what its pages say beside that (`frozen_hash`, `dataflow`, `fold_factor`, `simulated`), and
    `libraries`, the folders of the modules that the blocks need.
    """
    build_hash = _digest(_files(core, vectors, about, NO_HASH))[:HASH_DIGITS]
    files = _files(core, vectors, about, build_hash)
    manifest = {
        "name": core.name,
        "build_hash": build_hash,
        "frozen_hash": about["frozen_hash"],
        "lutra": __version__,
        "blocks": [member.title for member in core.members],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    PackageManifest.model_validate(manifest)
    text = json.dumps({VERSION: 1, **manifest}, indent=1) + "\n"
    return Package({**files, MANIFEST: text.encode()}, build_hash)


def _files(core: RowCore, vectors: Sequence[GoldenRows], about: Mapping[str, Any], build_hash: str) -> dict[str, bytes]:
    registers = row_registers(build_hash, len(core.members))
    generated = {name: text for member in core.members for name, text in member.files.items()}
    design = Design.complete({**generated, **axi_files(core, registers)}, library_files(*about["libraries"]))
    top = f"{core.name}.v"
    rtl = {name: text for name, text in design.files.items() if name != FILE_LIST}
    packed = {f"vectors/{core.name}_block_{each.block}.bin": _packed(core, each, build_hash) for each in vectors}
    shown = {
        **about,
        "build_hash": build_hash,
        "version": __version__,
        "vlnv": Vendor(core.name),
        "sources": [*rtl, top],
        "vectors": list(packed),
        "clock_mhz": CLOCK_MHZ,
        "identity": IDENTITY,
        "map_version": MAP_VERSION,
        "access_in_words": ACCESS_IN_WORDS,
        "ports": ports_of(core, registers),
        "patience_cycles": PATIENCE_CYCLES + 8 * max(member.latency_cycles for member in core.members),
    }
    texts = {f"rtl/{name}": text for name, text in rtl.items()}
    texts |= {
        f"rtl/{top}": render("top.v", core, registers, **shown),
        f"rtl/{FILE_LIST}": "".join(f"{name}\n" for name in [*rtl, top]),
        "component.xml": render("component.xml", core, registers, **shown),
        f"{core.name}.core": render("core", core, registers, **shown),
        "vivado/block_design.tcl": render("block_design.tcl", core, registers, **shown),
        f"driver/python/{core.name}.py": render("driver.py", core, registers, **shown),
        f"driver/c/{core.name}.h": render("driver.h", core, registers, **shown),
        f"driver/c/{core.name}.c": render("driver.c", core, registers, **shown),
        "sim/simulate.cpp": render("simulate.cpp", core, registers, **shown),
        "README.md": render("readme.md", core, registers, **shown),
        "LICENSE": (HERE / "LICENSE.txt").read_text(encoding="utf-8"),
    }
    return {**{name: text.encode() for name, text in texts.items()}, **packed}


def _packed(core: RowCore, golden: GoldenRows, build_hash: str) -> bytes:
    """A file of vectors: header, rows, golden outputs."""
    x, y = core.input, core.output
    numbers = golden.block, len(golden.rows), x.row_bytes, y.row_bytes
    header = VECTORS_HEADER.pack(VECTORS_MAGIC, build_hash.encode(), *numbers)
    return header + _in_memory(golden.rows, x) + _in_memory(golden.outputs, y)


def _in_memory(rows: np.ndarray, stream: RowStream) -> bytes:
    return rows.astype(f"<{stream.dtype}").tobytes()


def digest_without_hash(files: Mapping[str, bytes], build_hash: str) -> str:
    """The build hash that the files of a package should carry, with zeros in the place of the one that they do."""
    high, low = build_hash[:8].encode(), build_hash[8:].encode()
    zeros = b"0" * 8
    plain = {
        name: content.replace(build_hash.encode(), NO_HASH.encode()).replace(high, zeros).replace(low, zeros)
        for name, content in files.items()
    }
    return _digest(plain)[:HASH_DIGITS]


def _digest(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def _template(name: str) -> Template:
    imports = ["from lutra.escape import comment"]
    return Template(filename=str(HERE / f"{name}.mako"), strict_undefined=True, imports=imports)


def render(template: str, core: RowCore, registers: RegisterMap, **more: Any) -> str:
    """One of the templates beside this file, for a core and its registers."""
    helpers: dict[str, Any] = {"signal_of": signal_of, "quoted": quoted}
    return str(_template(template).render(core=core, name=core.name, map=registers, **helpers, **more))
