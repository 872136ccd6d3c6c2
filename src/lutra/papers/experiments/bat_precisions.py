"""BMT's Fig. 11 from simulation: the engine of the paper's point on its product, at ten precisions."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lutra.accelerators.bat.config import PAPER_MHA
from lutra.accelerators.bat.precision import Precision, engine_design, simulate_engine
from lutra.hardware.bench import verilator
from lutra.papers.bmt.precisions import PRECISIONS, PRODUCT, RUNS
from lutra.papers.experiments.run import Piece

RECORD = "bat_precisions"
SEED = 11
SECONDS = 60.0
"""Of one precision, about; most of it compiles."""


def precision_pieces() -> list[Piece]:
    """One simulation for each precision.

    Raises:
        ToolError: Verilator is missing.
    """
    return [_piece(weights, activations) for weights, activations in PRECISIONS]


def _piece(weights: int, activations: int) -> Piece:
    precision = Precision(**PRODUCT, weight_bits=weights, activation_bits=activations)
    simulator = verilator.version()

    def build(folder: Path) -> dict[str, Any]:
        run = simulate_engine(precision, PAPER_MHA, folder, SEED)
        return {**asdict(precision), **asdict(run), "simulator": simulator}

    head = {
        "design": RUNS,
        "method": "the engine alone in simulation, random matrices; every sum equals NumPy's, with and without stalls",
        "engine": {"units": PAPER_MHA.p_dpu, "products": PAPER_MHA.p_pe, "sums": "count"},
        "seed": SEED,
    }
    said = [engine_design(precision, PAPER_MHA).content_hash, simulator, str(SEED)]
    identity = hashlib.sha256("\n".join(said).encode()).hexdigest()
    return Piece(f"bat_w{weights}a{activations}", RECORD, head, identity, SECONDS, build)
