"""The page of measured speeds, and the form of what the benchmarks print."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lutra.native import library as native
from lutra.recipes.language import load_recipe

ROOT = Path(__file__).parents[1]
COLUMNS = {
    *("case", "size", "tokens", "mapping", "threads"),
    *("ours_ms", "mlp_fp32_ms", "mlp_bf16_ms", "int_mm_ms", "reference_ms", "torch_dwn_ms"),
}
MACHINE = {"cpu": "Some CPU", "cpu_flags": ["avx2", "sse"], "cores": 4, "python": "3.12.0", "torch": "2.13.0"}


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(folder: Path, name: str, **row: Any) -> None:
    common = dict.fromkeys(COLUMNS) | {"tokens": 1000, "threads": 1, "ours_ms": 2.0}
    folder.joinpath(f"{name}.json").write_text(json.dumps({"machine": MACHINE, "rows": [common | row]}))


def test_committed_page_is_what_the_script_writes() -> None:
    assert (ROOT / "docs/performance.md").read_text() == script("docs/performance.py").page()


def test_ratios_beside_their_baselines(tmp_path: Path) -> None:
    saved = {"saved_bytes_ours": 10, "saved_bytes_reference": 505, "saved_bytes_published": 900}
    times = {"mlp_fp32_ms": 9.0, "reference_ms": 400.0, "reference_cpp_ms": 250.0}
    record(tmp_path, "train_block", size="D192", mapping="random", **times, **saved)
    record(tmp_path, "binary_linear", size="8x16x32", activation_bits=4, ours_gops=77.7, linear_fp32_ms=5.0)
    page = script("docs/performance.py").page(tmp_path)
    assert "| D192 | 1,000 | random | 1 | 2.00 | 2,000 | 4.50x | - | 200x | 125x | - | 50.5x | 90.0x |" in page
    assert "| 8 x 16 x 32 | 4 bit | 2.00 | 78 | 2.50x | - | - |" in page
    assert "Machine: Some CPU, 4 cores (avx2), PyTorch 2.13.0, Python 3.12.0." in page
    assert "No run is recorded; the command is `python benchmarks/infer_block.py" in page


def test_trainings_beside_each_other(tmp_path: Path) -> None:
    seconds = {"before": (18.0, 12.0, 8.0), "now": (11.0, 12.0, 9.0)}
    rows = [
        {"recipe": "gpt", "tree": tree, "model": model, "iterations": 9, "cpu_s": value}
        for tree, values in seconds.items()
        for model, value in zip(("weightless", "mlp", "none"), values, strict=True)
    ]
    tmp_path.joinpath("train_model.json").write_text(json.dumps({"machine": MACHINE, "rows": rows}))
    page = script("docs/performance.py").page(tmp_path)
    assert "| gpt | 9 | before | 18.0 | 12.0 | 8.00 | 1.50x | 2.50x |" in page
    assert "| gpt | 9 | now | 11.0 | 12.0 | 9.00 | 0.92x | 0.667x |" in page
    assert "`python benchmarks/train_block.py --block default --json > results/benchmarks/train_default.json`" in page


def test_iterations_beside_each_other(tmp_path: Path) -> None:
    common = {"recipe": "gpt", "precision": "bf16-mixed", "tree": "now", "batch": 64}
    seconds = {"weightless": (3.0, 1.5), "mlp": (2.0, None), "none": (0.5, None)}
    rows = [{**common, "model": model, "step_s": s, "frozen_step_s": f} for model, (s, f) in seconds.items()]
    tmp_path.joinpath("train_step.json").write_text(json.dumps({"machine": MACHINE, "rows": rows}))
    page = script("docs/performance.py").page(tmp_path)
    assert "| gpt | 64 | bf16-mixed | now | 3.00 | 1.50 | 2.00 | 0.500 | 1.50x | 0.75x |" in page


@pytest.mark.skipif(not native.compiler_available(), reason="no C++ compiler here")
def test_an_iteration_is_timed_before_and_after_mappings_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    time_steps = script("benchmarks/train_step.py").time_steps
    ours = time_steps(ROOT / "recipes" / "demo.toml", "weightless", "32-true", 6)
    mlp = time_steps(ROOT / "recipes" / "demo.toml", "mlp", "bf16-mixed", 6)
    assert 0 < ours["frozen_step_s"] < ours["step_s"] and mlp["step_s"] > 0 and mlp["frozen_step_s"] is None


def test_blocks_that_are_timed_are_the_recipes_and_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    block_config = script("benchmarks/train_block.py").block_config
    default, paper = block_config("default"), block_config("candidate")
    asked = load_recipe(ROOT / "recipes" / "language" / "gpt-mini.toml").block
    assert default == asked and default.lut_layers[0].candidates == 32
    assert [layer.luts for layer in paper.lut_layers] == ["4D", "D"] and paper.groups == 1


def test_time_of_the_sum_is_the_part_that_grows_with_the_square(tmp_path: Path) -> None:
    rows = [{"size": f"D{d}", "tokens": 10, "threads": 1, "ours_ms": 10 * (100 * d + d**2)} for d in (100, 300)]
    found = script("docs/performance.py")._time_of_the_sum(rows)
    assert "50% of the time at D = 100 and 75% of the time at D = 300" in found


@pytest.mark.skipif(not native.compiler_available(), reason="no C++ compiler here")
def test_benchmarks_print_the_common_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    linear = script("benchmarks/binary_linear.py").measure(17, 12, 8, 1)
    infer = script("benchmarks/infer_block.py").measure(16, 17, 1, 1)
    assert all(set(row) >= COLUMNS and row["ours_ms"] > 0 for row in [*linear, infer])
