"""What an inference costs in cycles and energy, for the baseline and for ours."""

from lutra.cost.step import cost_run

__all__ = ["cost_run"]
