"""Frozen models on disk: `model.json` (structure, types, version, content hash) and `tensors.safetensors`.

Nothing is unpickled and nothing is executed. Loading checks sizes, version, hash, names, types, shapes and ranges.
"""

from __future__ import annotations

import functools
import hashlib
import json
import typing
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError, create_model, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as dump_tensors

from lutra.errors import FrozenModelError
from lutra.escape import brief
from lutra.frozen.graph import FORMAT_VERSION, READABLE_VERSIONS, FrozenModel, Graph
from lutra.frozen.ops import DIMENSIONS, OPERATIONS, Operation
from lutra.frozen.types import IntArray, TensorType
from lutra.limits import GRAPHS, JSON_BYTES, LUT_INPUTS, TENSOR_BYTES
from lutra.limits import OPERATIONS as MOST_OPERATIONS
from lutra.names import MOST_NOTES, name_problem, shown, text_problem
from lutra.reading import parse_json, read_bytes
from lutra.runs.files import replacing, write_json
from lutra.schema import Strict, explain

MODEL_FILE = "model.json"
TENSOR_FILE = "tensors.safetensors"


class _Type(Strict):
    signed: bool
    bits: int
    scale: float


class _Input(Strict):
    name: str
    type: _Type
    width: int
    rows: int | None = None


class _Graph(Strict):
    name: str
    input: _Input
    ops: list[dict[str, Any]] = Field(max_length=MOST_OPERATIONS)


class _Model(Strict):
    """`model.json`: a whole model as one program, or blocks as graphs."""

    format_version: Literal[1, 2]
    origin: dict[str, str]
    program: _Graph | None = None
    graphs: list[_Graph] = Field([], max_length=GRAPHS)

    @model_validator(mode="after")
    def _has_one_of_both(self) -> _Model:
        if (self.program is None) == (not self.graphs):
            raise ValueError("must have either a program or graphs")
        return self


def save(model: FrozenModel, folder: Path) -> None:
    """Check the model and write it into `folder`.

    Raises:
        FrozenModelError: see `check_model`.
    """
    check_model(model)
    tensors: dict[str, np.ndarray] = {}
    structure: dict[str, Any] = {"origin": model.origin}
    if model.whole is not None:
        structure["program"] = _graph_to_json(model.whole, "program", tensors)
    else:
        structure["graphs"] = [_graph_to_json(graph, f"{i}", tensors) for i, graph in enumerate(model.graphs)]
    write_files(folder, structure, tensors)


def load(folder: Path) -> FrozenModel:
    """Read a frozen model.

    Raises:
        FrozenModelError: see `read_files`; or a name, a shape, a connection, a threshold or any other value is out of
            range.
    """
    structure, tensors = read_files(folder)
    where = folder / MODEL_FILE
    try:
        described = _Model.model_validate(structure)
    except ValidationError as error:
        raise FrozenModelError(f"{where}: {explain(error)}; not a frozen model, run `lutra freeze` again") from None
    used: set[str] = set()
    try:
        if described.program is not None:
            whole = _graph_from_json(described.program, tensors, used)
            whole.check()
            model = FrozenModel.of_whole(whole, described.origin)
        else:
            graphs = tuple(_graph_from_json(graph, tensors, used) for graph in described.graphs)
            model = FrozenModel(graphs, described.origin)
        check_model(model)
    except FrozenModelError as error:
        raise FrozenModelError(f"{folder}: {error}") from None
    if surplus := sorted(tensors.keys() - used):
        raise FrozenModelError(
            f"{folder}: tensor {shown(surplus[0])} belongs to no operation; run `lutra freeze` again"
        )
    return model


def check_model(model: FrozenModel) -> None:
    """Check every graph, that their names differ, and that the notes on the origin are names and lines of text.

    Raises:
        FrozenModelError: the first thing that is off, with its place.
    """
    for graph in (*model.graphs, *filter(None, [model.whole])):
        graph.check()
    names = [graph.name for graph in model.graphs]
    if len(set(names)) != len(names):
        raise FrozenModelError(f"two graphs are called {next(name for name in names if names.count(name) > 1)}")
    check_origin(model.origin)


