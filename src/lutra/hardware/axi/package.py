"""An IP core as a folder: sources, IP-XACT, scripts, drivers, golden vectors; written whole or not at all.

Everything carries the build hash, a digest of everything else in the folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mako.lookup import TemplateLookup

from lutra.errors import InputError, LutraError
from lutra.escape import quoted
from lutra.hardware.axi.core import RowCore
from lutra.hardware.axi.ports import MEMORY_ADDRESS_BITS, Interface, ports_of
from lutra.hardware.axi.registers import ACCESS_IN_WORDS, IDENTITY, RegisterMap, row_registers, signal_of
from lutra.hardware.design import FILE_LIST, Design, library_files
from lutra.names import file_name_of, require_identifier
from lutra.runs.files import PREFIX, cannot_write
from lutra.runs.schemas.package import PackageManifest
from lutra.runs.typed import VERSION
from lutra.version import __version__

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
MANIFEST = "ip.json"
HASH_DIGITS = 16
NO_HASH = "0" * HASH_DIGITS
CLOCK_MHZ = 100
"""Of the Zynq system that the script for Vivado builds."""
VECTORS_MAGIC = b"LUTRAVEC"
VECTORS_HEADER = struct.Struct("<8s16sIIII")
IMAGE_MAGIC = b"LUTRAIMG"
IMAGE_HEADER = struct.Struct("<8s16sI")
"""Magic, build hash, bytes behind it."""
LONGEST_CORE_NAME = 64
PATIENCE_CYCLES = 10_000
"""Beside what the core takes: cycles of a simulation in which nothing happens."""
POLLS = 1_000_000
"""Beside the cycles that a core takes: how often its C driver asks whether it is done."""


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


class Core(Protocol):
    """What becomes an IP core, as far as the files that all cores have need to know it."""

    @property
    def name(self) -> str:
        """Of the core and of its top module."""
        ...

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Its buses beside registers and interrupt."""
        ...

    @property
    def description(self) -> str:
        """What it is, in a line."""
        ...


@dataclass(frozen=True, eq=False)
class GoldenRows:
    """Rows of a block and what the golden model makes of them, (rows, width) each."""

    block: int
    rows: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True)
class Status:
    """What a function of a C driver may answer."""

    name: str
    """Of its constant, without that of the core."""
    what: str
    """In words."""


TRANSFER_FAILED = Status("TRANSFER_FAILED", "the packets could not be moved")
OTHER_IMAGE = Status("OTHER_IMAGE", "an image of another build, or not whole")


@dataclass(frozen=True)
class Simulation:
    """What the simulation of a core needs to know, in which its C driver runs against the RTL."""

    cycles: int
    """That the core takes at most for a packet or a run where nothing stalls."""
    statuses: Sequence[Status]
    """That its driver has beside those of all drivers."""
    vectors: Sequence[str]
    """Files with golden vectors, and"""
    images: Sequence[str] = ()
    """with what its memory holds; names within the package."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What its C++ includes beside that: file name -> text."""


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


def core_name(name: str | None, recipe_name: str) -> str:
    """The name of the core: the user's, or one made of the recipe's."""
    found = name or f"{''.join(c if c.isalnum() else '_' for c in file_name_of(recipe_name, 'model')).lower()}_ip"
    found = found if name or not found[0].isdigit() else f"m{found}"
    require_identifier(found, "the core's name (--name)")
    if len(found) > LONGEST_CORE_NAME:
        raise InputError(
            f"the core's name has {len(found)} characters, at most {LONGEST_CORE_NAME}; give one with --name"
        )
    if found.startswith("lutra_"):
        raise InputError(f"--name {found}: modules of Lutra's library begin with lutra_; take another name")
    return found


def axi_files(core: RowCore, registers: RegisterMap) -> dict[str, str]:
    """The modules between the blocks and AXI, the outermost last: file name -> text."""
    templates = {"registers": "registers.sv", "blocks": "blocks.sv", "axi": "wrapper.sv"}
    return {f"{core.name}_{part}.sv": render(template, core, registers) for part, template in templates.items()}


def build_package(core: RowCore, vectors: Sequence[GoldenRows], about: Mapping[str, Any]) -> Package:
    """The package of blocks that share their streams.

    `about` holds what its pages say beside that (`frozen_hash`, `dataflow`, `fold_factor`, `simulated`), and
    `libraries`, the folders of the modules that the blocks need.
    """
    titles = [member.title for member in core.members]
    return sealed(core, titles, about["frozen_hash"], lambda build_hash: _files(core, vectors, about, build_hash))


