"""The paper's Table 6 scaled by lanes: what BAT takes and uses by assumption, beside what our syntheses say.

Never added to our own counts: the two stand in columns of their own.
"""

from __future__ import annotations

from typing import Any

from lutra.accelerators.bat.latency import Count
from lutra.accelerators.bat.resources import Use

DPU = Use(2333, 2333, 857, 0, 0)
"""An engine by its 16 dot product units, at four bits."""
QUANTISE_LANE = Use(109, 109, 234, 2, 0)
"""The quantisation unit by 128 lanes."""
OTHERS = Use(57_845, 57_845, 79_594, 768, 114)
OTHER_LANES = {"p_vu": (32 + 96, 539.0), "p_ln": (8 + 8, 1300.0), "p_softmax": (4, 553.0)}
"""Lanes of the paper's point that share "others", and how much each weighs: our prototypes' LUTs."""
DPU_W, QUANTISE_LANE_W, OTHERS_W = 0.298 / 16, 1.088 / 128, 3.781
P_PE = 128
"""Products per cycle of the paper's dot product unit, by assumption: it does not say how many."""


def paper_use(lanes: Any, bits: int, attention: bool) -> Use:
    """A module scaled from the rows of the paper's Table 6; "others" are shared out by assumption.

    An engine grows with its products and with one and the bits of an activation; one quantisation unit of 128 lanes is
    what the table counts, so a module has half of it.
    """
    use: Use = DPU * _units(lanes, bits) + QUANTISE_LANE * (lanes.p_quan / 2) + OTHERS * _share(lanes, attention)
    return use


def paper_power_w(lanes: Any, bits: int, attention: bool) -> Count:
    """The same of the table's power at 200 MHz."""
    return DPU_W * _units(lanes, bits) + QUANTISE_LANE_W * (lanes.p_quan / 2) + OTHERS_W * _share(lanes, attention)


def _units(lanes: Any, bits: int) -> Count:
    """Dot product units of four bits and 128 products that are as large as the engine."""
    return lanes.p_dpu * (1 + bits) / 5 * (lanes.p_pe / P_PE)


def _share(lanes: Any, attention: bool) -> Count:
    """Of "others", by weighted lanes."""
    weight = sum(count * each for count, each in OTHER_LANES.values())
    shared = sum(
        getattr(lanes, name) * each for name, (_, each) in OTHER_LANES.items() if attention or name != "p_softmax"
    )
    return shared / weight