def check_origin(origin: dict[str, str]) -> None:
    """Check the notes on where a frozen model came from.

    Raises:
        FrozenModelError: too many, a key that is no name, or a value that is not one line of text.
    """
    if len(origin) > MOST_NOTES:
        raise FrozenModelError(f"origin has {len(origin)} entries, at most {MOST_NOTES} are kept")
    for key, value in origin.items():
        if problem := name_problem(key):
            raise FrozenModelError(f"origin: the key {problem}")
        if not isinstance(value, str) or (problem := text_problem(value)):
            raise FrozenModelError(f"origin.{key} {problem if isinstance(value, str) else 'must be text'}")


def write_files(folder: Path, structure: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Write the two files of a frozen model; the JSON is written last, so that a torn pair does not load."""
    structure = {"format_version": FORMAT_VERSION, **structure}
    with replacing(folder / TENSOR_FILE) as temporary:
        temporary.write_bytes(dump_tensors(dict(sorted(tensors.items()))))
    write_json(folder / MODEL_FILE, {**structure, "content_hash": _content_hash(structure, tensors)})


def read_files(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The structure and the tensors that `write_files` wrote.

    Raises:
        FrozenModelError: a file is missing, unreadable or too large, the version is unknown, or the hash differs.
    """
    json_path, tensor_path = folder / MODEL_FILE, folder / TENSOR_FILE
    structure = _read_structure(json_path)
    tensors = read_tensors(tensor_path)
    version, given_hash = structure.get("format_version"), structure.pop("content_hash", None)
    if type(version) is not int or version not in READABLE_VERSIONS:
        found = "no" if version is None else f"of {brief(str(version), 40)} as"
        known = f"this Lutra reads versions {' and '.join(map(str, READABLE_VERSIONS))}"
        raise FrozenModelError(f"{json_path}: has {found} format version, {known}; run `lutra freeze` again")
    if _content_hash(structure, tensors) != given_hash:
        raise FrozenModelError(f"{folder}: content hash differs, the files were changed; run `lutra freeze` again")
    return structure, tensors


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file.

    Raises:
        FrozenModelError: it is missing, unreadable, too large, not safetensors, or holds a name that is none.
    """
    try:
        tensors = parse_tensors(read_bytes(path, TENSOR_BYTES))
    except OSError as error:
        raise FrozenModelError(f"{path}: cannot read it ({error.strerror}); run `lutra freeze` first") from None
    except (SafetensorError, ValueError, KeyError) as error:
        reason = brief(str(error))
        raise FrozenModelError(f"{path}: corrupted frozen model ({reason}); run `lutra freeze` again") from None
    for name in tensors:
        if problem := name_problem(name):
            raise FrozenModelError(f"{path}: the name of a tensor {problem}")
    return tensors


def exists(folder: Path) -> bool:
    """Whether something was frozen into `folder`; `load` says whether it is whole."""
    return (folder / MODEL_FILE).exists()


def content_hash(folder: Path) -> str:
    """The content hash that `folder` claims (see `load` for the check).

    Raises:
        FrozenModelError: the file is missing, unreadable, or claims none.
    """
    claimed = _read_structure(folder / MODEL_FILE).get("content_hash")
    if not isinstance(claimed, str):
        raise FrozenModelError(f"{folder / MODEL_FILE}: has no content hash; run `lutra freeze` again")
    return claimed


def _read_structure(path: Path) -> dict[str, Any]:
    try:
        structure = parse_json(read_bytes(path, JSON_BYTES))
    except OSError as error:
        raise FrozenModelError(f"{path}: cannot read it ({error.strerror}); run `lutra freeze` first") from None
    except (ValueError, RecursionError) as error:
        raise FrozenModelError(f"{path}: corrupted frozen model ({error}); run `lutra freeze` again") from None
    if not isinstance(structure, dict):
        raise FrozenModelError(f"{path}: not a frozen model, an object is expected; run `lutra freeze` again")
    return structure


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


def _graph_from_json(described: _Graph, tensors: dict[str, np.ndarray], used: set[str]) -> Graph:
    input_ = described.input
    where = f"{described.name}, operation"
    ops = tuple(_op_from_json(op, tensors, used, f"{where} {place}") for place, op in enumerate(described.ops))
    return Graph(described.name, input_.name, TensorType(**dict(input_.type)), input_.width, ops, input_.rows)


@functools.cache
def _schema(op_type: type[Operation]) -> type[Strict]:
    """What `_graph_to_json` writes of an operation: names of tensors for what is stored, the rest as it is."""
    types = typing.get_type_hints(op_type)
    written: dict[str, Any] = {"kind": (Literal[op_type.kind], ...)}
    for field in fields(op_type):
        default = ... if field.default is MISSING else field.default
        stored = {"inputs": list[str], **dict.fromkeys(op_type.stored, str)}.get(field.name)
        described = _Type if types[field.name] is TensorType else types[field.name]
        written[field.name] = (stored or described, default)
    return create_model(op_type.__name__, __base__=Strict, **written)


def _op_from_json(described: dict[str, Any], tensors: dict[str, np.ndarray], used: set[str], where: str) -> Operation:
    op_type = OPERATIONS.get(described["kind"]) if isinstance(described.get("kind"), str) else None
    if op_type is None:
        raise FrozenModelError(f"{where}: no kind of operation that this Lutra knows; it has {', '.join(OPERATIONS)}")
    try:
        arguments = dict(_schema(op_type).model_validate(described))  # type: ignore[arg-type]  # classes are hashable
    except ValidationError as error:
        raise FrozenModelError(f"{where}: {op_type.kind}.{explain(error)}; freeze the checkpoint again") from None
    del arguments["kind"]
    arguments["inputs"] = tuple(arguments["inputs"])
    stored = {name: _stored(op_type, name, arguments[name], tensors, where) for name in op_type.stored}
    used.update(arguments[name] for name in op_type.stored)
    for name, array in stored.items():
        if op_type.stored[name] == "packed":
            array = _unpacked(array, stored["connections"].shape[1], where)
        arguments[name] = array.astype(np.int64)
    if "type" in arguments:
        arguments["type"] = TensorType(**dict(arguments["type"]))
    return op_type(**arguments)


def _stored(op_type: type[Operation], name: str, key: str, tensors: dict[str, np.ndarray], where: str) -> np.ndarray:
    """The tensor called `key`, of the type and with as many dimensions as the field `name` has.

    Raises:
        FrozenModelError: there is none, or it is another.
    """
    if key not in tensors:
        raise FrozenModelError(f"{where}: {op_type.kind}.{name} names a tensor that is not there, {shown(key)}")
    array, storage = tensors[key], op_type.stored[name]
    dtype, dimensions = "uint8" if storage == "packed" else storage, DIMENSIONS[name]
    if array.dtype != dtype or array.ndim != dimensions:
        raise FrozenModelError(
            f"{where}: {op_type.kind}.{name} has {array.dtype} and {array.ndim} axes, not {dtype} and {dimensions}"
        )
    return array


def _unpacked(packed: np.ndarray, inputs: int, where: str) -> np.ndarray:
    """Bits of tables, (L, 2^inputs).

    Raises:
        FrozenModelError: too many inputs, or bytes that do not fit them.
    """
    if not 2 <= inputs <= LUT_INPUTS or packed.shape[1] != -(-(2**inputs) // 8):
        raise FrozenModelError(
            f"{where}: lut_layer.connections must have 2 to {LUT_INPUTS} columns, and tables 2^n bits"
        )
    if inputs < 3 and (packed >> 2**inputs).any():
        raise FrozenModelError(f"{where}: lut_layer.tables has bits beyond its last entry")
    return np.unpackbits(packed, axis=1, count=2**inputs, bitorder="little")


def _pack(values: IntArray, storage: str) -> np.ndarray:
    if storage == "packed":
        return np.packbits(values.astype(np.uint8), axis=1, bitorder="little")
    return values.astype(storage, order="C")  # safetensors writes a transposed array's bytes as they lie