def sealed(core: Core, blocks: Sequence[str], frozen_hash: str, files_of: Callable[[str], dict[str, bytes]]) -> Package:
    """The package whose files `files_of` makes for a build hash; that hash is a digest of all of them."""
    build_hash = _digest(files_of(NO_HASH))[:HASH_DIGITS]
    files = files_of(build_hash)
    manifest = {
        "name": core.name,
        "build_hash": build_hash,
        "frozen_hash": frozen_hash,
        "lutra": __version__,
        "blocks": list(blocks),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    PackageManifest.model_validate(manifest)
    text = json.dumps({VERSION: 1, **manifest}, indent=1) + "\n"
    return Package({**files, MANIFEST: text.encode()}, build_hash)


def shown_of(
    core: Core,
    registers: RegisterMap,
    build_hash: str,
    design: Design,
    simulation: Simulation,
    data: Sequence[str] = (),
) -> dict[str, Any]:
    """What the templates of every core are given: its files in order, its ports, who made it; `data` are files that
    the modules read."""
    rtl = [name for name in design.files if name != FILE_LIST]
    return {
        "build_hash": build_hash,
        "version": __version__,
        "vlnv": Vendor(core.name),
        "sources": [*(name for name in rtl if name not in data), f"{core.name}.v"],
        "data": list(data),
        "simulation": simulation,
        "patience_cycles": PATIENCE_CYCLES + 8 * simulation.cycles,
        "polls": POLLS + simulation.cycles,
        "statuses": _statuses(build_hash, simulation.statuses),
        "image_magic": IMAGE_MAGIC.decode(),
        "image_header": IMAGE_HEADER.size,
        "clock_mhz": CLOCK_MHZ,
        "identity": IDENTITY,
        "access_in_words": ACCESS_IN_WORDS,
        "ports": ports_of(core.interfaces, registers),
        "memory_address_bits": MEMORY_ADDRESS_BITS,
    }


def _statuses(build_hash: str, own: Sequence[Status]) -> list[Status]:
    """Of a C driver, the good one first."""
    other = f"the hardware is of another build than this driver, {build_hash}; take the driver that came with it"
    return [
        Status("OK", "it went well"),
        Status("NOT_THERE", "no accelerator of Lutra at this address"),
        Status("OTHER_MAP", "the hardware's register map has another version than this driver's"),
        Status("OTHER_BUILD", other),
        *own,
        Status("NOT_DONE", "not done though everything was sent and asked for; reset it"),
        Status("HARDWARE_ERROR", "the core's register of errors, or of rows, says what went wrong; a reset clears it"),
    ]


def common_files(
    core: Core, registers: RegisterMap, design: Design, shown: Mapping[str, Any], folder: Path = HERE
) -> dict[str, str]:
    """The files that every core has: sources with the top module, IP-XACT, scripts, drivers, a simulation, its page,
    licence. Templates in `folder` come before those of all cores."""
    name, simulation = core.name, shown["simulation"]

    def made(template: str) -> str:
        return render(template, core, registers, folder, **shown)

    return {
        **{f"rtl/{each}": text for each, text in design.files.items() if each != FILE_LIST},
        f"rtl/{name}.v": made("top.v"),
        f"rtl/{FILE_LIST}": "".join(f"{each}\n" for each in shown["sources"]),
        "component.xml": made("component.xml"),
        f"{name}.core": made("core"),
        "vivado/block_design.tcl": made("block_design.tcl"),
        f"driver/python/{name}.py": made("driver.py"),
        f"driver/c/{name}.h": made("driver.h"),
        f"driver/c/{name}.c": made("driver.c"),
        "sim/simulate.cpp": made("simulate.cpp"),
        **{f"sim/{each}": text for each, text in simulation.headers.items()},
        "README.md": made("readme.md"),
        "LICENSE": (HERE / "LICENSE.txt").read_text(encoding="utf-8"),
    }


def _files(core: RowCore, vectors: Sequence[GoldenRows], about: Mapping[str, Any], build_hash: str) -> dict[str, bytes]:
    registers = row_registers(build_hash, len(core.members))
    generated = {name: text for member in core.members for name, text in member.files.items()}
    design = Design.complete({**generated, **axi_files(core, registers)}, library_files(*about["libraries"]))
    packed = {f"vectors/{core.name}_block_{each.block}.bin": _packed(core, each, build_hash) for each in vectors}
    simulation = Simulation(
        cycles=max(member.latency_cycles for member in core.members),
        statuses=(Status("NO_SUCH_BLOCK", "there is no such block"), TRANSFER_FAILED),
        vectors=list(packed),
    )
    shown = {**about, **shown_of(core, registers, build_hash, design, simulation)}
    texts = common_files(core, registers, design, shown)
    return {**{name: text.encode() for name, text in texts.items()}, **packed}


def _packed(core: RowCore, golden: GoldenRows, build_hash: str) -> bytes:
    """A file of vectors of a block."""
    x, y = core.input, core.output
    return vectors_file(
        build_hash, golden.block, golden.rows.astype(f"<{x.dtype}"), golden.outputs.astype(f"<{y.dtype}")
    )


def vectors_file(build_hash: str, number: int, rows: np.ndarray, outputs: np.ndarray) -> bytes:
    """Rows (N, width) and golden outputs (N, width), of little-endian types as they lie in memory, behind a header."""
    numbers = number, len(rows), rows.shape[1] * rows.itemsize, outputs.shape[1] * outputs.itemsize
    return VECTORS_HEADER.pack(VECTORS_MAGIC, build_hash.encode(), *numbers) + rows.tobytes() + outputs.tobytes()


def image_file(build_hash: str, content: bytes) -> bytes:
    """What a core's memory holds, behind a header."""
    return IMAGE_HEADER.pack(IMAGE_MAGIC, build_hash.encode(), len(content)) + content


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
def _templates(folder: Path) -> TemplateLookup:
    imports = ["from lutra.escape import comment"]
    return TemplateLookup([str(folder), str(HERE), str(DRIVERS)], strict_undefined=True, imports=imports)


def render(template: str, core: Core, registers: RegisterMap, folder: Path = HERE, **more: Any) -> str:
    """One of the templates in a folder, beside this file, or of the drivers, for a core and its registers."""
    helpers: dict[str, Any] = {"signal_of": signal_of, "quoted": quoted}
    found = _templates(folder).get_template(f"{template}.mako")
    return str(found.render(core=core, name=core.name, map=registers, **helpers, **more))
