"""BMT's figures of hardware (10 to 12) as tables and drawn, with a word where the paper is inconsistent."""

from __future__ import annotations

import dataclasses

import numpy as np

from lutra.accelerators.bat import anchors, search
from lutra.accelerators.bat.config import PAPER_FFN, PAPER_MHA
from lutra.accelerators.bat.precision import Precision
from lutra.accelerators.bat.resources import UnitFits
from lutra.accelerators.bat.search import PAPER_METHOD, PAPER_SPACE, devices
from lutra.papers.bmt.hardware import CLOCK_HZ, FULL_SIZE, LIMIT, pair_cycles
from lutra.papers.bmt.precisions import PRECISIONS, PRODUCT, simulated
from lutra.papers.bmt.units import recorded_units
from lutra.papers.records import Records
from lutra.papers.table import PaperTable, Row
from lutra.report.figures import PLOT_COLOURS, page_svg, plotting

GPU_RATIOS = (2.58, 2.80)
"""The paper's GPU over its BAT."""


def bmt_figure_10(records: Records) -> PaperTable:
    fits, device = recorded_units(records), devices()["zcu102"]
    rows = _space_rows("the paper's Table 6", None, device)
    rows += _space_rows("our syntheses", fits, device) if fits else []
    notes = (
        f"All {PAPER_SPACE.points:,} points of Table 3 for sentences of 128 tokens, pairs, 12 layers; less than "
        f"{100 * LIMIT:.0f} % of every resource of the {device.name}. For each method its fastest configuration, all "
        "that a Pareto set of accuracy, robustness and latency can hold.",
        "Resources from the paper's Table 6: engines by units and bits, one quantisation unit of 128 lanes, the rest "
        "shared out by lanes, by assumption.",
        "The paper's point is not the fastest within its own limits.",
    )
    return PaperTable("bmt-fig10", "BMT Fig. 10: BAT's design space", tuple(rows), notes)


def _space_rows(name: str, fits: UnitFits | None, device: search.Device) -> list[Row]:
    """The fastest configuration of every method within the limit, resources from `name`."""
    choices: dict[str, search.Choice | None] = {}
    for result in search.evaluate(PAPER_SPACE, fits):
        built = search.buildable(PAPER_SPACE, result.method)
        allowed = result.feasible(device, LIMIT) & np.logical_and.outer(built, built)
        choices[result.method.name] = search.fastest(PAPER_SPACE, result, allowed)
        if result.method.name == PAPER_METHOD:
            place = PAPER_SPACE.index(PAPER_MHA), PAPER_SPACE.index(PAPER_FFN)
            point = search.choice(PAPER_SPACE, result, place)
    source = f"resources from {name}"
    rows = [Row(f"the paper's point, {source}", "ms", None, point.milliseconds, _taken(point, device))]
    if found := [chosen for chosen in choices.values() if chosen]:
        least = min(found, key=lambda chosen: chosen.cycles)
        remark, ratio = (
            f"{least.method}: {least.milliseconds:.2f} ms, {_taken(least, device)}",
            point.cycles / least.cycles,
        )
        rows.append(Row(f"the paper's point over the fastest of all, {source}", "", 10.1, ratio, remark))
    for method, chosen in choices.items():
        if chosen is None:
            rows.append(Row(f"{method}, {source}", "ms", None, None, "no configuration fits"))
            continue
        remark = f"latency only, no training is behind it; {_taken(chosen, device)}"
        rows.append(Row(f"{method}, {source}", "ms", None, chosen.milliseconds, remark))
    return rows


def _taken(chosen: search.Choice, device: search.Device) -> str:
    """Lanes p_dpu, p_quan, p_vu, p_ln of both modules, and the share of the LUTs."""
    return f"{_lanes(chosen)}, {100 * chosen.use.lut_packed / device.lut:.0f} % of the LUTs"


def _lanes(chosen: search.Choice) -> str:
    each = ["/".join(str(n) for n in (m.p_dpu, m.p_quan, m.p_vu, m.p_ln)) for m in (chosen.mha, chosen.ffn)]
    return f"MHA {each[0]}, FFN {each[1]}"


def bmt_figure_11(records: Records) -> PaperTable:
    runs = simulated(records)
    rows = [_precision_row(weights, activations, runs) for weights, activations in PRECISIONS]
    rows += [
        Row(f"W{weights}A{activations}, energy", "uJ", None, 1e6 * engine_energy_j(weights, activations))
        for weights, activations in PRECISIONS
    ]
    notes = (
        "The engine of the paper's point on (128, 768) x (768, 768): 16 units of 128 products, x and weights signed. "
        "BAT itself multiplies by one bit; its engine takes weights of several bits plane by plane, as it takes keys.",
        "The paper does not name its ten configurations; these are all in which weights have no more bits than "
        "activations.",
        "Energy: the paper's 0.298 W for an engine of four bits, in proportion to one and the bits of an activation.",
        "The paper prints 2 to 8 times less energy for 1-bit weights at equal activations: the bits of the weights.",
    )
    return PaperTable("bmt-fig11", "BMT Fig. 11: engine cycles and energy by precision", tuple(rows), notes)


def _precision_row(weights: int, activations: int, runs: dict[tuple[int, int], tuple[int, int]]) -> Row:
    name, expected = f"W{weights}A{activations}", engine_cycles(weights, activations)
    if (weights, activations) not in runs:
        return Row(name, "cycles", None, expected, "by the schedule; lutra table bmt-fig11 --fresh simulates")
    cycles, values = runs[weights, activations]
    says = "as the schedule says" if cycles == expected else f"the schedule says {expected:,}"
    return Row(name, "cycles", None, cycles, f"simulated, {says}; {values:,} sums compared, all NumPy's")


