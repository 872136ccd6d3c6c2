"""The one configuration of BAT: RTL, compiler, latency model, bench and search all read it and nothing else.

Run-time sizes (tokens of a sentence, heads and widths of a model) come from the program and may be smaller than what is
configured here; parallelisms, activation bits and the largest sizes are fixed when the RTL is written.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from lutra.errors import InputError
from lutra.escape import LONGEST_MESSAGE, brief
from lutra.frozen.bert import LARGEST_WIDTH
from lutra.recipes.bert_config import BertConfig

Sums = Literal["count", "pe"]
"""How a dot product unit adds: ones counted per bit of x, or the paper's processing elements and compressor tree."""

Kind = TypeVar("Kind")

ACTIVATION_BITS = (1, 2, 4, 8)
BYTE_BITS = 8


@dataclass(frozen=True)
class ModuleConfig:
    """Parallelism of one module.

    Raises:
        InputError: a value out of range.
    """

    p_dpu: int
    """Dot product units of the engine."""
    p_quan: int
    """Lanes of the quantisation unit."""
    p_vu: int
    """Lanes of the vector unit."""
    p_ln: int
    """Lanes of the layer normalisation."""
    p_pe: int = 128
    """Products that a dot product unit adds per cycle; the paper does not say how many."""
    p_softmax: int = 4
    """Lanes of the softmax; only a module that runs attention has one."""

    def __post_init__(self) -> None:
        largest = {"p_dpu": 128, "p_quan": 256, "p_vu": 256, "p_ln": 128, "p_pe": 512, "p_softmax": 64}
        for name, limit in largest.items():
            value = getattr(self, name)
            if not _is_count(value) or not 1 <= value <= limit:
                raise InputError(f"BAT: {name} must be an integer from 1 to {limit}, got {value!r}")
        if self.p_pe % BYTE_BITS:
            raise InputError(f"BAT: p_pe must be a multiple of {BYTE_BITS} (bytes of a memory word), got {self.p_pe}")
        if self.p_pe % self.p_quan:
            raise InputError(
                f"BAT: p_quan must divide p_pe, so that quantised values never span two words; "
                f"got p_quan {self.p_quan} and p_pe {self.p_pe}"
            )


