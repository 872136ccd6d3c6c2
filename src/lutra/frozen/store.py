"""Frozen models on disk: `model.json` (structure, types, version, content hash) and `tensors.safetensors`.

Nothing is unpickled and nothing is executed. Loading checks version, hash, names, shapes and ranges.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as dump_tensors

from lutra.errors import FrozenModelError
from lutra.frozen.graph import FORMAT_VERSION, READABLE_VERSIONS, FrozenModel, Graph
from lutra.frozen.ops import OPERATIONS, Operation
from lutra.frozen.types import IntArray, TensorType
from lutra.runs.files import replacing, write_json

MODEL_FILE = "model.json"
TENSOR_FILE = "tensors.safetensors"


def save(model: FrozenModel, folder: Path) -> None:
    """Check the model and write it into `folder`."""
    tensors: dict[str, np.ndarray] = {}
    structure: dict[str, Any] = {"origin": model.origin}
    if model.whole is not None:
        model.whole.check()
        structure["program"] = _graph_to_json(model.whole, "program", tensors)
    else:
        for graph in model.graphs:
            graph.check()
        structure["graphs"] = [_graph_to_json(graph, f"{i}", tensors) for i, graph in enumerate(model.graphs)]
    write_files(folder, structure, tensors)


def load(folder: Path) -> FrozenModel:
    """Read a frozen model.

    Raises:
        FrozenModelError: see `read_files`; or a shape, a connection, a threshold or any other value is out of range.
    """
    structure, tensors = read_files(folder)
    try:
        whole = _graph_from_json(structure["program"], tensors) if "program" in structure else None
        graphs = () if whole else tuple(_graph_from_json(graph, tensors) for graph in structure["graphs"])
        origin = structure["origin"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        json_path = folder / MODEL_FILE
        raise FrozenModelError(f"{json_path}: not a frozen model ({error!r}); run `lutra freeze` again") from None
    for graph in (whole,) if whole else graphs:
        graph.check()
    return FrozenModel.of_whole(whole, origin) if whole else FrozenModel(graphs, origin)


def write_files(folder: Path, structure: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Write the two files of a frozen model; the JSON is written last, so that a torn pair does not load."""
    structure = {"format_version": FORMAT_VERSION, **structure}
    with replacing(folder / TENSOR_FILE) as temporary:
        temporary.write_bytes(dump_tensors(dict(sorted(tensors.items()))))
    write_json(folder / MODEL_FILE, {**structure, "content_hash": _content_hash(structure, tensors)})


def read_files(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The structure and the tensors that `write_files` wrote.

    Raises:
        FrozenModelError: a file is missing or unreadable, the version is unknown, or the hash differs.
    """
    json_path, tensor_path = folder / MODEL_FILE, folder / TENSOR_FILE
    try:
        structure = json.loads(json_path.read_text(encoding="utf-8"))
        tensors = parse_tensors(tensor_path.read_bytes())
    except OSError as error:
        raise FrozenModelError(
            f"{error.filename}: cannot read it ({error.strerror}); run `lutra freeze` first"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
        raise FrozenModelError(f"{folder}: corrupted frozen model ({error}); run `lutra freeze` again") from None
    try:
        version, given_hash = structure["format_version"], structure.pop("content_hash")
    except (KeyError, TypeError, AttributeError) as error:
        raise FrozenModelError(f"{json_path}: not a frozen model ({error!r}); run `lutra freeze` again") from None
    if version not in READABLE_VERSIONS:
        readable = " and ".join(map(str, READABLE_VERSIONS))
        raise FrozenModelError(f"{json_path}: format version {version}, this Lutra reads {readable}")
    if _content_hash(structure, tensors) != given_hash:
        raise FrozenModelError(f"{folder}: content hash differs, the files were changed; run `lutra freeze` again")
    return structure, tensors


def exists(folder: Path) -> bool:
    """Whether something was frozen into `folder`; `load` says whether it is whole."""
    return (folder / MODEL_FILE).exists()


def content_hash(folder: Path) -> str:
    """The content hash that `folder` claims (see `load` for the check)."""
    return str(json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))["content_hash"])


def _content_hash(structure: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(structure, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def _type_to_json(type_: TensorType) -> dict[str, Any]:
    return {"signed": type_.signed, "bits": type_.bits, "scale": type_.scale}


def _graph_to_json(graph: Graph, prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    ops = []
    for position, op in enumerate(graph.ops):
        described: dict[str, Any] = {"kind": op.kind, "inputs": list(op.inputs), "output": op.output}
        for field in fields(op):
            value = getattr(op, field.name)
            if field.name in op.stored:
                key = f"{prefix}.{position}.{field.name}"
                tensors[key] = _pack(value, op.stored[field.name])
                described[field.name] = key
            elif isinstance(value, TensorType):
                described[field.name] = _type_to_json(value)
            elif field.name not in described:
                described[field.name] = value
        ops.append(described)
    input_: dict[str, Any] = {"name": graph.input, "type": _type_to_json(graph.input_type), "width": graph.input_width}
    if graph.input_rows is not None:
        input_["rows"] = graph.input_rows
    return {"name": graph.name, "input": input_, "ops": ops}


def _graph_from_json(described: dict[str, Any], tensors: dict[str, np.ndarray]) -> Graph:
    input_ = described["input"]
    ops = tuple(_op_from_json(op, tensors) for op in described["ops"])
    type_, width, rows = TensorType(**input_["type"]), int(input_["width"]), input_.get("rows")
    return Graph(described["name"], input_["name"], type_, width, ops, rows)


def _op_from_json(described: dict[str, Any], tensors: dict[str, np.ndarray]) -> Operation:
    op_type = OPERATIONS[described["kind"]]
    arguments = {key: value for key, value in described.items() if key != "kind"}
    arguments["inputs"] = tuple(described["inputs"])
    for name, storage in op_type.stored.items():
        array = tensors[described[name]]
        if storage == "packed":
            entries = 2 ** tensors[described["connections"]].shape[1]
            array = np.unpackbits(array, axis=1, count=entries, bitorder="little")
        arguments[name] = array.astype(np.int64)
    if "type" in arguments:
        arguments["type"] = TensorType(**arguments["type"])
    return op_type(**arguments)


def _pack(values: IntArray, storage: str) -> np.ndarray:
    if storage == "packed":
        return np.packbits(values.astype(np.uint8), axis=1, bitorder="little")
    return values.astype(storage, order="C")  # safetensors writes a transposed array's bytes as they lie
