"""The machine for a whole model, in the report and on the terminal: its verdict, where its cycles go, what it takes and
costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lutra.accelerators.transformer.config import TransformerConfig
from lutra.recipes.sections import Experiment
from lutra.report import tables
from lutra.report.evidence import Evidence, read_run
from lutra.report.tables import UNKNOWN, Table, count, microjoules, number
from lutra.runs.files import RunFiles
from lutra.runs.schemas.machine import MachineCost, MachineSynthesis
from lutra.runs.schemas.simulation import MachineSimulation
from lutra.runs.typed import read_record


def summary_tables(files: RunFiles, recipe: Experiment, step: str = "run") -> list[Table]:
    """What to print after a step, or after a whole run of a model that may have a machine."""
    found = tables.summary_tables(files, recipe, step)
    if step not in ("run", "simulate", "synth", "cost"):
        return found
    evidence = read_run(files, recipe)
    makers = {"simulate": machine_tables, "synth": machine_synth_tables, "cost": machine_cost_tables}
    wanted = makers if step == "run" else {step: makers[step]}
    made = {"simulate": machine_evidence, "synth": machine_synthesis, "cost": machine_cost}
    return found + [table for name, make in wanted.items() for table in make(made[name](evidence))]


def machine_evidence(evidence: Evidence) -> dict[str, Any] | None:
    """What the simulation of the machine has shown; None if it has not run on the frozen model that is there.

    Raises:
        RunDirectoryError: its file is damaged.
    """
    return _written(evidence, "simulate", evidence.files.machine, MachineSimulation)


def machine_synthesis(evidence: Evidence) -> dict[str, Any] | None:
    """What the machine takes; None if it was not synthesised from the frozen model that is there.

    Raises:
        RunDirectoryError: its file is damaged.
    """
    return _written(evidence, "synth", evidence.files.machine_synth, MachineSynthesis)


def machine_cost(evidence: Evidence) -> dict[str, Any] | None:
    """What the machine costs; None if that was not computed for the frozen model that is there.

    Raises:
        RunDirectoryError: its file is damaged.
    """
    return _written(evidence, "cost", evidence.files.machine_cost, MachineCost)


def _written(evidence: Evidence, step: str, path: Path, schema: type[BaseModel]) -> dict[str, Any] | None:
    if step in evidence.failed or not path.exists():
        return None
    found = read_record(path, schema, step)
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


VARIANTS = {"model": "this model", "mlp": "the dense MLP"}
CALLS = {"sequence": "a sequence at once", "token": "a token alone, at half the context"}


def machine_synth_tables(found: dict[str, Any] | None) -> list[Table]:
    """What every part takes, of this model and of its baseline beside each other."""
    if found is None or not found["machines"]:
        return []
    machines = found["machines"]
    resources = {"lut_packed": "LUT packed", "ff": "FF", "bram": "BRAM"}
    parts = list(dict.fromkeys(part for machine in machines for part in machine["parts"]))
    rows = [
        (part, *(_amount(machine["parts"].get(part), name) for machine in machines for name in resources))
        for part in parts
    ]
    rows.append(("all", *(_amount(machine["total"], name) for machine in machines for name in resources)))
    header = tuple(f"{VARIANTS[machine['variant']]}, {label}" for machine in machines for label in resources.values())
    title = f"What the machine takes of an UltraScale+ without DSP, counted up ({found['tool']})"
    return [Table(title, ("part", *header), tuple(rows))]


def _amount(use: dict[str, Any] | None, name: str) -> str:
    if use is None or not use[name]:
        return UNKNOWN
    value = use[name]
    return count(value) if float(value).is_integer() else f"{value:,.1f}"


def machine_cost_tables(found: dict[str, Any] | None) -> list[Table]:
    """Cycles and energy of a sequence and of a token alone, and the dense MLP's over this model's."""
    if found is None:
        return []
    rows: list[tuple[str, ...]] = []
    for machine in found["machines"]:
        for call in machine["calls"]:
            whole = sum(part["fpga_energy_j"] for part in call["parts"]) if call["parts"] else None
            rows.append(
                (
                    f"{VARIANTS[machine['variant']]}, {CALLS[call['what']]}",
                    count(call["cycles"]),
                    count(call["measured_cycles"]),
                    _percent(call["array_cycles"], call["cycles"]),
                    microjoules(call["fpga_energy_j"]),
                    microjoules(whole),
                    microjoules(call["asic_energy_j"]),
                )
            )
    for ratio in found["ratios"]:
        figures = (number(ratio[name], 3) for name in ("fpga", "fpga_with_off_chip", "asic"))
        rows.append((f"ratio, {CALLS[ratio['what']]}", number(ratio["cycles"], 3), UNKNOWN, UNKNOWN, *figures))
    header = ("what", "cycles", "simulated", "array at work", "µJ FPGA", "with off-chip weights", "µJ 45 nm")
    return [Table("What the whole machine costs", header, tuple(rows))]


def machine_points(found: dict[str, Any] | None) -> tuple[str, ...]:
    """What its energies rest on, and leave out."""
    if found is None:
        return ()
    basis = {"array": "Array", "block_fpga": "Blocks on the FPGA", "block_asic": "Blocks in 45 nm"}
    said = [f"{basis[key]}: {text}." for key, text in found["basis"].items()]
    said += [f"Left out: {text}." for text in found["leaves_out"]]
    return (*said, *(f"{skip['target']} is left out: {skip['reason']}." for skip in found["skipped"]))


def order_of_steps(found: dict[str, Any]) -> str:
    """One sentence."""
    overlap = TransformerConfig.from_mapping(found["config"]).overlap
    return "Steps overlap." if overlap else "A step begins when the one before has ended."


def machine_verdict(found: dict[str, Any]) -> str:
    """One sentence."""
    size, tokens = TransformerConfig.from_mapping(found["config"]).size, len(found["tokens"])
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
