"""Sizes without bound are refused in one line, quickly and without memory; the limits are those that we state."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

import lutra
from frozen_berts import METHODS, small_config
from lutra import limits
from lutra.errors import FrozenModelError, LutraError, RecipeError, RunDirectoryError
from lutra.frozen import golden, store
from lutra.frozen.bert import FrozenBert, layout
from lutra.frozen.graph import FrozenModel, Graph
from lutra.frozen.ops import Requantise, Thermometer
from lutra.frozen.random_block import random_block
from lutra.frozen.types import TensorType
from lutra.recipes.language import Recipe, resolve_width
from lutra.recipes.sections import read_toml, validate
from lutra.runs.files import parse_json, read_bytes, read_json

ROOT = Path(lutra.__file__).parents[2]
INT8 = TensorType(True, 8, 1.0)


def test_the_page_states_the_limits():
    page = (ROOT / "docs" / "limits.md").read_text()
    stated = {name: int(value) for name, value in re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE)}
    scales = {"SMALLEST_SCALE", "LARGEST_SCALE"}
    assert stated == {name: value for name, value in vars(limits).items() if name.isupper() and name not in scales}


@pytest.fixture
def frozen(tmp_path):
    """A folder with a frozen block, and a function that changes a field of it and signs it again."""
    graph = random_block(np.random.default_rng(0))
    store.save(FrozenModel((graph,)), tmp_path)
    structure, tensors = store.read_files(tmp_path)

    def change(path: str, value: object, **arrays: np.ndarray) -> None:
        node = changed = json.loads(json.dumps(structure))
        *parents, last = path.split(".")
        for part in parents:
            node = node[int(part) if part.isdigit() else part]
        node[int(last) if last.isdigit() else last] = value
        store.write_files(tmp_path, changed, {**tensors, **arrays})

    return tmp_path, change, structure, tensors


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("graphs.0.input.type.bits", bits) for bits in (0, -1, 33, 10**18, True, 8.0, "8", None)),
        *(("graphs.0.ops.4.type.bits", bits) for bits in (0, -10, 10**18)),
        *(("graphs.0.input.type.scale", scale) for scale in (0.0, -1.0, 1e-300, 1e300, "1", False)),
        *(("graphs.0.input.width", width) for width in (0, -1, 10**9, 8.9, "12", True)),
        ("graphs.0.input.type.signed", 1),
        *(("graphs.0.ops.3.groups", groups) for groups in (0, 10**12, True, 1.0)),
        ("graphs.0.ops.1.inputs", "x"),
        ("graphs.0.ops.1.inputs", [1]),
        ("graphs.0.ops", {}),
        ("graphs.0.ops", []),
        ("graphs.0.ops.0", []),
        ("graphs.0.ops.0.kind", []),
        ("graphs.0.ops.0.extra", 1),
        ("graphs", {}),
        ("graphs.0", None),
        ("format_version", True),
        ("format_version", 1.0),
        ("origin", []),
        ("origin", {"a": 1}),
    ],
)
def test_fields_of_another_type_or_size_are_refused(frozen, path, value):
    folder, change, *_ = frozen
    change(path, value)
    with pytest.raises(FrozenModelError) as caught:
        store.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("0.0.thresholds", np.zeros((12, 3), np.float32)),
        ("0.0.thresholds", np.zeros((12, 3), np.int64)),
        ("0.0.thresholds", np.zeros(36, np.int16)),
        ("0.0.thresholds", np.zeros((12, 300), np.int16)),
        ("0.1.connections", np.zeros(20, np.int32)),
        ("0.1.connections", np.zeros((20, 50_000), np.int32)),
        ("0.1.connections", np.zeros((20, 6), np.float64)),
        ("0.1.tables", np.zeros((20, 9), np.uint8)),
        ("0.1.tables", np.zeros((0, 8), np.uint8)),
        ("0.3.encoded", np.zeros((12, 12), np.int16)),
        ("0.3.bias", np.array(0, np.int32)),
        ("0.4.shift", np.zeros((12, 1), np.int32)),
    ],
)
def test_tensors_of_another_type_or_shape_are_refused(frozen, name, array):
    folder, change, *_ = frozen
    change("origin", {}, **{name: array})
    with pytest.raises(FrozenModelError):
        store.load(folder)


def test_tensors_that_belong_to_nothing_are_named(frozen):
    folder, change, *_ = frozen
    change("origin", {}, surplus=np.zeros(1))
    with pytest.raises(FrozenModelError, match="tensor 'surplus' belongs to no operation"):
        store.load(folder)


def test_a_requantisation_that_wraps_around_is_refused():
    """The case that was found: 40 bits times a multiplier gave -128 for 274,877,906,816."""

    def chain(bits: int, multiplier: int) -> Graph:
        one, shift = np.ones(1, np.int64), np.zeros(1, np.int64)
        first = Requantise(("x",), "a", one * (2**31 - 1), shift, TensorType(True, bits))
        return Graph("g", "x", INT8, 1, (first, Requantise(("a",), "y", one * multiplier, shift + 31, INT8)))

    with pytest.raises(FrozenModelError, match=r"type has '40' bits"):
        chain(40, 2**31 - 1).check()
    chain(32, 2**31 - 1).check()
    for x in (-128, -1, 0, 1, 127):
        first = max(-(2**31), min(2**31 - 1, x * (2**31 - 1)))
        exact = max(-128, min(127, (first * (2**31 - 1) + 2**30) >> 31))
        assert golden.run(chain(32, 2**31 - 1), np.array([[x]])).item() == exact


def test_thermometers_of_wide_types_are_bounded_by_what_is_stored():
    wide = Graph("g", "x", TensorType(True, 32), 1, (Thermometer(("x",), "y", np.array([[2**20]])),))
    wide.check()


@pytest.mark.parametrize("field", ["layers", "heads", "head_width", "width", "intermediate", "vocabulary", "positions"])
@pytest.mark.parametrize("value", [10**5, 10**9, 10**18])
def test_berts_without_bound_are_refused_at_once(tmp_path, field, value):
    config = small_config(layers=1, quantisation=METHODS[1])
    tensors = {name: np.ones(what.shape, what.dtype) for name, what in layout(config).items()}
    FrozenBert(config, tensors).save(tmp_path)
    structure, tensors = store.read_files(tmp_path)
    structure["bert"][field] = value
    store.write_files(tmp_path, structure, tensors)
    with pytest.raises(FrozenModelError):
        FrozenBert.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 100_000, "inside each other"),
        (b'{"a":' * 100_000, "inside each other"),
        (b"[" * 65 + b"]" * 65, "inside each other"),
        (b"[" + b"1" * 5_000 + b"]", "5000 digits"),
        (b"[1e999]", "too large"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b'{"a": 1, "a": 2}', "comes twice"),
        (b'["\\ud800"]', "half of a surrogate pair"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"", "Expecting value"),
    ],
)
def test_json_beyond_its_limits_is_refused(tmp_path, content, reason):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(RunDirectoryError, match=reason) as caught:
        read_json(path, "cost")
    assert str(caught.value).startswith(str(path)) and "`lutra cost`" in str(caught.value)


def test_json_within_the_limits_is_read():
    value = {"a": [1, -2.5e-3, True, None, '\u00e4 \\ " []{}'], "b": {"": {}}}
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(b"[" * 64 + b"]" * 64)


def test_large_files_and_pipes_are_not_read(tmp_path):
    large, pipe = tmp_path / "large", tmp_path / "pipe"
    with large.open("wb") as handle:
        handle.truncate(1 << 41)
    os.mkfifo(pipe)
    for path in (large, pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=str(path)):
            read_bytes(path, 1 << 20)
    store_folder = tmp_path / "frozen"
    store_folder.mkdir()
    os.mkfifo(store_folder / store.MODEL_FILE)
    with pytest.raises(FrozenModelError, match="not a regular file"):
        store.load(store_folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": True},
        {"seed": 1.0},
        {"model": {"width": "128"}},
        {"model": {"width": 10**9, "heads": 1}},
        {"model": {"layers": 10**6}},
        {"model": {"layers": 1000, "width": 2**20, "heads": 1}},
        {"train": {"learning_rate": float("inf")}},
        {"train": {"weight_decay": float("nan")}},
        {"train": {"iterations": 10**30}},
        {"hardware": {"fold_factors": [True]}},
        {"hardware": {"fold_factors": [1, 1]}},
        {"hardware": {"fold_factors": [1.0]}},
        {"hardware": {"rows": 10**12}},
        {"baselines": ["mlp", "mlp"]},
        *(
            {"block": {"lut_layers": [{"luts": luts}]}}
            for luts in ("infD", "nan", "1e9D", "9999999D", "-1D", "0.5", True)
        ),
        {"block": {"lut_layers": [{"luts": "4D", "inputs": 6.0}]}},
        {"model": {"width": 65536, "heads": 1}, "block": {"lut_layers": [{"luts": "16D", "mapping": "learnable"}]}},
    ],
)
def test_recipes_with_lax_types_or_without_bound_are_refused(changes):
    with pytest.raises(RecipeError) as caught:
        validate(Recipe, {"name": "r", **changes}, "r.toml")
    assert str(caught.value).startswith("r.toml: ")


@pytest.mark.parametrize(
    ("luts", "width", "count"), [("D", 64, 64), ("0.5D", 64, 32), (768, 64, 768), ("768", 64, 768)]
)
def test_numbers_of_tables(luts, width, count):
    assert resolve_width(luts, width) == count


def test_numbers_of_5000_digits_in_toml_are_one_line(tmp_path):
    path = tmp_path / "recipe.toml"
    for text in (f"seed = {'1' * 5000}", "a = " + "[" * 100_000, "x" * (2 << 20)):
        path.write_text(text)
        with pytest.raises(RecipeError) as caught:
            read_toml(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_an_activation_that_overflows_is_an_error_wherever_it_hides():
    config = small_config(layers=1, activation="relu", quantisation=METHODS[1])
    from frozen_berts import sentences, trained_like  # torch
    from lutra.freeze.bert import freeze_bert
    from lutra.frozen.bert_golden import golden_logits

    model = freeze_bert(trained_like(config, 0))
    given = [part.numpy() for part in sentences(config, 4, 8, 0)]
    assert np.isfinite(golden_logits(model, *given)).all()
    for name, tensor in model.tensors.items():
        if name.endswith(("score_factor", "pooler.factor", "intermediate.factor", "query.factor")):
            huge = {**model.tensors, name: np.full_like(tensor, 65504)}
            with pytest.raises(LutraError, match="leaves the range of binary16"):
                golden_logits(FrozenBert(config, huge), *given)
