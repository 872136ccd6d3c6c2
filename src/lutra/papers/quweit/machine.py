"""QuWeiT Table 4 on the whole machine: energy of everything that it does, beside what the paper prints and projects."""

from __future__ import annotations

from collections.abc import Iterator

from lutra.cost.layer import end_to_end, layer_cost
from lutra.cost.machine import LEAVES_OUT
from lutra.cost.systolic import systolic_array
from lutra.cost.weightless import BlockEnergy, paper_asic_energy, paper_fpga_energy
from lutra.cost.whole_model import PAPER_BLOCK_WIDTH
from lutra.papers.quweit.machine_models import MODELS, SIZES
from lutra.papers.quweit.recorded_machine import (
    BuiltMachine,
    Energies,
    Energy,
    Point,
    recorded_machines,
    tree_designs,
)
from lutra.papers.recorded_designs import BlockDesign
from lutra.papers.records import Records
from lutra.papers.table import PaperTable, Row

PAPER_SIZE = 32
"""Of the array in the paper's Table 4."""
CALLS = {"sequence": "", "token": ", a token alone"}
UNIT = {"ivit-t": "image", "gpt-baby": "256 tokens", "gpt-mini": "64 tokens"}


def quweit_4_machine(records: Records) -> PaperTable:
    """Whole models on one machine, with the dense MLP and with blocks."""
    paper, own = Energies(records), Energies(records, own=True)
    rows: list[Row] = []
    for model in MODELS:
        for size in SIZES:
            rows += _ratio_rows(model, size, paper, own)
    rows += [row for model in MODELS for row in _best_rows(model, paper, own)]
    for model in MODELS:
        rows += _part_rows(model, paper, own)
    rows += _resource_rows(records)
    notes = (
        "Ratio: the same machine with the dense MLP and a table GELU, over that with weightless blocks of trees (8D "
        "tables in 8 groups); all operations of the model, the latency model's cycles, which simulation equals.",
        "As the paper projects it: one layer, its products alone, a block of a token per cycle at the printed power.",
        "FPGA: the paper's energy per cycle of an array of that size; blocks by their own synthesis, interpolated from "
        "LUTs; other units in operations of 32 bits, in proportion; memories at 20 pJ for 8 bytes.",
        "45 nm: elements, edges and blocks by switching that was counted in mapped cells; array and blocks leak while "
        "they wait; memories, the array's own among them, and vector units as above. Blocks: those whose power is "
        "recorded.",
        "Cycles: of the machine whose steps run one after the other, and of the one whose steps overlap, with the same "
        "work; energies of the former. A token alone stands at half the context.",
        "Left out: " + "; ".join(LEAVES_OUT) + ".",
    )
    return PaperTable("quweit-4-machine", "QuWeiT Table 4 on the whole machine", tuple(rows), notes)


def headline_rows(records: Records) -> list[Row]:
    """Each model's ratios at the paper's size, for its Table 4."""
    paper, own = Energies(records), Energies(records, own=True)
    return [row for model in MODELS for row in _ratio_rows(model, PAPER_SIZE, paper, own)]


def projected_ratio(model: str, size: int, kind: str) -> float:
    """As the paper computes it for one layer: products alone, a block of a token per cycle and of its printed power."""
    shape = MODELS[model].shape
    wider, tokens = shape.width / PAPER_BLOCK_WIDTH, shape.tokens - shape.special_tokens
    blocks = (BlockEnergy(wider * each.j_per_cycle, each.basis) for each in (paper_fpga_energy(), paper_asic_energy()))
    layer = end_to_end(layer_cost(shape, systolic_array(size)), model, tokens, *blocks)
    return layer.fpga_ratio if kind == "FPGA" else layer.asic_ratio


def _ratio_rows(model: str, size: int, paper: Energies, own: Energies) -> Iterator[Row]:
    """Cycles and energies; nothing of what is not recorded."""
    for call, which in CALLS.items():
        name = f"{MODELS[model].label}{which}, {size}x{size}"
        printed = MODELS[model].printed_ratio if size == PAPER_SIZE and call == "sequence" else None
        for kind, energies in (("FPGA", paper), ("45 nm", own)):
            dense, best = energies.of(Point(model, size, None, call)), energies.best(model, size, call)
            if dense is None or best is None:
                continue
            fold = f"F = {best.point.fold_factor}"
            if kind == "FPGA":
                cycles = dense.work.cycles / best.work.cycles
                remark = f"{dense.work.cycles:,} over {best.work.cycles:,}, {fold}"
                yield Row(f"{name}, cycles ratio", "x", None, cycles, remark)
                pair = [paper.overlapped[each.point] for each in (dense, best)]
                remark = f"{pair[0]:,} over {pair[1]:,}, {fold}"
                yield Row(f"{name}, cycles ratio, steps overlap", "x", None, pair[0] / pair[1], remark)
            projected = projected_ratio(model, size, kind) if call == "sequence" else None
            yield Row(f"{name}, {kind} ratio", "x", printed, _ratio(dense, best, kind), _remark(dense, best, kind),
                      projected)  # fmt: skip


