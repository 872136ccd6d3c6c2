"""Converted Hugging Face models in Hugging Face's own files: registered as a quantiser, refused without Lutra.

transformers lets a registered method change a model after it is built and before its weights are loaded; this is where
the blocks take their places, so that `from_pretrained` of any class gives the converted model back. Without Lutra the
entry in config.json is unknown, which is only a warning to transformers, and the feed-forward parts would be random:
therefore config.json also names a file of weights that cannot be, whose name is the message.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lutra.errors import ConversionError
from lutra.models.convert.carry import carry_out, relocated
from lutra.models.convert.plan import Found
from lutra.models.convert.record_of import Conversion, Converted, conversion_of
from lutra.nn.weightless import weightless_blocks
from lutra.runs.files import write_text

METHOD = "lutra"
MESSAGE = "this model was converted by Lutra: import lutra and open it with lutra.from_pretrained(folder)"
CONFIG_FILE = "config.json"


def is_hugging_face(model: nn.Module) -> bool:
    """Whether a model is one of transformers; does not import it."""
    return any(
        base.__module__.startswith("transformers.") and base.__name__ == "PreTrainedModel"
        for base in type(model).__mro__
    )


WEIGHTS_ONLY: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False}
"""How models of others are opened: no pickle is read, no code of theirs is run."""


def model_class(names: Any) -> Any:
    """The class of transformers that a configuration's `architectures` names first; None if it is no model's."""
    import transformers

    if not names:
        return transformers.AutoModel
    found = getattr(transformers, str(names[0]), None) if isinstance(names, list) else None
    return found if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel) else None


@functools.cache
def register() -> None:
    """Let transformers open and save converted models; done when the first one is converted or opened.

    Raises:
        ConversionError: this version of transformers has no registry of quantisers.
    """
    try:
        from transformers import PreTrainedModel
        from transformers.quantizers.auto import register_quantization_config, register_quantizer
        from transformers.quantizers.base import HfQuantizer
        from transformers.utils.quantization_config import QuantizationConfigMixin
    except ImportError as error:
        raise ConversionError(
            f"transformers cannot keep converted models ({error}); use version 4.50 or later"
        ) from None

    class LutraConfig(QuantizationConfigMixin):
        """What was done to a model, as an entry of its config.json."""

        def __init__(self, conversion: Any = None, quant_method: str = METHOD, **_: Any) -> None:
            self.quant_method: Any = quant_method
            self.conversion = conversion

    class LutraQuantizer(HfQuantizer):
        """Puts the blocks into a model before its weights are loaded."""

        is_trainable = True
        is_qat_trainable = True

        def is_serializable(self, *_: Any, **__: Any) -> bool:
            return True

        def update_attn_implementation(self, config: Any) -> Any:
            config.transformers_weights = None  # no longer the message, but whatever file is there
            return config

        def _process_model_before_weight_loading(self, model: Any, **_: Any) -> Any:
            entry: Any = self.quantization_config
            conversion = Conversion.from_json(entry.conversion, CONFIG_FILE)
            here = [_for_class(model, each) for each in conversion.converted]
            carry_out(model, [each for each in here if each is not None])
            kept = set(getattr(model, "_keep_in_fp32_modules_strict", None) or ())
            model._keep_in_fp32_modules_strict = kept | set(weightless_blocks(model))
            return model

        def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
            for block in weightless_blocks(model).values():
                block.refresh_()
            model.is_quantized = False  # an ordinary model from here on: it may be cast, trained and saved
            model.config._is_quantized = False
            if hasattr(model, "hf_quantizer"):
                del model.hf_quantizer
            mark(model)
            return model

    register_quantization_config(METHOD)(LutraConfig)
    register_quantizer(METHOD)(LutraQuantizer)
    original = PreTrainedModel.save_pretrained

    @functools.wraps(original)
    def save_pretrained(self: Any, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, save_directory, *args, **kwargs)
        if conversion_of(self) is not None:
            guard_config(Path(save_directory))
        return result

    PreTrainedModel.save_pretrained = save_pretrained  # type: ignore[method-assign]


def mark(model: Any) -> None:
    """Write into a converted model's configuration what was done to it."""
    register()
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    conversion = conversion_of(model)
    assert conversion is not None
    model.config.quantization_config = AUTO_QUANTIZATION_CONFIG_MAPPING[METHOD](conversion.to_json())


def guard_config(folder: Path) -> None:
    """Make the config.json in `folder` one that cannot be opened without Lutra."""
    path = folder / CONFIG_FILE
    if path.exists():
        tree = json.loads(path.read_text(encoding="utf-8"))
        tree["transformers_weights"] = MESSAGE
        write_text(path, json.dumps(tree, indent=2, sort_keys=True) + "\n")


def _for_class(model: Any, converted: Converted) -> Converted | None:
    """A row of a conversion in a model of perhaps another class: with or without the prefix of the base model."""
    row: Found = converted.row
    prefix = getattr(model, "base_model_prefix", "")
    for change in (lambda path: path, lambda path: path.removeprefix(f"{prefix}."), lambda path: f"{prefix}.{path}"):
        try:
            model.get_submodule(change(row.places.block))
        except AttributeError:
            continue
        return replace(converted, row=relocated(row, change))
    if row.role == "feed-forward":
        raise ConversionError(
            f"{row.path}: no such module in a {type(model).__name__}; open it as the class it was saved as"
        )
    return None