@dataclass(frozen=True)
class BatConfig:
    """An accelerator: modules, number formats, the largest sizes it takes, and the memory beside it.

    Raises:
        InputError: a value out of range, or values that contradict each other.
    """

    modules: tuple[ModuleConfig, ...]
    """One that runs whole layers, or two: attention (MHA) and feed-forward (FFN)."""
    activation_bits: int = 4
    halves: int = 2
    """Most binary copies that add up to one weight: 2 for BinaryBERT and BMT, 1 for BiT."""
    positions: int = 128
    """Tokens of the longest sentence."""
    max_width: int = 768
    """Of the residual."""
    heads: int = 6
    head_width: int = 64
    max_intermediate: int = 1536
    sums: Sums = "count"
    memory_bytes_per_beat: int = 16
    memory_latency: int = 32
    """Cycles from the address of a burst to its first beat."""
    memory_gap: int = 1
    """Cycles per beat of a burst."""
    clock_hz: float = 200e6
    """The clock that cycles are turned into milliseconds with; nothing places the RTL."""

    def __post_init__(self) -> None:
        if len(self.modules) not in (1, 2) or not all(isinstance(module, ModuleConfig) for module in self.modules):
            raise InputError(f"BAT: needs one or two modules, got {len(self.modules)}")
        if self.activation_bits not in ACTIVATION_BITS:
            raise InputError(f"BAT: activation_bits must be in {list(ACTIVATION_BITS)}, got {self.activation_bits!r}")
        if self.sums not in ("count", "pe"):
            raise InputError(f'BAT: sums must be "count" or "pe", got {self.sums!r}')
        largest = {
            "halves": 2,
            "positions": 512,
            "max_width": LARGEST_WIDTH,
            "heads": 64,
            "head_width": 256,
            "max_intermediate": 4 * LARGEST_WIDTH,
            "memory_latency": 4096,
            "memory_gap": 64,
        }
        for name, limit in largest.items():
            value = getattr(self, name)
            if not _is_count(value) or not 1 <= value <= limit:
                raise InputError(f"BAT: {name} must be an integer from 1 to {limit}, got {value!r}")
        if self.memory_bytes_per_beat != 16:
            raise InputError(f"BAT: memory_bytes_per_beat must be 16, got {self.memory_bytes_per_beat!r}")
        if not isinstance(self.clock_hz, int | float) or not 1e6 <= self.clock_hz <= 2e9:
            raise InputError(f"BAT: clock_hz must be from 1e6 to 2e9, got {self.clock_hz!r}")
        if self.max_attention_width > LARGEST_WIDTH:
            raise InputError(
                f"BAT: heads * head_width must be at most {LARGEST_WIDTH}, got {self.heads} * {self.head_width}"
            )
        check_modules(self.modules)
        for module in self.modules:
            self._check_module(module)

    def _check_module(self, module: ModuleConfig) -> None:
        width = self.head_width
        if module.p_pe % width and width % module.p_pe:
            raise InputError(
                f"BAT: of p_pe and head_width one must divide the other, so that a head lies in whole words or shares "
                f"one; got p_pe {module.p_pe} and head_width {width}"
            )
        if module.p_quan % width and width % module.p_quan:
            raise InputError(
                f"BAT: of p_quan and head_width one must divide the other, so that a head lies in whole beats or "
                f"shares one; got p_quan {module.p_quan} and head_width {width}"
            )
        if self.max_attention_width % math.gcd(module.p_vu, module.p_quan):
            raise InputError(
                f"BAT: heads * head_width must be a multiple of the common divisor of p_vu and p_quan, so that query, "
                f"key and value part between beats; got {self.max_attention_width}, {module.p_vu} and {module.p_quan}"
            )

    @property
    def max_attention_width(self) -> int:
        return self.heads * self.head_width

    @property
    def attention(self) -> ModuleConfig:
        """The module that runs attention."""
        return self.modules[0]

    @property
    def feed_forward(self) -> ModuleConfig:
        """The module that runs feed-forward blocks; with one module, that one."""
        return self.modules[-1]

    @property
    def signed_magnitude(self) -> int:
        """Of the largest signed code."""
        return 1 << max(0, self.activation_bits - 1)

    @property
    def unsigned_magnitude(self) -> int:
        """Of the largest unsigned code."""
        return (1 << self.activation_bits) - 1

    @property
    def largest_sum(self) -> int:
        """Of any product of the engine, one half."""
        signed, unsigned = self.signed_magnitude, self.unsigned_magnitude
        return max(
            max(self.max_width, self.max_attention_width) * signed,
            self.max_intermediate * unsigned,
            self.head_width * signed**2,
            self.positions * unsigned * signed,
        )

    @property
    def sum_bits(self) -> int:
        """Of a sum of the engine, two's complement."""
        return self.largest_sum.bit_length() + 1

    def to_mapping(self) -> dict[str, Any]:
        """As plain values, as JSON and TOML hold them."""
        return {**dataclasses.asdict(self), "modules": [dataclasses.asdict(module) for module in self.modules]}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> BatConfig:
        """Inverse of `to_mapping`; what is left out has its default.

        Raises:
            InputError: an unknown or missing name, or a value that `__post_init__` refuses.
        """
        modules = values.get("modules")
        if not isinstance(modules, list | tuple) or not all(isinstance(module, Mapping) for module in modules):
            raise InputError("BAT: modules must be a list of one or two tables such as {p_dpu = 16, p_quan = 32, ...}")
        try:
            read = tuple(_from_mapping(ModuleConfig, module) for module in modules)
            return _from_mapping(cls, {**values, "modules": read})
        except (InputError, TypeError) as error:  # in which names and values stand as somebody wrote them
            raise InputError(brief(str(error), LONGEST_MESSAGE)) from None


