"""The machine for a whole model, in the report and on the terminal: its verdict, and where its cycles go."""

from __future__ import annotations

from typing import Any

from lutra.recipes.sections import Experiment
from lutra.report import tables
from lutra.report.evidence import Evidence, read_run
from lutra.report.tables import Table, count
from lutra.runs.files import RunFiles
from lutra.runs.schemas.simulation import MachineSimulation
from lutra.runs.typed import read_record


def summary_tables(files: RunFiles, recipe: Experiment, step: str = "run") -> list[Table]:
    """What to print after a step, or after a whole run of a model that may have a machine."""
    found = tables.summary_tables(files, recipe, step)
    if step not in ("run", "simulate"):
        return found
    return found + machine_tables(machine_evidence(read_run(files, recipe)))


def machine_evidence(evidence: Evidence) -> dict[str, Any] | None:
    """What the simulation of the machine has shown; None if it has not run on the frozen model that is there.

    Raises:
        RunDirectoryError: its file is damaged.
    """
    path = evidence.files.machine
    if "simulate" in evidence.failed or not path.exists():
        return None
    found = read_record(path, MachineSimulation, "simulate")
    return found if found["frozen_hash"] == evidence.frozen_hash else None


def machine_tables(found: dict[str, Any] | None) -> list[Table]:
    """How it compared, and the cycles of each kind of step."""
    if found is None:
        return []
    at_once = "all tokens at once" if found["tokens"] else "images, one after the other"
    groups = {
        at_once: [call for call in found["calls"] if not call["stalled"] and call["rows"] > 1],
        "one token after the other": [call for call in found["calls"] if not call["stalled"] and call["rows"] == 1],
        "with stalls, reset in the middle": [call for call in found["calls"] if call["stalled"]],
    }
    compared = [
        (
            name,
            count(sum(call["rows"] for call in calls)),
            count(sum(call["values"] for call in calls)),
            count(sum(call["differing"] for call in calls)),
            count(tables.total(calls, "cycles_measured")),
            "not predicted" if calls[0]["stalled"] else count(tables.total(calls, "cycles_predicted")),
        )
        for name, calls in groups.items()
        if calls
    ]
    header = ("how", "rows", "values", "differ", "cycles measured", "predicted")
    sums = {key: sum(share[key] for share in found["shares"]) for key in ("prefill", "decode")}
    shares = [
        (share["op"], *(f"{count(share[key])} ({_percent(share[key], sums[key])})" for key in sums))
        for share in found["shares"]
    ]
    total = ("all", *(count(sums[key]) for key in sums))
    return [
        Table("The whole machine against the frozen model, every value of every step", header, tuple(compared)),
        Table("Where its cycles go", ("step", at_once, "the last token alone"), (*shares, total)),
    ]


def machine_verdict(found: dict[str, Any]) -> str:
    """One sentence."""
    size, tokens = found["config"]["size"], len(found["tokens"])
    images = sum(not call["stalled"] for call in found["calls"])
    what = f"{tokens} tokens at once and one by one" if tokens else f"{images} images"
    if found["mismatches"]:
        return f"The machine for the whole model differs in {found['mismatches']:,} of {found['values']:,} values."
    cycles = "as predicted" if found["cycles_match"] else "not as predicted"
    return (
        f"The machine for the whole model, with an array of {size} x {size}, computes {what}: all "
        f"{found['values']:,} values of all steps are golden's, its cycles {cycles}."
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"
