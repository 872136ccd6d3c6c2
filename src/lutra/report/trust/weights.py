"""Checkpoints looked at without PyTorch: only bytes are compared."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from safetensors import SafetensorError, deserialize

from lutra.limits import JSON_BYTES, TENSOR_BYTES
from lutra.reading import parse_json, read_bytes

_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""Of types in safetensors, as `train.checkpoint` writes them into the checksum."""


def checkpoint_problem(path: Path) -> str | None:
    """Why a file is not a whole checkpoint of Lutra; None if its checksum is that of its content."""
    try:
        content = read_bytes(path, TENSOR_BYTES)
        tensors = deserialize(content)  # type: ignore[no-untyped-call]
        (length,) = struct.unpack("<Q", content[:8])
        if length > JSON_BYTES:
            return "its header is too large"
        header = parse_json(content[8 : 8 + length])["__metadata__"]
        text, checksum = header["lutra"], header["sha256"]
        digest = hashlib.sha256(text.encode())
        for name, tensor in sorted(tensors):
            shape = tuple(tensor["shape"])
            digest.update(f"\n{name} {_NAMES.get(tensor['dtype'], tensor['dtype'])} {shape}\n".encode())
            digest.update(tensor["data"])
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        return f"is not a checkpoint ({type(error).__name__})"
    return None if digest.hexdigest() == checksum else "its checksum differs from its content"
