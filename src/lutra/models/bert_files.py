"""BERT on disk: Hugging Face checkpoint folders are read; our own folders are written and read.

A folder of ours holds `config.json` (model_type "lutra-bert") and `model.safetensors`, in which a packed model takes
one bit per binary weight.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from lutra.errors import CheckpointError, InputError
from lutra.escape import brief
from lutra.limits import JSON_BYTES, TENSOR_BYTES
from lutra.models.bert import Bert, load_weights
from lutra.names import shown
from lutra.nn.binary_linear import PackedWeight, prepare_packed_
from lutra.reading import parse_json, read_bytes
from lutra.recipes.bert_config import BertConfig
from lutra.runs.files import replacing, write_json
from lutra.schema import explain

logger = logging.getLogger("lutra")

_OUR_TYPE = "lutra-bert"
_HUGGING_FACE_NAMES = (
    (r"^bert\.", ""),
    (r"LayerNorm\.gamma$", "LayerNorm.weight"),  # the names of the oldest checkpoints
    (r"LayerNorm\.beta$", "LayerNorm.bias"),
    (r"^embeddings\.(word|position|token_type)_embeddings\.", r"embeddings.\1."),
    (r"^embeddings\.LayerNorm\.", "embeddings.norm."),
    (r"^encoder\.layer\.", "layers."),
    (r"\.attention\.self\.", ".attention."),
    (r"\.attention\.output\.dense\.", ".attention.output."),
    (r"\.attention\.output\.LayerNorm\.", ".attention.norm."),
    (r"^(layers\.\d+)\.intermediate\.dense\.", r"\1.feed_forward.intermediate."),
    (r"^(layers\.\d+)\.output\.dense\.", r"\1.feed_forward.output."),
    (r"^(layers\.\d+)\.output\.LayerNorm\.", r"\1.feed_forward.norm."),
    (r"^pooler\.dense\.", "pooler."),
)
_NEW_FOR_A_TASK = ("classifier.weight", "classifier.bias", "pooler.weight", "pooler.bias")
"""What a pretrained checkpoint may lack: it is drawn anew."""
_WRAPPERS = r"^(module|_orig_mod)\."
"""What DataParallel and torch.compile put before every name."""
_PRETRAINING_HEADS = r"cls\.(predictions|seq_relationship)\."
_BUFFERS = ("embeddings.position_ids", "bert.embeddings.position_ids", "embeddings.token_type_ids")
"""Counted up again, not learned."""
_ONLY: dict[str, tuple[Any, str]] = {
    "position_embedding_type": ("absolute", "only absolute positions can be loaded"),
    "is_decoder": (False, "its attention looks back only; only encoders can be loaded"),
    "add_cross_attention": (False, "only encoders can be loaded"),
    "quantization_config": (None, "its weights are quantised; save it dequantised"),
    "pruned_heads": ({}, "heads that were pruned are not supported; save it with the weights that are left"),
}
"""Settings of Hugging Face that must have this value, and what another one means."""


def load_bert(folder: Path, outputs: int | None = None, seed: int = 0) -> Bert:
    """The model in a Hugging Face BERT folder (in float) or in a folder of `save_bert`, in evaluation mode, on the CPU.

    `outputs` are the classes of the task; without it, what the folder says, else 2. A classifier for another number of
    outputs, or none, is drawn from `seed`; so is a pooler where there is none.

    Raises:
        CheckpointError: a file is missing or damaged, not a BERT, or weights that do not fit the configuration.
    """
    settings = _read_config(folder / "config.json")
    if wanted := _missing(settings):
        raise CheckpointError(f"{folder / 'config.json'}: has no {wanted}; fetch the whole folder of the model again")
    weights = _read_tensors(folder / "model.safetensors")
    try:
        if settings.get("model_type") == _OUR_TYPE:
            return _load_ours(settings, weights, outputs)
        return _load_hugging_face(settings, weights, outputs, seed)
    except ValidationError as error:
        raise CheckpointError(f"{folder}: not a BERT that can be loaded ({explain(error)})") from None
    except (
        *(InputError, RuntimeError, KeyError),
        *(TypeError, ValueError, AttributeError, ArithmeticError, MemoryError),
    ) as error:
        reason = brief(" ".join(str(error).split()), 600)
        raise CheckpointError(f"{folder}: not a BERT that can be loaded ({reason})") from None


_SETTINGS = (
    *("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size"),
    *("max_position_embeddings", "type_vocab_size", "hidden_act", "hidden_dropout_prob", "layer_norm_eps"),
)
"""What is read of a Hugging Face config.json."""


def _missing(settings: dict[str, Any]) -> str:
    if "model_type" not in settings:
        return "model_type, which says what the model is"
    wanted = ("bert", "packed") if settings["model_type"] == _OUR_TYPE else _SETTINGS
    other = settings["model_type"] not in (_OUR_TYPE, "bert")  # refused below, by its name
    return "" if other else ", ".join(name for name in wanted if name not in settings)


def save_bert(model: Bert, folder: Path) -> None:
    """Write `model`, float, in training or packed; `load_bert` gives the same outputs to the bit."""
    packed = any(isinstance(module, PackedWeight) for module in model.modules())
    config = model.config.model_dump(mode="json")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(folder / "model.safetensors") as temporary:
        temporary.write_bytes(dump_tensors(tensors))
    write_json(folder / "config.json", {"model_type": _OUR_TYPE, "packed": packed, "bert": config})


def _load_ours(settings: dict[str, Any], weights: dict[str, Tensor], outputs: int | None) -> Bert:
    config = BertConfig.model_validate(settings["bert"])
    if outputs not in (None, config.outputs):
        raise InputError(f"it has {config.outputs} outputs, {outputs} are wanted")
    model = Bert(config)
    if settings["packed"]:
        prepare_packed_(model)
    model.load_state_dict(weights)
    return model.eval()


def _load_hugging_face(settings: dict[str, Any], weights: dict[str, Tensor], outputs: int | None, seed: int) -> Bert:
    _require_encoder(settings)
    renamed = _our_weights(weights)
    classifier = renamed.get("classifier.weight")
    found_outputs = 2 if classifier is None else len(classifier)
    width, heads = settings["hidden_size"], settings["num_attention_heads"]
    if width % heads:
        raise InputError(f"hidden_size {width} is no multiple of num_attention_heads {heads}")
    config = BertConfig(
        layers=settings["num_hidden_layers"],
        heads=heads,
        head_width=width // heads,
        width=width,
        intermediate=settings["intermediate_size"],
        vocabulary=settings["vocab_size"],
        positions=settings["max_position_embeddings"],
        token_types=settings["type_vocab_size"],
        activation=settings["hidden_act"],
        dropout=settings["hidden_dropout_prob"],
        layer_norm_epsilon=settings["layer_norm_eps"],
        outputs=outputs or found_outputs,
    )
    model = Bert(config, seed)
    if config.outputs != found_outputs:
        renamed = {name: tensor for name, tensor in renamed.items() if not name.startswith("classifier.")}
    fresh = {name: model.state_dict()[name] for name in _NEW_FOR_A_TASK if name not in renamed}
    if fresh:
        logger.info("not in the checkpoint, drawn from seed %d: %s", seed, ", ".join(fresh))
    _require_all_used(model, renamed)
    load_weights(model, {**renamed, **fresh})
    return model.eval()


def _require_encoder(settings: dict[str, Any]) -> None:
    """Refuse what would be another network than the one that is built here."""
    if settings["model_type"] != "bert":
        raise InputError(f"only model_type bert can be loaded, this is {shown(str(settings['model_type']))}")
    for name, (right, meaning) in _ONLY.items():
        if settings.get(name, right) != right:
            raise InputError(f"{name} is {shown(str(settings[name]))}: {meaning}")


def _our_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names, in float32; heads of pretraining are left out, and said."""
    integers = [name for name, tensor in weights.items() if not tensor.is_floating_point() and name not in _BUFFERS]
    narrow = [name for name, tensor in weights.items() if tensor.is_floating_point() and tensor.element_size() < 2]
    if integers or narrow:
        name = (integers + narrow)[0]
        kind = str(weights[name].dtype).removeprefix("torch.")
        raise InputError(f"{name} holds {kind} codes of a quantised model, not weights; save it dequantised")
    renamed: dict[str, Tensor] = {}
    heads = []
    for name, tensor in weights.items():
        ours = _our_name(name)
        if ours in renamed:
            raise InputError(f"{name} is there twice, under two prefixes")
        if re.match(_PRETRAINING_HEADS, ours):
            heads.append(name)
        elif ours not in _BUFFERS:
            renamed[ours] = tensor.float()
    if heads:
        logger.info("heads of pretraining are not used: %s", ", ".join(heads))
    return renamed


