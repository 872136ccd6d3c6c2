"""Mutants of files: bytes changed at random, and fields of JSON, TOML and safetensors changed and signed again."""

from __future__ import annotations

import copy
import json
import random
import struct
import tomllib
from collections.abc import Iterator
from typing import Any

from hostile import KEY, STRINGS
from lutra.errors import LutraError
from lutra.recipes.sections import dump_toml

NUMBERS = [
    *(0, -1, 1, 2, 7, 255, 256, 65536, 2**31, 2**63, -(2**63), 10**18, 10**40),
    *(0.0, -0.0, 0.5, 1e-320, 1e300, -1e300, 8.9),
]
ODD = [None, True, False, "", "8", "1e9D", "infD", "all", [], {}, [[]], [None], {"": 0}]
TOKENS = [b"\0", b"\xff", b"\n", b'"', b"{", b"[" * 200, b"]", b"}", b",", b"1e999", b"NaN", b"9" * 400, b"\\ud800"]
DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def mutate_bytes(draw: random.Random, content: bytes) -> bytes:
    """`content` with a few of its bytes changed, cut, doubled, or with something put between."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        place = draw.randrange(len(changed) + 1)
        end = min(len(changed), place + draw.choice((1, 1, 2, 8, 64, 1000)))
        match draw.randrange(7):
            case 0 if place < len(changed):
                changed[place] ^= 1 << draw.randrange(8)
            case 1:
                del changed[place:end]
            case 2:
                changed[place:place] = changed[place:end]
            case 3:
                changed[place:place] = draw.choice(TOKENS)
            case 4:
                changed[place:end] = bytes(draw.randrange(256) for _ in range(end - place))
            case 5:
                del changed[place:]
            case _:
                changed[place:end] = draw.choice(TOKENS)
    return bytes(changed)


def places(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a document: values of any kind, and keys."""
    yield place
    if isinstance(document, dict):
        for key, value in document.items():
            yield (*place, key, KEY)
            yield from places(value, (*place, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from places(value, (*place, index))


def mutate_document(draw: random.Random, document: Any) -> Any:
    """A copy of a document with one to three of its fields changed."""
    changed = json.loads(json.dumps(document))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        changed = _one(draw, changed)
    return changed


def _one(draw: random.Random, document: Any) -> Any:
    every = list(places(document))
    place = draw.choice(every)
    if not place:
        return draw.choice([*copy.deepcopy(ODD), document, [document]])
    *parents, last = place
    node = document
    for part in parents[:-1] if last is KEY else parents:
        node = node[part]
    if last is KEY:
        value = node.pop(parents[-1])
        if draw.random() < 0.5:
            node[draw.choice([*STRINGS.values(), "extra", "format_version"])] = value
        return document
    node[last] = another(draw, node[last], every, document)
    return document


def another(draw: random.Random, value: Any, every: list[tuple[Any, ...]], document: Any) -> Any:
    """A value to stand in the place of another."""
    match draw.randrange(6):
        case 0:
            return draw.choice(list(STRINGS.values()))
        case 1:
            return draw.choice(NUMBERS)
        case 2:
            return copy.deepcopy(draw.choice(ODD))  # later changes go into it
        case 3 if isinstance(value, (int, float)) and not isinstance(value, bool):
            return draw.choice([value + 1, value - 1, -value, value * 2, float(value), str(value), value / 3])
        case 3 if isinstance(value, list) and value:
            return draw.choice(
                [value[1:], value + value[-1:], value[::-1], value * 3, dict(enumerate(map(str, value)))]
            )
        case 3 if isinstance(value, str):
            return draw.choice([value + "x", value[:-1], value.upper(), [value], value * 50])
        case 4:  # something from elsewhere in the document
            node = document
            for part in draw.choice(every):
                if part is KEY:
                    break
                node = node[part]
            return json.loads(json.dumps(node))
        case _:
            return nested(draw.choice((3, 63, 64, 5000)))


def nested(depth: int) -> Any:
    """Lists inside each other; deeper ones than `json` writes are kept in a string."""
    value: Any = []
    for _ in range(min(depth, 200)):
        value = [value]
    return value


def mutate_json(draw: random.Random, content: bytes) -> bytes:
    """One JSON file; strings may hold halves of surrogate pairs."""
    return json.dumps(mutate_document(draw, json.loads(content))).encode()


def mutate_lines(draw: random.Random, content: bytes) -> bytes:
    """A file of one JSON object per line."""
    lines = content.splitlines()
    place = draw.randrange(len(lines))
    lines[place] = mutate_json(draw, lines[place])
    if draw.random() < 0.2:
        draw.shuffle(lines)
    return b"\n".join(lines) + b"\n"


def mutate_toml(draw: random.Random, content: bytes) -> bytes:
    """A recipe or a space; what TOML cannot hold is left out."""
    for _ in range(1000):
        try:
            return dump_toml(mutate_document(draw, tomllib.loads(content.decode()))).encode()
        except (LutraError, AttributeError, TypeError, ValueError):  # of `dump_toml`
            continue
    raise RuntimeError("no mutant can be written as TOML")


Tensors = dict[str, tuple[str, list[int], bytes]]
"""Type, shape and bytes by name."""


def read_tensors(content: bytes) -> tuple[Tensors, dict[str, str]]:
    """The parts of a safetensors file that is whole, and its notes."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    notes = header.pop("__metadata__", {})
    body = content[8 + length :]
    return {
        name: (part["dtype"], part["shape"], body[slice(*part["data_offsets"])]) for name, part in header.items()
    }, notes


def write_tensors(tensors: Tensors, notes: dict[str, str]) -> bytes:
    """A safetensors file of these parts, whether or not they fit each other."""
    header: dict[str, Any] = {"__metadata__": notes} if notes else {}
    body = b""
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def mutate_tensors(draw: random.Random, tensors: Tensors) -> Tensors:
    """One tensor renamed, left out, of another type, shape or content."""
    changed = dict(tensors)
    name = draw.choice(list(changed))
    dtype, shape, data = changed[name]
    match draw.randrange(6):
        case 0:
            del changed[name]
        case 1:
            changed[draw.choice([*STRINGS.values(), "extra", name + "x"])] = changed.pop(name)
        case 2:
            other = draw.choice([kind for kind, size in DTYPES.items() if size == DTYPES[dtype]])
            changed[name] = (other, shape, data)
        case 3:
            flat = [len(data) // DTYPES[dtype]]
            changed[name] = (dtype, draw.choice([flat, [1, *shape], [*shape, 1], shape[::-1], [*flat, 1, 1]]), data)
        case 4:
            size = DTYPES[dtype]
            count = draw.choice((0, 1, 3, 1000))
            changed[name] = (dtype, [count], bytes(size * count))
        case _:
            fill = draw.choice((b"\0", b"\xff", b"\x7f", b"\x80"))
            end = draw.randrange(len(data) + 1)
            changed[name] = (dtype, shape, fill * end + data[end:])
    return changed
