"""Models as they are named on the command line, and an example of what each is called with."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lutra.errors import InputError
from lutra.models.convert.hugging_face import model_class

Example = tuple[tuple[Any, ...], dict[str, Any]]


def load_structure(name: str, tokens: int = 16) -> tuple[nn.Module, Example]:
    """A model by its name, without its weights where that is possible, and an example of two rows or more.

    `name` is a folder or hub name with a Hugging Face config.json, `timm:NAME`, or `package.module:function`, a
    function without arguments that returns a model, or a model and what it is called with (a tuple or a dictionary).

    Raises:
        InputError: there is no such model, or nothing is known about how to call it.
    """
    if name.startswith("timm:"):
        return _timm(name.removeprefix("timm:"))
    if ":" in name and not Path(name).exists():
        return _function(name)
    return _hugging_face(name, tokens)


def _hugging_face(name: str, tokens: int) -> tuple[nn.Module, Example]:
    try:
        import transformers
    except ModuleNotFoundError:
        raise InputError(f"{name}: needs transformers; pip install transformers") from None
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0][:160]
        raise InputError(
            f"{name}: no Hugging Face model, folder with config.json, timm:NAME or module:function ({why})"
        ) from None
    kind = model_class(config.architectures) if config.architectures else None
    try:
        with torch.device("meta"):
            build: Any = kind if kind is not None else transformers.AutoModel.from_config
            model = build(config)
            if any(parameter.dim() == 3 for parameter in model.parameters()):
                model.to(torch.bfloat16)  # the only type for which grouped products of experts have a shape alone
            return model.eval(), ((), example_of(model, tokens))
    except (ValueError, KeyError, NotImplementedError, RuntimeError, ImportError) as error:
        raise InputError(f"{name}: cannot build it ({str(error).splitlines()[0][:160]})") from None


def example_of(model: Any, tokens: int = 16, rows: int = 2) -> dict[str, Tensor]:
    """What a Hugging Face model is called with, by its main input: random tokens, pixels or sound.

    Raises:
        InputError: the main input is of another kind.
    """
    config, name = model.config, model.main_input_name
    vision = getattr(config, "vision_config", config)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    generator = torch.Generator(device="cpu").manual_seed(0)

    def ids() -> Tensor:
        with torch.device("cpu"):
            drawn = torch.randint(2, max(3, int(getattr(text, "vocab_size", 100))), (rows, tokens), generator=generator)
        return drawn.to(next(model.parameters()).device)

    def normal(*shape: int) -> Tensor:
        with torch.device("cpu"):
            drawn = torch.randn(shape, generator=generator)
        parameter = next(model.parameters())
        return drawn.to(parameter.device, parameter.dtype)

    channels = int(getattr(vision, "num_channels", 3))
    if name in ("input_ids", "inputs"):
        example = {name: ids()}
    elif name == "pixel_values":
        size = getattr(vision, "image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        example = {name: normal(rows, channels, int(height), int(width))}
        if "input_ids" in inspect.signature(model.forward).parameters:
            example["input_ids"] = ids()
    elif name == "input_values":
        example = {name: normal(rows, 16000)}
    elif name == "input_features":
        mel = int(getattr(config, "num_mel_bins", 80))
        example = {name: normal(rows, mel, 2 * int(getattr(config, "max_source_positions", 1500)))}
    else:
        raise InputError(
            f"{type(model).__name__} is called with {name}: give a function that returns model and example"
        )
    if getattr(config, "is_encoder_decoder", False):
        example["decoder_input_ids"] = ids()
    return example


def _timm(name: str) -> tuple[nn.Module, Example]:
    try:
        timm = importlib.import_module("timm")
    except ModuleNotFoundError:
        raise InputError(f"timm:{name}: needs timm; pip install timm") from None
    try:
        with torch.device("cpu"):
            model = timm.create_model(name).eval()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"timm:{name}: {str(error).splitlines()[0][:160]}") from None
    size = model.default_cfg.get("input_size", (3, 224, 224))
    return model, ((torch.randn(2, *size, generator=torch.Generator().manual_seed(0)),), {})


def _function(name: str) -> tuple[nn.Module, Example]:
    module, _, function = name.partition(":")
    try:
        built = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise InputError(f"{name}: {error}") from None
    if isinstance(built, nn.Module):
        if not hasattr(built, "main_input_name"):
            raise InputError(f"{name}: must return the model and what it is called with, such as (model, (x,))")
        return built, ((), example_of(built))
    model, example = built
    if isinstance(example, dict):
        return model, ((), example)
    return model, ((tuple(example) if isinstance(example, (tuple, list)) else (example,)), {})
