"""Tiny Shakespeare by characters, split as nanoGPT splits it: the first 90 % trains, the rest validates.

Batches are a pure function of (seed, iteration), so that training resumes exactly without any sampler state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import torch
from torch import Tensor

from lutra.errors import InputError

_BATCH_STREAM = 1
"""Keeps the draws of batches apart from other draws of the same recipe seed and iteration."""


@dataclass(frozen=True)
class CharacterData:
    """A text as character numbers: `train` and `validation` are (N,) int64, numbers index `characters`."""

    characters: str
    train: Tensor
    validation: Tensor


@cache
def load_shakespeare() -> CharacterData:
    """The text that comes with the package: 1,115,394 characters, 65 different ones, 111,540 of them validate."""
    text = resources.files("lutra.data").joinpath("tinyshakespeare.txt").read_text(encoding="utf-8")
    characters = "".join(sorted(set(text)))
    tokens = encode(text, characters)
    split = int(0.9 * len(tokens))
    return CharacterData(characters, tokens[:split], tokens[split:])


DATASETS: dict[str, Callable[[], CharacterData]] = {"shakespeare-char": load_shakespeare}
"""Every text by the name that recipes give it (`data.dataset`)."""


def load_dataset(name: str) -> CharacterData:
    """The text called `name`.

    Raises:
        InputError: there is no such text.
    """
    if name not in DATASETS:
        raise InputError(f"data.dataset: there is no text {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]()


def encode(text: str, characters: str) -> Tensor:
    """Numbers of the characters of `text`, (len(text),) int64.

    Raises:
        InputError: a character that the vocabulary does not have.
    """
    number = {character: index for index, character in enumerate(characters)}
    try:
        return torch.tensor([number[character] for character in text], dtype=torch.int64)
    except KeyError:
        position = next(index for index, character in enumerate(text) if character not in number)
        known = "".join(characters.split())
        raise InputError(
            f"character {text[position]!r} at position {position} is unknown to the model; "
            f"it knows blanks, line ends and {known}"
        ) from None


def decode(tokens: Tensor, characters: str) -> str:
    """The text of character numbers, (N,) integers.

    Raises:
        InputError: a number outside the vocabulary.
    """
    numbers = tokens.tolist()
    if bad := [number for number in numbers if not 0 <= number < len(characters)]:
        raise InputError(f"character number {bad[0]} is outside 0 to {len(characters) - 1}")
    return "".join(characters[number] for number in numbers)


def training_batch(tokens: Tensor, seed: int, iteration: int, batch: int, context: int) -> tuple[Tensor, Tensor]:
    """Inputs and next characters of random windows, each (batch, context) int64: the same for the same arguments.

    Raises:
        InputError: the text is not longer than the context.
    """
    if len(tokens) <= context:
        raise InputError(f"a text of {len(tokens)} characters is too short for a context of {context}")
    rng = np.random.default_rng((seed, _BATCH_STREAM, iteration))
    starts = torch.from_numpy(rng.integers(0, len(tokens) - context, size=(batch, 1)))
    windows = tokens[starts + torch.arange(context + 1)]  # (batch, context + 1)
    return windows[:, :-1], windows[:, 1:]


def validation_windows(tokens: Tensor, batch: int, context: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every prediction that the text offers, once: non-overlapping windows, up to `batch` of them at a time.

    N characters hold N - 1 predictions (the first character has nothing before it). What remains after the last whole
    window comes at the end as one shorter window.

    Yields:
        inputs and next characters, each (up to batch, context), at the end (1, remainder).
    """
    predictions = len(tokens) - 1
    whole = predictions // context * context
    inputs, targets = tokens[:-1], tokens[1:]
    yield from zip(
        inputs[:whole].view(-1, context).split(batch), targets[:whole].view(-1, context).split(batch), strict=True
    )
    if whole < predictions:
        yield inputs[None, whole:], targets[None, whole:]
