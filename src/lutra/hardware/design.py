"""A design as a value: SystemVerilog files, rendered once, with what describes them; written whole or not at all."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from lutra.errors import InputError, LutraError
from lutra.reading import note_written
from lutra.runs.files import PREFIX, cannot_write
from lutra.runs.schemas.rtl import Manifest
from lutra.runs.typed import read_record, write_record

LIBRARY = Path(__file__).parent / "lib"
FILE_LIST = "filelist.f"
MANIFEST = "rtl.json"
INSTANCE = re.compile(r"\b(lutra_\w+) (?:#\(|u_)")
"""The module of an instance, as our SystemVerilog writes them."""


@dataclass(frozen=True)
class Design:
    """SystemVerilog files in compilation order, the file list last.

    `manifest` says what the files hold; it is written beside them with the design's hash.
    """

    files: Mapping[str, str]
    """File name -> text."""
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def complete(
        cls, generated: Mapping[str, str], library: Mapping[str, str], manifest: Mapping[str, Any] | None = None
    ) -> Design:
        """Generated modules with the modules of `library` that they need before them."""
        waiting = list(generated.values())
        needed: set[str] = set()
        while waiting:
            instantiated = {f"{name}.sv" for name in INSTANCE.findall(waiting.pop())}
            new = (instantiated & library.keys()) - needed
            needed |= new
            waiting += (library[file] for file in new)
        files = {**{file: library[file] for file in sorted(needed)}, **generated}
        return cls({**files, FILE_LIST: "".join(f"{name}\n" for name in files)}, manifest or {})

    @property
    def sources(self) -> list[str]:
        """The SystemVerilog files in compilation order."""
        return [name for name in self.files if name.endswith(".sv")]

    @cached_property
    def content_hash(self) -> str:
        """Digest of the text: changes with the model, the configuration and the templates."""
        digest = hashlib.sha256()
        for name, text in sorted(self.files.items()):
            digest.update(f"{name} {len(text)}\n{text}".encode())
        return digest.hexdigest()

    def is_current(self, folder: Path) -> bool:
        """Whether `folder` was written from exactly this design. Later edits of its files do not count."""
        manifest = folder / MANIFEST
        return manifest.is_file() and bool(read_record(manifest, Manifest, "rtl")["design_hash"] == self.content_hash)

    def write(self, out: Path) -> list[Path]:
        """Write the files and `rtl.json` into the folder `out`, which they replace, whole or not at all; the paths.

        Raises:
            InputError: `out` holds something other than generated RTL.
        """
        if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out}: holds something other than generated RTL; choose an empty folder")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{out.name}.", dir=out.parent))
            try:
                for name, text in self.files.items():
                    (staging / name).write_text(text, encoding="utf-8")
                write_record(staging / MANIFEST, Manifest, {"design_hash": self.content_hash, **self.manifest})
                staging.chmod(0o755)
                old = staging.with_name(f"{staging.name}.old")
                before = [path for path in out.rglob("*") if path.is_file()]
                if out.exists():
                    out.rename(old)
                staging.rename(out)
                note_written(*before, *(out / name for name in [*self.files, MANIFEST]))
                shutil.rmtree(old, ignore_errors=True)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        except OSError as error:
            raise LutraError(cannot_write(out, error)) from error
        return [out / name for name in [*self.files, MANIFEST]]


def with_defaults(text: str, parameters: Mapping[str, int]) -> str:
    """A module whose parameters have other defaults, for flows that set none."""
    for name, value in parameters.items():
        text, count = re.subn(rf"(parameter (?:int unsigned|bit) +{name}\s*= )[\d']+b?\d*", rf"\g<1>{value}", text)
        if count != 1:
            raise AssertionError(f"the module has no parameter {name} of its own")
    return text


@cache
def library_files(*folders: Path) -> Mapping[str, str]:
    """The hand-written modules that all accelerators share, and those in `folders`: file name -> text."""
    paths = [path for folder in (LIBRARY, *folders) for path in folder.glob("*.sv")]
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(paths, key=lambda path: path.name)}
