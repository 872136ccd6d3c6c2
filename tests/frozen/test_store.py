"""Frozen models on disk: what is saved loads back equal, and whatever is off is one clear error."""

import json
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from safetensors.numpy import load_file, save_file

from frozen_blocks import block_graphs, random_rows
from frozen_ops import SPECIFICATION, section
from lutra.errors import FrozenModelError
from lutra.frozen import golden, store
from lutra.frozen.graph import FrozenModel
from lutra.frozen.ops import OPERATIONS
from lutra.frozen.random_block import random_block


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block_graphs())
def test_what_is_saved_loads_back_equal(tmp_path, graph):
    store.save(FrozenModel((graph,), {"seed": "7"}), tmp_path)
    loaded = store.load(tmp_path)
    x = random_rows(np.random.default_rng(0), graph, 9)
    assert (golden.run(loaded[graph.name], x) == golden.run(graph, x)).all()
    assert loaded.origin == {"seed": "7"}
    assert loaded[graph.name].output_type == graph.output_type


@pytest.fixture
def saved(tmp_path):
    store.save(FrozenModel((random_block(np.random.default_rng(0)),)), tmp_path)
    return tmp_path


def edit_json(folder, **changes):
    path = folder / store.MODEL_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_unknown_version(saved):
    edit_json(saved, format_version=99)
    with pytest.raises(FrozenModelError, match="99 as format version"):
        store.load(saved)


def test_changed_tensor_is_found_by_the_hash(saved):
    path = saved / store.TENSOR_FILE
    tensors = load_file(path)
    tensors["0.3.encoded"][0, 0] ^= 1
    save_file(tensors, path)
    with pytest.raises(FrozenModelError, match="content hash differs"):
        store.load(saved)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format_version": 1}', "null"])
def test_corrupted_json(saved, text):
    (saved / store.MODEL_FILE).write_text(text)
    with pytest.raises(FrozenModelError, match="freeze"):
        store.load(saved)


def test_truncated_tensors(saved):
    path = saved / store.TENSOR_FILE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FrozenModelError, match="corrupted"):
        store.load(saved)


def test_missing_folder(tmp_path):
    with pytest.raises(FrozenModelError, match="lutra freeze"):
        store.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("position", "field", "value", "message"),
    [
        (0, "thresholds", 200, r"thresholds must lie in \[-128, 128\]"),
        (1, "connections", 36, r"connections must lie in \[0, 35\]"),
        (1, "tables", 2, "tables must hold bits"),
        (3, "encoded", 128, r"encoded must lie in \[-128, 127\]"),
        (3, "bias", 2**31, "bias must fit in 32 bits"),
        (4, "shift", 63, r"shift must lie in \[0, 62\]"),
        (4, "multiplier", -1, "multiplier must lie in"),
    ],
)
def test_out_of_range_values_are_named(position, field, value, message):
    graph = random_block(np.random.default_rng(0))
    array = getattr(graph.ops[position], field).copy()
    array.flat[-1] = value
    ops = list(graph.ops)
    ops[position] = replace(ops[position], **{field: array})
    with pytest.raises(FrozenModelError, match=f"block, operation {position}: .*{message}"):
        replace(graph, ops=tuple(ops)).check()


def test_specification_has_a_section_for_every_operation_and_names_every_field():
    text = SPECIFICATION.read_text(encoding="utf-8")
    documented = [line.split("`")[1] for line in text.splitlines() if line.startswith("### `")]
    assert sorted(documented) == sorted(OPERATIONS)
    for kind, op in OPERATIONS.items():
        for field in {field.name for field in fields(op)} - {"inputs", "output"}:
            assert re.search(rf"\b{field}\b", section(kind)), f"spec.md does not describe {kind}.{field}"


def test_a_file_of_version_1_loads(saved):
    text = json.loads((saved / store.MODEL_FILE).read_text())
    tensors = load_file(saved / store.TENSOR_FILE)
    structure = {**{key: value for key, value in text.items() if key != "content_hash"}, "format_version": 1}
    edit_json(saved, format_version=1, content_hash=store._content_hash(structure, tensors))
    graph = random_block(np.random.default_rng(0))
    x = random_rows(np.random.default_rng(1), graph, 5)
    assert (golden.run(store.load(saved)["block"], x) == golden.run(graph, x)).all()
