"""`bitstream.json` beside a bitstream."""

from __future__ import annotations

from lutra.names import Name
from lutra.runs.schemas.values import Amount, Count, Dataflow, Fold, Hash, Message, Positive, Versioned
from lutra.schema import Strict


class Used(Strict):
    """Cells of one kind."""

    used: Count
    available: Count


class Proof(Strict):
    """What of the bitstream was compared with the trained tables and with the netlist."""

    tables: Count
    table_luts: Count
    other_luts: Count


class Bitstream(Versioned):
    """The file."""

    name: Name
    board: Name
    device: Name
    build_hash: Hash
    frozen_hash: Hash
    dataflow: Dataflow
    fold_factor: Fold
    blocks: list[Name]
    clock_hz: Amount
    fmax_hz: Amount
    baud: Positive
    used: dict[Name, Used]
    proof: Proof
    tools: list[Message]
    seconds: Amount
