"""The WordPiece tokenizer of a BERT's folder; every option that the folder states is honoured or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import BertWordPieceTokenizer, Tokenizer

from lutra.errors import InputError
from lutra.escape import brief
from lutra.limits import JSON_BYTES
from lutra.names import shown
from lutra.reading import parse_json, read_bytes

_NORMALISER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""Options of tokenizer_config.json, and what a `BertNormalizer` calls them."""
_SPECIAL = ("unk_token", "sep_token", "cls_token", "pad_token", "mask_token")
_ONLY: dict[str, tuple[Any, ...]] = {
    "do_basic_tokenize": (True,),
    "never_split": (None, []),
    "padding_side": ("right",),
    "truncation_side": ("right",),
    "pad_token_type_id": (0,),
    "truncation_strategy": ("longest_first",),
    "stride": (0,),
    "additional_special_tokens": (None, []),
    "extra_special_tokens": (None, [], {}),
    "tokenizer_class": (
        None, "BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend",
        "DistilBertTokenizer", "DistilBertTokenizerFast",
    ),
}  # fmt: skip
"""Options that would change what becomes of a text, and the values with which they do not."""
_WITHOUT_EFFECT = {
    "added_tokens_decoder", "backend", "clean_up_tokenization_spaces", "is_local", "local_files_only", "max_len",
    "max_length", "model_input_names", "model_max_length", "name_or_path", "pad_to_multiple_of",
    "special_tokens_map_file", "tokenizer_file", "vocab_file", "return_token_type_ids", "return_attention_mask",
}  # fmt: skip
"""Options that say nothing about how a text is cut: of writing text back, of padding, of where the file came from."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """The WordPiece tokenizer of a BERT's folder, from tokenizer.json or vocab.txt, without padding or truncation.

    tokenizer_config.json, where there is one, says how vocab.txt is used, and must agree with tokenizer.json.

    Raises:
        InputError: neither file is there, it is not one of a tokenizer, or an option that is not supported.
    """
    whole, vocabulary = folder / "tokenizer.json", folder / "vocab.txt"
    options = _options(folder / "tokenizer_config.json")
    try:
        if whole.is_file():
            tokenizer = Tokenizer.from_file(str(whole))
        elif vocabulary.is_file():
            made = BertWordPieceTokenizer(
                str(vocabulary),
                **{name: options[name] for name in _SPECIAL if name in options},
                **{ours: options[name] for name, ours in _NORMALISER.items() if name in options},
            )
            tokenizer = Tokenizer.from_str(made.to_str())
        else:
            raise InputError(f"{folder}: neither tokenizer.json nor vocab.txt is there; give a folder of a BERT")
    except InputError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise InputError(f"{folder}: not a tokenizer ({brief(str(error))})") from None
    if whole.is_file():
        _require_agreement(json.loads(tokenizer.to_str()), options, whole)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _options(path: Path) -> dict[str, Any]:
    """What tokenizer_config.json says, special tokens as text; {} without the file."""
    if not path.is_file():
        return {}
    try:
        options = parse_json(read_bytes(path, JSON_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(options, dict):
        raise InputError(f"{path}: not a configuration, an object of options is expected")
    for name in _SPECIAL:
        if isinstance(options.get(name), dict):  # an "added token" with its own options
            options[name] = options[name].get("content")
        if name in options and not isinstance(options[name], str):
            raise InputError(f"{path}: {name} is no text")
    for name in _NORMALISER:
        if options.get(name) is None:
            options.pop(name, None)  # null: the default
        elif not isinstance(options[name], bool):
            raise InputError(f"{path}: {name} is neither true nor false")
    for name, value in options.items():
        if name in _ONLY and value not in _ONLY[name]:
            raise InputError(f"{path}: {name} is {shown(str(value))}, which is not supported")
        if name not in _ONLY and name not in _WITHOUT_EFFECT and name not in _NORMALISER and name not in _SPECIAL:
            raise InputError(f"{path}: the option {shown(name)} is not known; remove it if it changes no token")
    return options


def _require_agreement(made: dict[str, Any], options: dict[str, Any], path: Path) -> None:
    """tokenizer.json is whole by itself; what tokenizer_config.json says of the same may not differ."""
    normaliser = made.get("normalizer") or {}
    if normaliser.get("type") != "BertNormalizer":
        return
    for name, inside in _NORMALISER.items():
        if name in options and normaliser.get(inside) not in (None, options[name]):
            raise InputError(
                f"{path}: its normalizer has {inside} {normaliser[inside]}, tokenizer_config.json beside it says "
                f"{name} {options[name]}; make them agree"
            )
