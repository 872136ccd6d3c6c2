"""Every field of a run's files left out once, and null once: what its schema lets pass must pass all readers.

`make fuzz` draws fields by chance; this goes through all of them, each place of a list's first element once. Most are
refused as soon as they are read; the few that are optional are what pages and records have to do without.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="svg")
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fuzz_forks import judged
from fuzz_readers import OTHER_TARGETS, Reader, cost_run, read_run, report_run, sign, verify_run

PATTERNS = ("*.json", "stages/*/result.json", "baselines/*/evaluate.json")
Place = tuple[str | int, ...]


def places(document: Any, place: Place = ()) -> Iterator[Place]:
    """Fields of objects, at any depth; of a list those of its first element."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield (*place, key)
            yield from places(value, (*place, key))
    elif isinstance(document, list) and document:
        yield from places(document[0], (*place, 0))


def changed(document: Any, place: Place, change: Callable[[Any, str | int], None]) -> bytes:
    """The document as text, with one field changed."""
    document = copy.deepcopy(document)
    parent = functools.reduce(lambda node, part: node[part], place[:-1], document)
    change(parent, place[-1])
    return json.dumps(document).encode()


def leave_out(parent: Any, key: str | int) -> None:
    del parent[key]


def set_to_null(parent: Any, key: str | int) -> None:
    parent[key] = None


def look_at(tree: Path, path: Path, content: bytes, look: Reader, scratch: Path) -> tuple[str, str]:
    """How a reader ends that finds `content` in a file of a run."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(tree, scratch, copy_function=os.link)
    mutant = scratch / path.relative_to(tree)
    mutant.unlink()
    mutant.write_bytes(content)
    sign(scratch, {mutant: content})
    os.chdir(scratch)
    return judged(lambda: look(scratch, mutant))


def try_file(tree: Path, path: Path, readers: Sequence[Reader], scratch: Path) -> list[str]:
    """What is wrong with the readers of one file, of which the others read what the first one takes."""
    document = json.loads(path.read_text(encoding="utf-8"))
    every = {tuple(part for part in place if isinstance(part, str)): place for place in reversed([*places(document)])}
    wrong, optional = [], 0
    for place in every.values():
        for change in (leave_out, set_to_null):
            content = changed(document, place, change)
            for look in readers:
                verdict, detail = look_at(tree, path, content, look, scratch)
                if verdict not in ("taken", "refused"):
                    what = f"{tree.parent.name} {path.relative_to(tree)} {place} {change.__name__} {look.__name__}"
                    wrong.append(f"{what}: {verdict}: {detail}")
                if look is readers[0] and verdict == "refused":
                    break
                optional += look is readers[0]
    print(f"{tree.parent.name}/{path.relative_to(tree)}: {len(every)} fields, {optional} changes taken", flush=True)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=Path, default=Path("build/fuzz"), help="Folder of the sound files.")
    parser.add_argument("--kinds", nargs="*", default=["bert", "convert", "frozen", "language", "vision"])
    options = parser.parse_args()
    root = options.seeds.resolve()
    wrong: list[str] = []
    for kind in options.kinds:
        tree = root / kind / "run"
        if not tree.is_dir():
            parser.error(f"{tree} is not there; tests/fuzz/fuzz.py makes it")
        for path in sorted(path for pattern in PATTERNS for path in tree.glob(pattern)):
            wrong += try_file(tree, path, (read_run, report_run, verify_run, cost_run), root / "scratch-optional")
    for target in (target for target in OTHER_TARGETS if target.form == "json" and not target.torch):
        for path in sorted((root / "other").glob(target.pattern))[:1]:
            wrong += try_file(root / "other", path, (target.read,), root / "scratch-optional")
    print(*wrong, sep="\n")
    print(f"faults: {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
