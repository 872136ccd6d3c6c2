"""Parameters of BAT's SystemVerilog modules, and the counts that follow from them, out of the one configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lutra.accelerators.bat.config import BYTE_BITS, BatConfig, ModuleConfig
from lutra.accelerators.bat.layout import chunks

COUNT_BITS = 14
"""Of every counter of rows, groups and beats; more than the largest sizes need."""
ADDRESS_BITS = 16
"""Of words of the memories of x and y."""


@dataclass(frozen=True)
class Gearbox:
    """Lanes on both sides of a `lutra_bat_gearbox`."""

    in_lanes: int
    out_lanes: int

    @property
    def granule(self) -> int:
        return math.gcd(self.in_lanes, self.out_lanes)

    @property
    def block(self) -> int:
        """Elements of a block: whole beats on both sides."""
        return math.lcm(self.in_lanes, self.out_lanes)

    def stride(self, elements: int) -> tuple[int, int]:
        """Whole blocks in so many elements, and granules beyond them."""
        return elements // self.block, elements % self.block // self.granule

    def parameters(self, bits: int, segments: tuple[int, ...], part: int | None = None) -> dict[str, int]:
        """For rows that come as segments of at most so many elements; with `part` they leave in multiples of it."""
        out_granules = self.out_lanes // self.granule
        step = out_granules if part is None else math.gcd(out_granules, part // self.granule)
        return {
            "InLanes": self.in_lanes,
            "OutLanes": self.out_lanes,
            "Bits": bits,
            "Granule": self.granule,
            "Blocks": sum(chunks(elements, self.block) for elements in segments),
            "OutStep": step,
            "CountBits": COUNT_BITS,
        }


def engine_parameters(config: BatConfig, module: ModuleConfig) -> dict[str, int]:
    """Of `lutra_bat_engine`."""
    return {
        "Units": module.p_dpu,
        "Elements": module.p_pe,
        "Bits": config.activation_bits,
        "SumBits": config.sum_bits,
        "Sums": ("count", "pe").index(config.sums),
        "HeadWidth": config.head_width,
        "CountBits": COUNT_BITS,
        "AddressBits": ADDRESS_BITS,
        "LaneBits": module.p_pe.bit_length(),
    }


def value_lanes(config: BatConfig, module: ModuleConfig) -> int:
    """Columns of values that are written together."""
    return math.gcd(module.p_dpu, module.p_quan, config.head_width)


def value_words(config: BatConfig, module: ModuleConfig) -> int:
    """Words of the memory of y that hold the values of a token."""
    return config.heads * chunks(config.head_width, module.p_dpu) * config.activation_bits


def store_parameters(config: BatConfig, module: ModuleConfig, attention: bool) -> dict[str, int]:
    """Of `lutra_bat_store` in a module that runs attention, or not."""
    return {
        "Lanes": module.p_quan,
        "Bits": config.activation_bits,
        "Elements": module.p_pe,
        "Units": module.p_dpu,
        "HeadWidth": config.head_width,
        "XGranule": math.gcd(module.p_quan, config.head_width),
        "ValueLanes": value_lanes(config, module),
        "YGranule": math.gcd(BYTE_BITS, module.p_quan),
        "Attention": int(attention),
        "ValueWords": value_words(config, module),
        "CountBits": COUNT_BITS,
        "AddressBits": ADDRESS_BITS,
    }
