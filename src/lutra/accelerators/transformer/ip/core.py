"""The transformer machine of a model between two streams: what its ports, its registers and its driver are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lutra.accelerators.transformer.config import EXPONENTIALS, TABLE_ENTRIES, TransformerConfig
from lutra.accelerators.transformer.emit import TOP
from lutra.accelerators.transformer.image import Image
from lutra.accelerators.transformer.program import Op, Step, Target
from lutra.errors import InputError
from lutra.frozen.ops import Embedding, Patches
from lutra.hardware.axi.ports import Interface
from lutra.hardware.axi.streams import NARROWEST_BUS

TOKEN_BITS = 16
WORD_BITS = 32
"""Of what a packet for the memories consists of."""


@dataclass(frozen=True)
class Session:
    """The two streams around a machine, in units of which all of their beats are made."""

    input_bits: int
    """Of what the machine takes in a cycle: a token, or a word of pixels."""
    logit_bits: int
    """Of a beat of its logits."""

    @property
    def in_bits(self) -> int:
        return max(NARROWEST_BUS, self.input_bits)

    @property
    def out_bits(self) -> int:
        return max(NARROWEST_BUS, self.logit_bits)

    @property
    def unit_bits(self) -> int:
        """The smaller of a word for the memories and a beat of the input."""
        return min(WORD_BITS, self.input_bits)

    @property
    def count_bits(self) -> int:
        """Of a number of units that wait on either side (lutra_repack)."""
        large = max(WORD_BITS, self.input_bits) // self.unit_bits
        waiting = (self.in_bits // self.unit_bits + 2 * large - 1, self.out_bits // self.logit_bits + 2)
        return max(waiting).bit_length()


@dataclass(frozen=True, eq=False)
class MachineCore:
    """A whole model on its machine, as an IP core."""

    name: str
    """Of the IP core and of its top module."""
    image: Image
    machine: str = TOP
    """Its machine's module."""

    @property
    def config(self) -> TransformerConfig:
        return self.image.config

    @property
    def tokens(self) -> int:
        """How many tokens the model knows; 0 where it takes images."""
        first = self.image.program.ops[0]
        return len(first.tokens) if isinstance(first, Embedding) else 0

    @property
    def patches(self) -> Patches | None:
        """How an image is cut; None where the model takes tokens."""
        first = self.image.program.ops[0]
        return first if isinstance(first, Patches) else None

    @property
    def rows(self) -> int:
        """Of the longest sequence; of every sequence where it comes whole."""
        if self.image.whole_rows is not None:
            return self.image.whole_rows
        return min(self.config.rows, self.image.program.context or self.config.rows)

    @property
    def input_rows(self) -> int:
        """Rows of the input stream of a sequence that comes whole."""
        return next(step.rows or self.rows for step in self.image.steps if step.op == Op.PIXELS)

    @property
    def row_beats(self) -> int:
        """Beats of the machine's input per row."""
        return next((step.inner for step in self.image.steps if step.op == Op.PIXELS), 1)

    @property
    def pixel_bytes(self) -> int:
        """Of a pixel on the stream: a machine that takes one in a cycle takes it in 16 bits."""
        return self.config.input_bits // (8 * self.config.lanes)

    @property
    def logits(self) -> Step:
        """The step whose results leave."""
        return next(step for step in self.image.steps if step.op == Op.PRODUCT and step.target == Target.LOGITS)

    @cached_property
    def logit_columns(self) -> int:
        """Of the model; the machine's have padding behind them."""
        columns = self.image.places[self.logits.name].columns
        if not np.array_equal(columns, np.arange(len(columns))):
            raise InputError(f"{self.name}: {self.logits.name} does not lie side by side in the machine")
        return len(columns)

    @property
    def session(self) -> Session:
        return Session(TOKEN_BITS if self.tokens else self.config.input_bits, 16 * self.config.lanes)

    @property
    def session_parameters(self) -> dict[str, int | str]:
        """Of `lutra_transformer_session`."""
        c, s = self.config, self.session
        parts = [-(-bits // WORD_BITS) for bits in c.word_bits.values()]
        words = {
            "program": c.program_words,
            "weights": c.weight_words,
            "constants": c.constant_words,
            "norms": c.norm_words,
            "tokens": c.token_words,
            "positions": c.position_words,
            "exponentials": EXPONENTIALS,
            "tables": TABLE_ENTRIES * c.tables,
        }
        return {
            "InputBits": s.input_bits,
            "InBits": s.in_bits,
            "LogitBits": s.logit_bits,
            "OutBits": s.out_bits,
            "InUnits": s.in_bits // s.unit_bits,
            "LargeUnits": max(WORD_BITS, s.input_bits) // s.unit_bits,
            "LargeWord": int(s.input_bits < WORD_BITS),
            "OutUnits": s.out_bits // s.logit_bits,
            "CountBits": s.count_bits,
            "RowBeats": self.row_beats,
            "Tokens": self.tokens,
            "LoadBits": c.load_bits,
            "Parts": -(-c.load_bits // WORD_BITS),
            "WordParts": _packed(parts, 8),
            "Words": _packed([words[name] for name in c.word_bits], 32),
        }

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """Its streams."""
        return (
            Interface("s_axis", "stream in", self.session.in_bits),
            Interface("m_axis", "stream out", self.session.out_bits),
        )

    @property
    def description(self) -> str:
        """What it is, in a line."""
        size = self.config.size
        return f"A quasi-weightless transformer whole, on an array of {size} x {size}, behind AXI4-Stream"


def _packed(values: list[int], bits: int) -> str:
    """A constant of numbers side by side, the first in the lowest bits."""
    digits = bits // 4
    return f"{bits * len(values)}'h" + "".join(f"{value:0{digits}x}" for value in reversed(values))
