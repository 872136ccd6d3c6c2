"""Blocks of ours whose synthesis is recorded: true cycles, and power from their own LUTs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra.cost.technology import quweit_paper
from lutra.cost.weightless import fitted_fpga_energy
from lutra.errors import InputError
from lutra.escape import brief
from lutra.limits import JSON_BYTES
from lutra.papers.records import Records
from lutra.reading import parse_json, read_bytes
from lutra.runs.schemas.exploration import ExplorationRecord
from lutra.runs.typed import read_record

RECORDED_DESIGNS = {model: f"weightless-designs-{model}" for model in ("ivit-t", "gpt-baby", "gpt-mini")}
"""The `design` of the records of syntheses, by the model whose width the blocks have."""
RECORDED_RECOVERY = "gpt-mini-recovery"
"""The record of an exploration whose variants have the shapes of the designs."""


@dataclass(frozen=True)
class BlockDesign:
    """One block: a shape, named as the variant whose recovery was measured, in one dataflow at one fold factor."""

    shape: str
    dataflow: str
    fold_factor: int
    cycles_per_token: int
    cycles_per_sequence: int
    """From the first input beat of a sequence to its last output beat."""
    lut_raw: int
    lut_packed: int
    ff: int
    bram: float
    power_w: float
    """Interpolated from the packed LUTs (`fitted_fpga_energy`) at the paper's clock."""
    energy_j: float
    """Per sequence."""
    recovery: float | None
    """Mean over seeds on gpt-mini; None where it is not recorded."""

    @property
    def label(self) -> str:
        return f"{self.shape}, {self.dataflow}, F = {self.fold_factor}"

    @property
    def remark(self) -> str:
        recovery = "" if self.recovery is None else f"; recovery {self.recovery:.2f} on gpt-mini"
        return (
            f"{self.cycles_per_sequence:,} cycles, {self.lut_packed:,} LUTs packed ({self.lut_raw:,} raw), "
            f"{self.ff:,} FF, {1e3 * self.power_w:.0f} mW, {1e6 * self.energy_j:.2f} uJ{recovery}"
        )


def recorded_designs(records: Records, tokens: int, model: str = "ivit-t") -> list[BlockDesign]:
    """The recorded designs of a model's width for sequences of `tokens` tokens, in the record's order.

    Raises:
        InputError: a record is damaged.
    """
    recovery = _recovery(records.file("explore", RECORDED_RECOVERY))

    def design(target: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        total = target["total"]
        cycles = (tokens - 1) * target["cycles_per_token"] + target["latency_cycles"]
        j_per_cycle = fitted_fpga_energy(total["lut_packed"], total["bram"]).j_per_cycle
        built = BlockDesign(
            **{key: target[key] for key in ("shape", "dataflow", "fold_factor", "cycles_per_token")},
            lut_raw=int(total["lut_raw"]),
            lut_packed=int(total["lut_packed"]),
            ff=int(total["ff"]),
            bram=float(total["bram"]),
            cycles_per_sequence=cycles,
            power_w=j_per_cycle * quweit_paper()["fpga", "clock_hz"],
            energy_j=j_per_cycle * cycles,
            recovery=recovery.get(target["shape"]),
        )
        return built.label, {"design": built}

    return [values["design"] for values in recorded(records, RECORDED_DESIGNS[model], design).values()]


def recorded(
    records: Records, design: str, extract: Callable[[dict[str, Any]], tuple[Any, dict[str, Any]] | None]
) -> dict[Any, dict[str, Any]]:
    """What `extract` makes of each target of the recorded syntheses of `design`: a key with values, or nothing.

    Raises:
        InputError: a record is damaged.
    """
    found: dict[Any, dict[str, Any]] = {}
    for path in records.files("synth"):
        try:
            record = parse_json(read_bytes(path, JSON_BYTES))
            if record["design"] == design:
                found.update(filter(None, map(extract, record["targets"])))
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(f"{path}: not a record of a synthesis ({brief(repr(error))}); record it again") from None
    return found


def _recovery(path: Path | None) -> dict[str, float]:
    """Mean recovery by variant of a recorded exploration; nothing if it is not there."""
    if path is None:
        return {}
    try:
        variants = read_record(path, ExplorationRecord, "results add")["variants"]
        return {each["variant"]: each["recovery"]["mean"] for each in variants if each["recovery"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a recorded exploration ({brief(repr(error))}); record it again") from None
