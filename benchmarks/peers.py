"""Peers that pip can install, beside a weightless block, on one small task: `python benchmarks/peers.py [--out FILE]`.

The record FILE is written after every system, and what it holds is not measured again; the table is printed from it.

The task is a classifier of 64 features (`peers_digits.py`), which all of them can do; what a block does in a
transformer is in docs/recovery.md. A row for each system: accuracy of what would be deployed, over seeds; CPU seconds
of training on one thread; LUTs and flip-flops of the whole, the encoder included, by the same Yosys; cycles;
microseconds a row on one thread, alternating. `none` is what the pixels say without any hidden part. A package that
is missing, or does not start, is a row that says so.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from harness import alternate, machine
from peers_systems import (
    Trained,
    distributed_arithmetic,
    dwn,
    engine,
    logic_gates,
    lutra_block,
    mlp,
    none,
)

from lutra.runs.files import write_text

ROWS = (1, 500)
SYSTEMS: dict[str, tuple[str | None, Callable[[int], Trained]]] = {
    "none: one linear layer": (None, none),
    "MLP, PyTorch fp32": (None, mlp),
    "MLP, ONNX Runtime fp32": ("onnxruntime", functools.partial(engine, "onnxruntime_fp32", "onnxruntime")),
    "MLP, ONNX Runtime int8": ("onnxruntime", functools.partial(engine, "onnxruntime_qdq", "onnxruntime")),
    "MLP, OpenVINO": ("openvino", functools.partial(engine, "openvino_fp", "openvino")),
    "MLP, OpenVINO int8": ("openvino", functools.partial(engine, "openvino_int8", "openvino")),
    "MLP, rounded, alkaid": ("alkaid", distributed_arithmetic),
    "logic gates, torchlogix": ("torchlogix", logic_gates),
    "DWN, dwn2rtl": ("dwn2rtl", dwn),
    "weightless block, Lutra": (None, lutra_block),
}
"""Name -> the package that it needs, and what trains it."""


def measure(name: str, seeds: list[int], synthesise: bool) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """The row of a system, without its speed, and what to time for that; seeds beyond the first only train."""
    package, train = SYSTEMS[name]
    row: dict[str, Any] = {"system": name, "package": package, "seeds": seeds}
    try:
        row["version"] = metadata.version(package) if package else None
        trained = [train(seed) for seed in seeds]
    except metadata.PackageNotFoundError:
        return {**row, "problem": "not installed"}, {}
    except Exception as error:  # a peer that fails is a row, and no end of the table
        return {**row, "problem": _brief(error)}, {}
    row["accuracies"] = [each.accuracy for each in trained]
    row["train_s"] = statistics.median(each.train_s for each in trained)
    if trained[0].hardware is not None and synthesise:
        try:
            row["hardware"] = vars(trained[0].hardware())
        except Exception as error:
            row["hardware"] = {"compared": _brief(error)}
    call = trained[0].call
    return row, {f"{name}/{count}": call(count) for count in ROWS} if call is not None else {}


def add_speeds(rows: list[dict[str, Any]], calls: dict[str, Callable[[], Any]]) -> None:
    """Time the calls by turns."""
    with torch.inference_mode():
        times = alternate(calls, clock=time.thread_time)
    for row in rows:
        for count in ROWS:
            if (key := f"{row['system']}/{count}") in times:
                row[f"us_a_row_of_{count}"] = 1e3 * times[key] / count


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = [
        "| system | seeds | accuracy, % | training, CPU s | LUT | FF | cycles | us, 1 row | us a row of 500 | RTL |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in sorted(rows, key=lambda row: list(SYSTEMS).index(row["system"])):
        version = f" {row['version']}" if row.get("version") else ""
        if "problem" in row:
            lines.append(f"| {row['system']}{version} | | {row['problem']} | | | | | | | |")
            continue
        found, hardware = row["accuracies"], row.get("hardware", {})
        spread = f" ± {statistics.stdev(found):.1f}" if len(found) > 1 else ""
        speed = [f"{row[key]:.2f}" if (key := f"us_a_row_of_{count}") in row else "" for count in ROWS]
        size = ["" if hardware.get(key) is None else f"{hardware[key]:,}" for key in ("lut", "ff", "cycles")]
        cells = [f"{row['system']}{version}", str(len(found)), f"{statistics.mean(found):.1f}{spread}"]
        cells += [f"{row['train_s']:.1f}", *size, *speed, hardware.get("compared", "")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", choices=list(SYSTEMS), nargs="+", help="measure these; default: all")
    parser.add_argument("--no-synthesis", action="store_true", help="leave LUTs, flip-flops and cycles out")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the record, which is gone on with")
    parser.add_argument("--read", action="store_true", help="print the table of the record, and measure nothing")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = {"machine": machine(), "rows": []}
    if options.out and options.out.exists():
        record = json.loads(options.out.read_text(encoding="utf-8"))
    rows, calls = record["rows"], dict[str, Callable[[], Any]]()
    known = {row["system"] for row in rows}
    for name in () if options.read else [name for name in options.only or SYSTEMS if name not in known]:
        began = time.perf_counter()
        row, timed = measure(name, options.seeds, not options.no_synthesis)
        rows.append(row)
        calls |= timed
        _write(options.out, record)
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    add_speeds(rows, calls)
    _write(options.out, record)
    print(json.dumps(record) if options.json else table(rows))


def _write(path: Path | None, record: dict[str, Any]) -> None:
    if path is not None:
        write_text(path, json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
