"""Drives any packaged core with cocotb: random stalls, then its driver on PYNQ's stand-in, and another build's.

    python tests/support/axi/drive.py IP --patterns 1000 --other OTHER_IP

`IP` is a folder of `lutra package`, `OTHER_IP` one of the same name and another build, such as of another fold factor.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from ip_bench import build_cocotb, load_driver, run_cocotb  # noqa: E402

MODULES = {0: "ip_cocotb", 1: "transformer_cocotb", 2: "bat_cocotb"}
"""What drives a core, by the upper byte of the version of its register map."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("--patterns", type=int, default=100, help="of stalls")
    parser.add_argument("--rows", type=int, default=4, help="most rows of a packet, of a core of blocks")
    parser.add_argument("--other", type=Path, help="a package of another build, which is to be refused")
    parser.add_argument("--folder", type=Path, help="keep the simulation there")
    given = parser.parse_args()
    out, name = given.package.resolve(), json.loads((given.package / "ip.json").read_text())["name"]
    kind = load_driver(out / f"driver/python/{name}.py", "driver").MAP_VERSION >> 8
    extra = [{}, {"image": str(out / f"image/{name}.bin")}, {"images": str(out / "image")}][kind]
    folder = given.folder or Path(tempfile.mkdtemp(prefix="lutra-drive-"))
    start = time.perf_counter()
    if not (folder / "build" / name).exists():
        build_cocotb(folder, name, out)
        print(f"built in {time.perf_counter() - start:.0f} s", flush=True)
    start = time.perf_counter()
    plan = {"patterns": given.patterns, "rows": given.rows, **extra}
    found = run_cocotb(folder, name, out, MODULES[kind], **plan)
    print(json.dumps(found), f"{time.perf_counter() - start:.0f} s", flush=True)
    good = not found["wrong"]
    if given.other:
        other = given.other.resolve()
        others = {"other_driver": str(other / f"driver/python/{name}.py"), "other_vectors": str(other / "vectors")}
        others |= [{}, {"other_image": str(other / f"image/{name}.bin")}, {"other_images": str(other / "image")}][kind]
        plan = {"pynq": True, "vectors_folder": str(out / "vectors"), "calls": [], **others, **extra}
        found = run_cocotb(folder, name, out, MODULES[kind], **plan)
        print(json.dumps(found, indent=1))
        good = good and "is of build" in (found["other build"] or "")
    if not given.folder:
        shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
