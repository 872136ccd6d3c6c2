"""`source.json`, `plan.json` and `fit.json` of a conversion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lutra.runs.schemas.values import Count, Hash, Message, Positive, Real, Share, Versioned
from lutra.schema import Strict


class Source(Versioned):
    """What was converted."""

    model: Message
    class_: Message = Field(alias="class")
    weights_sha256: Hash
    heads: Positive | None
    text: Message
    text_sha256: Hash
    training_texts: Count
    held_out_texts: Count


class Places(Strict):
    """Which modules change, by path."""

    block: Message
    passed: list[Message]
    silent: list[Message]
    end: Message


class Found(Strict):
    """One feed-forward part, or something that looks like one."""

    path: Message
    kind: Message
    form: Message
    inputs: Count
    hidden: Count
    outputs: Count
    gated: bool
    calls: Count
    rows: Count
    weights: Count
    macs: Count
    role: Message
    convert: bool
    reason: Message
    aliases: list[Message]
    places: Places
    channels_first: bool
    block_paths: list[Message]
    parameters: list[Message]
    adds_to_input: bool


class Dense(Strict):
    """Linear weights that stay as they are."""

    path: Message
    weights: Count
    macs: Count
    kind: Literal["feed-forward", "other"]
    reason: Message


class ConversionPlan(Versioned):
    """What a conversion replaces, what not and why."""

    model: Message
    feedforward_weights: Count
    feedforward_macs: Count
    weights_left_dense: Share
    macs_left_dense: Share
    exact: bool | None
    found: list[Found]
    left_dense: list[Dense]
    notes: list[Message]


class FittedBlock(Strict):
    """How well one block imitates the part that it replaced."""

    path: Message
    tokens: Count
    massive_tokens: Count
    r2_closed_form: Real
    r2: Real


class Fit(Versioned):
    """Of all blocks."""

    blocks: list[FittedBlock]
    token_table_rom_bits: Count = 0
    """Of all blocks' tables together; they are not part of the frozen model."""
