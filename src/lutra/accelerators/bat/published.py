"""What the paper prints of BAT on a ZCU102, for its own point (`config.PAPER`)."""

from __future__ import annotations

Row = tuple[int, int, int | None, int | None, float]

TABLE_6: dict[str, Row] = {
    "MHA engine": (37_338, 13_725, None, None, 0.298),
    "FFN engine": (37_330, 13_702, None, None, 0.298),
    "quantisation unit": (13_952, 29_952, None, 256, 1.088),
    "others": (57_845, 79_594, 114, 768, 3.781),
    "total": (146_465, 136_973, 114, 1_024, 5.465),
}
"""LUT, FF, BRAM, DSP, W."""
