"""Converted models on disk: weights as safetensors, beside them `lutra.json`, which says which path is which block."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor, nn

from lutra.errors import ConversionError, LutraError
from lutra.escape import brief
from lutra.limits import JSON_BYTES, TENSOR_BYTES
from lutra.models.convert import hugging_face
from lutra.models.convert.carry import carry_out
from lutra.models.convert.record_of import Conversion, conversion_of
from lutra.nn.weightless import weightless_blocks
from lutra.reading import parse_json, read_bytes
from lutra.runs.files import PREFIX, replacing, write_json

CONVERSION_FILE = "lutra.json"
WEIGHTS_FILE = "lutra.safetensors"
"""Of models that are not of Hugging Face; theirs have Hugging Face's names."""


def save_pretrained(model: nn.Module, folder: str | Path) -> None:
    """Write a converted model: its weights, `lutra.json`, and of a Hugging Face model its configuration.

    Raises:
        ConversionError: the model has not been converted by `replace_mlp`.
    """
    folder = Path(folder)
    conversion = conversion_of(model)
    if conversion is None:
        raise ConversionError(f"a {type(model).__name__} that was not converted: save it with its own library")
    if hugging_face.is_hugging_face(model):
        _save_hugging_face(model, folder)
    else:
        with replacing(folder / WEIGHTS_FILE) as temporary:
            temporary.write_bytes(dump_tensors(unshared(model)))
    write_json(folder / CONVERSION_FILE, {"model": type(model).__qualname__, **conversion.to_json()})


def _save_hugging_face(model: Any, folder: Path) -> None:
    """Write aside and move, configuration last, so that what is half written cannot be opened."""
    hugging_face.mark(model)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}model.", dir=folder) as aside:
        model.save_pretrained(aside)
        hugging_face.guard_config(Path(aside))
        written = sorted(Path(aside).iterdir(), key=lambda path: path.name == hugging_face.CONFIG_FILE)
        (folder / hugging_face.CONFIG_FILE).unlink(missing_ok=True)
        for path in written:
            path.replace(folder / path.name)


def unshared(model: nn.Module) -> dict[str, Tensor]:
    """The state dictionary without second names of one tensor (tied weights, shared modules)."""
    found: dict[str, Tensor] = {}
    seen: set[tuple[Any, ...]] = set()
    for name, tensor in model.state_dict().items():
        same = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (name,)
        if same not in seen:
            seen.add(same)
            found[name] = tensor.detach().cpu().contiguous().clone()
    return found


def from_pretrained(folder: str | Path, model: nn.Module | None = None, **options: Any) -> Any:
    """Open what `save_pretrained` wrote, equal to the bit.

    A Hugging Face model is built as the class that was saved (`options` go to its `from_pretrained`). Of any other,
    `model` must be a new one as it was before the conversion; it is converted and filled in place. The model is in
    evaluation mode.

    Raises:
        ConversionError: the folder holds no converted model, or another one than `model`.
    """
    folder = Path(folder)
    tree = _read_json(folder / CONVERSION_FILE)
    conversion = Conversion.from_json(tree, str(folder / CONVERSION_FILE))
    if model is None:
        return _open_hugging_face(folder, options)
    if options:
        raise ConversionError(f"{', '.join(options)}: only for Hugging Face models, which are built here")
    _fill(folder, model, conversion)
    return model.eval()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        tree = parse_json(read_bytes(path, JSON_BYTES))
    except OSError as error:
        raise ConversionError(f"{path.parent}: no converted model there ({path.name}: {error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{path}: not JSON ({brief(str(error))})") from None
    if not isinstance(tree, dict):
        raise ConversionError(f"{path}: an object is expected")
    return tree


def _open_hugging_face(folder: Path, options: dict[str, Any]) -> Any:
    if not (folder / hugging_face.CONFIG_FILE).exists():
        raise ConversionError(
            f"{folder}: not of Hugging Face; give a new model as it was before: from_pretrained(folder, model)"
        )
    hugging_face.register()
    names = _read_json(folder / hugging_face.CONFIG_FILE).get("architectures")
    found = hugging_face.model_class(names)
    if found is None:
        raise ConversionError(
            f"{folder}: transformers has no model class {brief(str(names))}; open it with its own from_pretrained"
        )
    try:
        opened, problems = found.from_pretrained(
            folder, output_loading_info=True, **hugging_face.WEIGHTS_ONLY, **options
        )
    except LutraError:
        raise
    except Exception as error:  # whatever transformers makes of a damaged configuration
        raise ConversionError(f"{folder}: cannot open it ({brief(' '.join(str(error).split()))})") from None
    odd = [*problems["missing_keys"], *problems["unexpected_keys"]]
    if odd:
        named = brief(", ".join(sorted(odd)[:3]), 400)
        raise ConversionError(f"{folder}: weights and configuration differ in {named}")
    return opened.eval()


def _fill(folder: Path, model: nn.Module, conversion: Conversion) -> None:
    path = folder / WEIGHTS_FILE
    try:
        tensors = parse_tensors(read_bytes(path, TENSOR_BYTES))
    except OSError as error:
        raise ConversionError(f"{path}: cannot read it ({error.strerror})") from None
    except SafetensorError as error:
        raise ConversionError(f"{path}: damaged ({brief(str(error))})") from None
    try:
        carry_out(model, list(conversion.converted))
    except (LutraError, AttributeError) as error:
        reason = brief(str(error), 400)
        raise ConversionError(f"{folder}: does not fit this {type(model).__name__} ({reason})") from None
    own = model.state_dict()
    shared = {_place(tensor): name for name, tensor in own.items() if name in tensors}
    missing = [name for name, tensor in own.items() if name not in tensors and _place(tensor) not in shared]
    wrong = [n for n, t in tensors.items() if n not in own or own[n].shape != t.shape or own[n].dtype != t.dtype]
    if missing or wrong:
        raise ConversionError(f"{path}: made for another model; they differ in {', '.join((missing + wrong)[:3])}")
    model.load_state_dict(tensors, strict=False)
    for block in weightless_blocks(model).values():
        block.refresh_()


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride()