def _require_all_used(model: Bert, weights: dict[str, Tensor]) -> None:
    """Refuse tensors that the model has no place for: adapters, scales, layers that config.json does not count."""
    surplus = sorted(weights.keys() - model.state_dict().keys())
    if surplus:
        more = f" and {len(surplus) - 3} more" if len(surplus) > 3 else ""
        raise InputError(
            f"the checkpoint also holds {', '.join(surplus[:3])}{more}, which a BERT of this config.json has no place "
            "for (adapters? more layers?); merge adapters into the weights, or mend config.json"
        )


def _our_name(name: str) -> str:
    while (shorter := re.sub(_WRAPPERS, "", name)) != name:
        name = shorter
    for pattern, replacement in _HUGGING_FACE_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _read_config(path: Path) -> dict[str, Any]:
    try:
        settings = parse_json(read_bytes(path, JSON_BYTES))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read it ({error.strerror}); give a folder of a BERT") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON ({brief(str(error))})") from None
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path}: not a configuration, an object of settings is expected")
    return settings


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return parse_tensors(read_bytes(path, TENSOR_BYTES))
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot read it ({error.strerror}); convert a pytorch_model.bin to safetensors first"
        ) from None
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not safetensors, or damaged ({brief(str(error))}); fetch it again") from None


def find_checkpoint(name: str) -> Path:
    """The folder of a BERT: `name` itself, that of an installed Python package, or one from the Hugging Face hub.

    Raises:
        InputError: there is none of them, or the hub does not answer.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    try:
        files = importlib.metadata.files(name) or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        files = []
    found = [Path(str(file.locate())).parent for file in files if file.name == "model.safetensors"]
    if found:
        return found[0]
    if files:
        raise InputError(f"{name}: the installed package carries no model.safetensors")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError(f"{name}: no such folder and no installed package; for the hub, install huggingface_hub")
    return _fetch(name)


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download

    # The hub's client raises errors of several libraries for a wrong name or a missing network.
    wanted = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: no such folder, no installed package, and not on the hub ({reason})") from None
