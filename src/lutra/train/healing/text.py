"""Text models of Hugging Face and the text that they are healed on."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lutra.errors import InputError
from lutra.models.convert.hugging_face import WEIGHTS_ONLY, model_class
from lutra.recipes.convert import ConvertRecipe, TextConfig

MASKED_SHARE = 0.15
"""Of the tokens of a masked language model's text, as BERT is trained: without masks it only has to copy."""


def load_source(name: str) -> nn.Module:
    """The model with its weights, as the class it was saved as, in evaluation mode and float32.

    Raises:
        InputError: there is no such model, or it has weights missing.
    """
    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        wanted = _class_of(name) or transformers.AutoModel
        model, problems = wanted.from_pretrained(name, output_loading_info=True, dtype=torch.float32, **WEIGHTS_ONLY)
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_open(name, error) from None
    if problems["missing_keys"]:
        missing = ", ".join(sorted(problems["missing_keys"])[:3])
        raise InputError(f"{name}: has no weights for {missing}; they would be random")
    loaded: nn.Module = model.eval()
    return loaded


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Texts:
    """Batches of a recipe's text, tokenised; held-out texts are spread evenly over the file.

    For a masked language model some tokens are masked, always the same ones of a batch.
    """

    def __init__(self, recipe: ConvertRecipe) -> None:
        self.config: TextConfig = recipe.data
        self.tokenizer = _tokenizer(recipe.source.model)
        self.masked = _is_masked_language_model(recipe.source.model)
        if self.masked and self.tokenizer.mask_token_id is None:
            raise InputError(f"{recipe.source.model}: a masked language model whose tokenizer has no mask token")
        lines = read_lines(Path(recipe.data.text))
        unique = list(dict.fromkeys(lines))
        step = len(unique) / recipe.data.held_out
        if step < 2:
            raise InputError(
                f"{recipe.data.text}: {len(unique)} different lines are too few to hold {recipe.data.held_out} out; "
                "give more text or set data.held_out"
            )
        held = {int(step * (index + 0.5)) for index in range(recipe.data.held_out)}
        self.held_out = [text for index, text in enumerate(unique) if index in held]
        self.training = [text for index, text in enumerate(unique) if index not in held]

    def batches(self, texts: list[str]) -> list[dict[str, Any]]:
        """Padded batches of texts of similar length, in a fixed order; a batch of one text joins the one before."""
        size, made = self.config.batch, list[dict[str, Any]]()
        for start in range(0, len(texts), 64 * size):
            chunk = sorted(texts[start : start + 64 * size], key=len)
            parts = [chunk[i : i + size] for i in range(0, len(chunk), size)]
            if len(parts) > 1 and len(parts[-1]) == 1:
                parts[-2] += parts.pop()
            made += [self._encode(part) for part in parts]
        return made

    def _encode(self, texts: list[str]) -> dict[str, Any]:
        encoded = dict(
            self.tokenizer(
                texts,
                padding=True,
                truncation=True,
                max_length=self.config.tokens,
                return_tensors="pt",
                return_special_tokens_mask=self.masked,
            )
        )
        if self.masked:
            special = encoded.pop("special_tokens_mask").bool()
            generator = torch.Generator().manual_seed(zlib.crc32("\n".join(texts).encode()))
            hidden = (torch.rand(special.shape, generator=generator) < MASKED_SHARE) & ~special
            encoded["input_ids"] = encoded["input_ids"].masked_fill(hidden, self.tokenizer.mask_token_id)
        return encoded


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        InputError: no such file, or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _is_masked_language_model(name: str) -> bool:
    """By its class: models that also translate or summarise (BART) read whole text."""
    try:
        return str(getattr(_class_of(name), "__name__", "")).endswith("ForMaskedLM")
    except (OSError, ValueError, KeyError) as error:
        raise _cannot_open(name, error) from None


def _class_of(name: str) -> Any:
    import transformers

    return model_class(transformers.AutoConfig.from_pretrained(name, trust_remote_code=False).architectures)


def _cannot_open(name: str, error: Exception) -> InputError:
    return InputError(f"{name}: cannot open it as a Hugging Face model ({str(error).splitlines()[0][:160]})")


def _tokenizer(name: str) -> Any:
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"{name}: has no tokenizer ({str(error).splitlines()[0][:160]})") from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
