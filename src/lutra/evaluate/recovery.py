"""The yardstick of every accuracy that Lutra reports."""

from __future__ import annotations


def recovery(none_loss: float, ours: float, mlp_loss: float) -> float | None:
    """How much of the MLP's benefit the block brings: 0 = as good as no MLP at all, 1 = as good as the MLP.

    None where the MLP is no better than nothing, so that there is no benefit to compare with.
    """
    return (none_loss - ours) / (none_loss - mlp_loss) if mlp_loss < none_loss else None
