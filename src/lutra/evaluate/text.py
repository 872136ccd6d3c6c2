"""Text from a trained language model."""

from __future__ import annotations

import torch

from lutra.data.text import decode, encode
from lutra.freeze.whole import FrozenGpt
from lutra.models.gpt import GPT


def generate_text(
    model: GPT | FrozenGpt,
    prompt: str,
    characters: str,
    *,
    max_new_characters: int = 500,
    temperature: float = 0.8,
    top_k: int | None = None,
    seed: int = 1337,
) -> str:
    """`prompt` and what the model makes of it; the same arguments give the same text.

    An empty prompt starts at a new line. `characters` is the model's vocabulary (`CharacterData.characters`).

    Raises:
        InputError: a character that the model does not know, or sampling options out of range (`GPT.generate`).
    """
    device = model.lm_head.weight.device if isinstance(model, GPT) else torch.device("cpu")
    start = encode(prompt or "\n", characters).to(device)[None]
    generator = torch.Generator(device=device).manual_seed(seed)
    tokens = model.eval().generate(start, max_new_characters, temperature, top_k, generator)
    return decode(tokens[0], characters)[0 if prompt else 1 :]