def _joules(energy: Energy, kind: str, off_chip: bool = False) -> float:
    return energy.fpga_j(off_chip) if kind == "FPGA" else energy.asic_j(off_chip)


def _ratio(dense: Energy, best: Energy, kind: str, off_chip: bool = False) -> float:
    return _joules(dense, kind, off_chip) / _joules(best, kind, off_chip)


def _remark(dense: Energy, best: Energy, kind: str) -> str:
    figures = f"{1e6 * _joules(dense, kind):,.4g} over {1e6 * _joules(best, kind):,.4g} uJ"
    off_chip = _ratio(dense, best, kind, off_chip=True)
    return f"{figures}, F = {best.point.fold_factor}; {off_chip:.3f}x with off-chip weights"


def _best_rows(model: str, paper: Energies, own: Energies) -> Iterator[Row]:
    """The array size and fold factor of least energy, of all that are recorded."""
    for call, which in CALLS.items():
        for kind, energies in (("FPGA", paper), ("45 nm", own)):
            found = [each for size in SIZES if (each := energies.best(model, size, call)) is not None]
            if not found:
                continue
            best = min(found, key=lambda each: _joules(each, kind))
            dense = [each for size in SIZES if (each := energies.of(Point(model, size, None, call))) is not None]
            least = min(dense, key=lambda each: _joules(each, kind))
            against = f"best dense machine {least.point.size}x{least.point.size}, {1e6 * _joules(least, kind):,.4g} uJ"
            remark = (
                f"{best.point.size}x{best.point.size}, F = {best.point.fold_factor}, {best.work.cycles:,} cycles; "
                f"{against}: {_ratio(least, best, kind):.3f}x"
            )
            name = f"{MODELS[model].label}{which}, best machine with blocks, {kind} energy"
            yield Row(name, "uJ", None, 1e6 * _joules(best, kind), remark)


def _part_rows(model: str, paper: Energies, own: Energies) -> Iterator[Row]:
    """Where the energy goes at the paper's size."""
    for kind, energies in (("FPGA", paper), ("45 nm", own)):
        dense = energies.of(Point(model, PAPER_SIZE, None, "sequence"))
        best = energies.best(model, PAPER_SIZE, "sequence")
        if dense is None or best is None:
            continue
        field = "fpga_energy_j" if kind == "FPGA" else "asic_energy_j"
        mlp = {part.name: 1e6 * getattr(part, field) for part in dense.parts}
        for part in best.parts:
            name = f"{MODELS[model].label}, {PAPER_SIZE}x{PAPER_SIZE}, {part.name}, {kind} energy per {UNIT[model]}"
            remark = f"{mlp[part.name]:,.4g} with the dense MLP" if part.name in mlp else ""
            yield Row(name, "uJ", None, 1e6 * getattr(part, field), remark)


def _resource_rows(records: Records) -> Iterator[Row]:
    """What whole machines take, blocks counted in at the fold factor of least energy."""
    machines, energies = recorded_machines(records), Energies(records)
    designs = {model: tree_designs(records, model) for model, _, _ in machines}
    for (model, ffn, size), machine in machines.items():
        name = f"{MODELS[model].label}, {size}x{size}, {'blocks' if ffn == 'weightless' else 'dense MLP'}"
        best = energies.best(model, size, "sequence") if ffn == "weightless" else None
        if ffn == "weightless" and (best is None or best.point.fold_factor is None):
            continue
        fold = None if best is None else best.point.fold_factor
        yield from _machine_rows(name, machine, fold, None if fold is None else designs[model][fold], model)


def _machine_rows(
    name: str, machine: BuiltMachine, fold: int | None, block: BlockDesign | None, model: str
) -> Iterator[Row]:
    use, parts = machine.total, machine.parts
    luts, flip_flops, brams = use.lut_packed, use.ff, use.bram
    remark = ", ".join(f"{part} {each.lut_packed:,}" for part, each in parts.items() if each.lut_packed)
    if block is not None:
        count = MODELS[model].shape.layers
        luts, flip_flops = luts + count * block.lut_packed, flip_flops + count * block.ff
        brams += count * block.bram
        remark += f"; {count} blocks of F = {fold}, {block.lut_packed:,} each"
    yield Row(f"{name}, LUTs packed", "LUT", None, luts, remark)
    yield Row(f"{name}, flip-flops", "FF", None, flip_flops)
    yield Row(f"{name}, BRAMs", "BRAM", None, brams)