def check_modules(modules: tuple[ModuleConfig, ...]) -> None:
    """Check what modules have to have in common, whatever runs on them.

    Raises:
        InputError: they do not.
    """
    if len({module.p_pe for module in modules}) > 1:
        raise InputError("BAT: both modules must have the same p_pe, each writes the words that the other one reads")


def check_model(config: BatConfig, model: BertConfig, tokens: int | None = None) -> None:
    """Check that `config` runs `model`, with `tokens` on sentences of so many (default: as many as it is built for).

    Raises:
        InputError: what of the model the accelerator does not take, and why.
    """
    quantisation = model.quantisation
    if model.activation != "relu":
        raise InputError(f"BAT: activation {model.activation} needs a table that BAT does not have; train with relu")
    if quantisation.weight_bits != 1:
        raise InputError(
            f"BAT: method {quantisation.method} has {quantisation.weight_bits}-bit weights, BAT multiplies by one bit; "
            "train with method binary, bmt or bit"
        )
    if quantisation.activation_bits != config.activation_bits:
        raise InputError(
            f"BAT: is configured for {config.activation_bits}-bit activations, the model has "
            f"{quantisation.activation_bits}; set activation_bits"
        )
    limits = {
        "halves": (quantisation.copies, config.halves),
        "width": (model.width, config.max_width),
        "heads": (model.heads, config.heads),
        "intermediate width": (model.intermediate, config.max_intermediate),
    }
    for name, (found, largest) in limits.items():
        if found > largest:
            raise InputError(f"BAT: {name} {found} of the model exceeds the configured {largest}")
    if model.head_width != config.head_width:
        raise InputError(f"BAT: is configured for heads of {config.head_width}, the model has {model.head_width}")
    common = math.gcd(config.attention.p_vu, config.attention.p_quan)
    if model.attention_width % common:
        raise InputError(
            f"BAT: attention width {model.attention_width} of the model is no multiple of {common}, the common divisor "
            "of p_vu and p_quan, so that query, key and value do not part between beats"
        )
    if tokens is not None and not 1 <= tokens <= min(config.positions, model.positions):
        raise InputError(
            f"BAT: a sentence of {tokens} tokens does not fit buffers for {config.positions} and a model "
            f"with {model.positions} positions; set positions or max_length"
        )


def config_for(model: BertConfig, modules: tuple[ModuleConfig, ...], **settings: Any) -> BatConfig:
    """A configuration with just the sizes of a model; `settings` are fields of `BatConfig`.

    Raises:
        InputError: modules, settings or a model that BAT does not take.
    """
    config = sized_for(model, modules, **settings)
    check_model(config, model)
    return config


def sized_for(model: BertConfig, modules: tuple[ModuleConfig, ...], **settings: Any) -> BatConfig:
    """As `config_for`, but whether BAT takes the model is left open.

    Raises:
        InputError: modules or settings out of range, or that do not fit each other.
    """
    sizes = {
        "activation_bits": model.quantisation.activation_bits,
        "halves": model.quantisation.copies,
        "positions": min(model.positions, 128),
        "max_width": model.width,
        "heads": model.heads,
        "head_width": model.head_width,
        "max_intermediate": model.intermediate,
    }
    return _from_mapping(BatConfig, {**sizes, **settings, "modules": modules})


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _from_mapping(kind: type[Kind], values: Mapping[str, Any]) -> Kind:
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in sorted(values.keys() - fields.keys()):
        raise InputError(f"BAT: unknown setting {name!r}; there are {', '.join(fields)}")
    for name, field in fields.items():
        if name not in values and field.default is dataclasses.MISSING:
            raise InputError(f"BAT: {name} is missing")
    return kind(**values)


PAPER_MHA = ModuleConfig(p_dpu=16, p_quan=128, p_vu=32, p_ln=8)
PAPER_FFN = ModuleConfig(p_dpu=16, p_quan=128, p_vu=96, p_ln=8)
PAPER = BatConfig(modules=(PAPER_MHA, PAPER_FFN))
"""What the paper's search chose for MRPC: half-width BERT-base with split binary weights and 4-bit activations."""
