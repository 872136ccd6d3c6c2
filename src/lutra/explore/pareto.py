"""Pareto sets of points with several objectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pareto_set(points: Sequence[Sequence[float]], maximise: Sequence[bool]) -> list[int]:
    """Positions, ascending, of the points that no other point beats.

    A point beats another when it is at least as good in every objective and better in one; so equal points stay
    together. `points` is (N, K); objective k is to be large where `maximise[k]`, small elsewhere.

    Raises:
        ValueError: a value is not a number, or the points do not have K values.
    """
    if not points:
        return []
    values = np.asarray(points, dtype=np.float64)  # (N, K)
    if values.shape != (len(points), len(maximise)) or np.isnan(values).any():
        raise ValueError(f"every point needs {len(maximise)} numbers")
    costs = np.where(maximise, -values, values)
    kept: list[int] = []
    # In lexicographic order whatever beats a point comes before it, and something kept beats it then.
    for position in np.lexsort(costs.T[::-1]):
        others, point = costs[kept], costs[position]
        if not ((others <= point).all(axis=1) & (others < point).any(axis=1)).any():
            kept.append(int(position))
    return sorted(kept)