def engine_cycles(weights: int, activations: int) -> int:
    """Of the paper's product on the engine of the paper's point, by its schedule."""
    return Precision(**PRODUCT, weight_bits=weights, activation_bits=activations).product(PAPER_MHA).cycles


def engine_energy_j(weights: int, activations: int) -> float:
    """By the engine's row of the paper's Table 6."""
    power_w = anchors.DPU_W * PAPER_MHA.p_dpu * (1 + activations) / 5
    return float(power_w * engine_cycles(weights, activations) / CLOCK_HZ)


def bmt_figure_12(records: Records) -> PaperTable:
    rows = []
    for name, heads, intermediate in (("half", 3, 768), ("full", 6, 1536), ("double", 12, 3072)):
        shape = dataclasses.replace(FULL_SIZE, heads=heads, intermediate=intermediate)
        milliseconds = 1e3 * pair_cycles(shape) / CLOCK_HZ
        implied = (
            f"a GPU that is 2.58 to 2.80 times slower takes {2.58 * milliseconds:.0f} to {2.8 * milliseconds:.0f} ms"
        )
        rows.append(Row(f"BAT, {name}-size BMT, two sentences", "ms", None, milliseconds, implied))
    notes = (
        "The paper prints ratios only: BMT over BERT on an RTX 3090 1.29 to 1.62, BAT over the GPU 2.58 to 2.80 in "
        "speed and 166.76 to 180.83 in energy, which implies 5.42 W; Table 5's 413 GOPS imply 106.7 ms.",
    )
    return PaperTable("bmt-fig12", "BMT Fig. 12: BAT by size of the model", tuple(rows), notes)


def draw_figure_10(records: Records) -> str:
    """Every model's fastest configuration for every share of the device, and the paper's point, as SVG."""
    from matplotlib import pyplot

    fits, device = recorded_units(records), devices()["zcu102"]
    with plotting("bmt-fig10"):
        figure, axes = pyplot.subplots(figsize=(7.4, 4.4), layout="constrained")
        for result in search.evaluate(PAPER_SPACE, fits):
            built = search.buildable(PAPER_SPACE, result.method)
            allowed, needs = np.logical_and.outer(built, built) & result.contenders(built), result.needs(device)
            places = search.steps(result, allowed, needs)
            points = np.array([(result.cycles_of(*place) / CLOCK_HZ * 1e3, 100 * needs[place]) for place in places])
            colour = PLOT_COLOURS["ours" if result.method.name == PAPER_METHOD else "none"]
            kept = points[points[:, 1] < 100]
            axes.plot(*kept.T, ".", color=colour, markersize=5 if colour == PLOT_COLOURS["ours"] else 2.5)
            if result.method.name == PAPER_METHOD:
                place = PAPER_SPACE.index(PAPER_MHA), PAPER_SPACE.index(PAPER_FFN)
                at = result.cycles_of(*place) / CLOCK_HZ * 1e3, 100 * needs[place]
        axes.plot(*at, "o", color=PLOT_COLOURS["mlp"], fillstyle="none", markersize=11, markeredgewidth=2)
        axes.annotate("the paper's point", at, (10, 8), textcoords="offset points", color=PLOT_COLOURS["ink"])
        axes.axhline(100 * LIMIT, color=PLOT_COLOURS["mlp"], linestyle="--", linewidth=1)
        axes.set(xscale="log", xlabel="milliseconds for two sentences", ylabel=f"% of the {device.name}")
        axes.set_xticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
        axes.minorticks_off()
        label = f"{PAPER_SPACE.points:,} points: latency and share of the device; green: {PAPER_METHOD}"
        return page_svg(figure, label)


def draw_figure_11(records: Records) -> str:
    """Energy of the engine by precision over that of one-bit weights and activations, as SVG."""
    least = engine_energy_j(1, 1)
    bars = {
        f"W{weights}A{activations}": engine_energy_j(weights, activations) / least
        for weights, activations in PRECISIONS
    }
    colours = ["ours" if weights == 1 else "none" for weights, _ in PRECISIONS]
    return _bars("bmt-fig11", bars, colours, "energy, W1A1 = 1")


def draw_figure_12(records: Records) -> str:
    """Milliseconds of two sentences by size of the model, and what the paper's ratios imply for its GPU, as SVG."""
    bars: dict[str, float] = {}
    for row in bmt_figure_12(records).rows:
        size = row.quantity.split(", ")[1].removesuffix(" BMT")
        bars |= {f"{size}: BAT": row.ours or 0.0, f"{size}: GPU, implied": GPU_RATIOS[0] * (row.ours or 0.0)}
    return _bars("bmt-fig12", bars, ["ours", "none"] * (len(bars) // 2), "milliseconds for two sentences")


def _bars(salt: str, bars: dict[str, float], colours: list[str], label: str) -> str:
    from matplotlib import pyplot

    with plotting(salt):
        figure, axes = pyplot.subplots(figsize=(7.4, 0.42 * len(bars) + 0.8), layout="constrained")
        places = range(len(bars))
        axes.barh(places, list(bars.values()), color=[PLOT_COLOURS[colour] for colour in colours], height=0.62)
        for place, value in zip(places, bars.values(), strict=True):
            axes.annotate(f"{value:,.1f}", (value, place), (4, -3), textcoords="offset points", fontsize=9)
        axes.set_yticks(places, list(bars), color=PLOT_COLOURS["ink"])
        axes.invert_yaxis()
        axes.set_xlabel(label)
        axes.margins(x=0.1)
        spoken = "; ".join(f"{name} {value:.1f}" for name, value in bars.items())
        return page_svg(figure, f"{label}: {spoken}")
