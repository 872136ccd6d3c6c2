"""BMT's ten precisions of the engine: its product, and what simulations of it said."""

from __future__ import annotations

from lutra.papers.recorded_designs import recorded
from lutra.papers.records import Records

RUNS = "bat-engine-precisions"
"""The `design` of the record."""
PRODUCT = {"rows": 128, "inputs": 768, "outputs": 768}
"""Of the paper's Fig. 11."""
PRECISIONS = tuple(
    (weights, activations) for activations in (8, 4, 2, 1) for weights in (8, 4, 2, 1) if weights <= activations
)
"""Bits of weights and activations."""


def simulated(records: Records) -> dict[tuple[int, int], tuple[int, int]]:
    """Cycles, and sums that were compared and are NumPy's, by bits of weights and activations.

    Raises:
        InputError: a record is damaged.
    """
    found = recorded(
        records,
        RUNS,
        lambda target: (
            (int(target["weight_bits"]), int(target["activation_bits"])),
            {"cycles": int(target["cycles"]), "values": int(target["values"])},
        ),
    )
    return {precision: (run["cycles"], run["values"]) for precision, run in found.items()}
