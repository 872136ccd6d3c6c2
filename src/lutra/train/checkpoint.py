"""Checkpoints: safetensors with a checksum and JSON metadata; nothing is pickled.

`last.safetensors` holds weights under their own names and the optimiser's state under `optimiser/`, in one file, so
that a process killed at any moment leaves a pair that fits. `best.safetensors` holds weights only.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from lutra.data.text import load_dataset
from lutra.errors import CheckpointError
from lutra.escape import brief
from lutra.limits import TENSOR_BYTES
from lutra.models.gpt import GPT
from lutra.models.vit import VisionTransformer
from lutra.models.zoo import create_model, create_vision_model
from lutra.reading import parse_json, read_bytes
from lutra.recipes.language import load_recipe
from lutra.recipes.vision import load_vision_recipe
from lutra.runs.files import RunFiles, replacing
from lutra.schema import explain

STATE = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""Of dataclasses for `state_of`."""
OPTIMISER_PREFIX = "optimiser/"

Trainable = GPT | VisionTransformer
"""The models that are trained in one go; each says which tensors its checkpoint has."""


def save_checkpoint(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and JSON-serialisable metadata to `path`, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(metadata, allow_nan=False)
    header = {"lutra": text, "sha256": _checksum(plain, text)}
    with replacing(path) as temporary:
        temporary.write_bytes(dump_tensors(plain, metadata=header))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and metadata of a checkpoint.

    Raises:
        CheckpointError: the file is missing, is not a checkpoint of Lutra, or is corrupted.
    """
    try:
        content = read_bytes(path, TENSOR_BYTES)
        tensors = parse_tensors(content)
        (header_length,) = struct.unpack("<Q", content[:8])
        header = parse_json(content[8 : 8 + header_length])["__metadata__"]
        text, checksum = header["lutra"], header["sha256"]
        metadata = parse_json(text.encode())
        if not isinstance(metadata, dict):
            raise ValueError("its notes are not an object")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read it ({error.strerror}); run `lutra train` first") from None
    except (
        *(SafetensorError, ValueError, KeyError, TypeError),
        *(AttributeError, RecursionError, struct.error),
    ) as error:
        reason = brief(" ".join(str(error).split()))
        raise CheckpointError(f"{path}: not a checkpoint, or corrupted ({reason}); delete it and train again") from None
    if _checksum(tensors, text) != checksum:
        raise CheckpointError(f"{path}: corrupted, its checksum differs; delete it and train again")
    return tensors, metadata


State = TypeVar("State")


def state_of(metadata: dict[str, Any], kind: type[State], path: Path) -> State:
    """What a checkpoint remembers beside tensors, as the dataclass `kind`, which checks types and ranges.

    Raises:
        CheckpointError: it remembers something else.
    """
    try:
        return kind(**metadata["state"])
    except ValidationError as error:
        reason = explain(error)
    except (KeyError, TypeError) as error:
        reason = brief(str(error))
    raise CheckpointError(f"{path}: not written by this version ({reason}); delete it and train again")


def load_model(files: RunFiles, which: str = "best") -> GPT:
    """The trained model of a run in evaluation mode, on the CPU.

    `which` is "best", the smallest validation loss (among evaluations with integer blocks, once there is one), or
    "last", where training stands.

    Raises:
        RecipeError: the run's recipe.toml is missing or invalid.
        CheckpointError: the checkpoint is missing, corrupted, or made for another architecture.
    """
    path = {"best": files.best_checkpoint, "last": files.last_checkpoint}[which]
    recipe = load_recipe(files.recipe)
    tensors, _ = read_checkpoint(path)
    model = create_model(recipe, len(load_dataset(recipe.data.dataset).characters))
    load_weights(model, tensors, path)
    return model.eval()


def load_vision_model(files: RunFiles, which: str = "best") -> VisionTransformer:
    """As `load_model`, of a run of kind vision; "best" is the last model that was evaluated.

    Raises:
        RecipeError, CheckpointError: as `load_model`.
    """
    path = {"best": files.best_checkpoint, "last": files.last_checkpoint}[which]
    tensors, _ = read_checkpoint(path)
    model = create_vision_model(load_vision_recipe(files.recipe))
    load_weights(model, tensors, path)
    return model.eval()


def load_weights(model: Trainable, tensors: dict[str, Tensor], path: Path) -> None:
    """Fill `model` with a checkpoint's weights; `path` is for the message.

    Raises:
        CheckpointError: a tensor is missing, unexpected, or of another shape.
    """
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(OPTIMISER_PREFIX)}
    if any(tensor.isnan().any() for tensor in weights.values() if tensor.is_floating_point()):
        raise CheckpointError(f"{path}: holds a weight that is no number; delete it and train again")
    expected = model.weights()
    for name in sorted(expected.keys() | weights.keys()):
        there, wanted = (_describe(group.get(name)) for group in (weights, expected))
        if there != wanted:
            raise CheckpointError(
                f"{path}: made for another architecture: {brief(name)} is {there} there, the recipe wants {wanted}"
            )
    model.load_weights(weights)


def _describe(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _checksum(tensors: dict[str, Tensor], text: str) -> str:
    """SHA-256 over the metadata text and over name, type, shape and bytes of every tensor in name order."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {_describe(tensor)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
