"""How a grouped conditional summation cuts bits and outputs: the same in training, frozen model, RTL and cost."""

from __future__ import annotations

import numpy as np


def group_bounds(width: int, groups: int) -> list[int]:
    """Where `groups` contiguous groups of `width` elements begin and end: group g is `[bounds[g], bounds[g + 1])`."""
    return [width * group // groups for group in range(groups + 1)]


def group_mask(bits: int, outputs: int, groups: int) -> np.ndarray:
    """Boolean (bits, outputs): which encoded values may differ from zero."""
    bit_group = np.repeat(np.arange(groups), np.diff(group_bounds(bits, groups)))
    output_group = np.repeat(np.arange(groups), np.diff(group_bounds(outputs, groups)))
    mask: np.ndarray = bit_group[:, None] == output_group[None, :]
    return mask
