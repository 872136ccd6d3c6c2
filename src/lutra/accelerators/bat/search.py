"""Every configuration of BAT that a space allows, for every model in it: its cycles and resources.

They come from the functions that the RTL is checked against, and no point is evaluated by other code. What a pair of
sentences takes follows from what each module takes by itself, so that pairs of modules are outer sums and maxima: the
paper's 5,832,000 points are 45 tables of 360 x 360.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lutra.accelerators.bat.anchors import paper_power_w, paper_use
from lutra.accelerators.bat.config import BatConfig, ModuleConfig
from lutra.accelerators.bat.latency import BUILT, Count, Memory, Module, Shape, Timing, total
from lutra.accelerators.bat.pipeline import program_cycles
from lutra.accelerators.bat.resources import Sizes, UnitFits, Use, module_use, total_use
from lutra.accelerators.bat.traffic import Loads, block_bytes
from lutra.errors import InputError

DEVICES = Path(__file__).parent / "devices.toml"
MEMORY = Memory()
"""32 cycles to the first beat, then one per cycle."""
STEADY_LAYERS = 3
"""After so many layers a module's loads and steps repeat."""
PARALLELISMS = ("p_dpu", "p_quan", "p_vu", "p_ln")


@dataclass(frozen=True)
class Device:
    """An FPGA; `bram` in blocks of 36 kbit."""

    name: str
    lut: int
    ff: int
    bram: float
    dsp: int
    source: str
    remark: str = ""


@cache
def devices() -> Mapping[str, Device]:
    """By short name."""
    read = tomllib.loads(DEVICES.read_text(encoding="utf-8"))
    return {name: Device(**values) for name, values in read.items()}


@dataclass(frozen=True)
class Method:
    """A model in few bits: what the latency depends on, and nothing else."""

    name: str
    copies: int
    bits: int
    heads: int
    intermediate: int
    elastic: bool = True
    """Quantisers have biases, which are loaded with the weights; BinaryBERT's have none."""

    def shape(self, space: Space) -> Shape:
        return Shape(space.tokens, space.width, self.heads, space.head_width, self.intermediate, self.copies, self.bits)


@dataclass(frozen=True)
class Space:
    """Methods by configurations of two modules."""

    methods: tuple[Method, ...]
    p_dpu: tuple[int, ...]
    p_quan: tuple[int, ...]
    p_vu: tuple[int, ...]
    p_ln: tuple[int, ...]
    p_pe: int = 128
    p_softmax: int = 4
    sums: str = "count"
    layers: int = 12
    tokens: int = 128
    width: int = 768
    head_width: int = 64
    clock_hz: float = 200e6
    memory: Memory = MEMORY

    @property
    def points(self) -> int:
        return len(self.methods) * len(self.modules) ** 2

    @cached_property
    def modules(self) -> list[tuple[int, ...]]:
        """All values of `PARALLELISMS`, in the order of the axes of results."""
        return [
            (dpu, quan, vu, ln) for dpu in self.p_dpu for quan in self.p_quan for vu in self.p_vu for ln in self.p_ln
        ]

    def module(self, index: int) -> ModuleConfig:
        values = dict(zip(PARALLELISMS, self.modules[index], strict=True))
        return ModuleConfig(**values, p_pe=self.p_pe, p_softmax=self.p_softmax)

    def index(self, module: ModuleConfig) -> int:
        """Of a module in results.

        Raises:
            InputError: the space does not hold it.
        """
        values = tuple(getattr(module, name) for name in PARALLELISMS)
        if values not in self.modules or (module.p_pe, module.p_softmax) != (self.p_pe, self.p_softmax):
            raise InputError(f"BAT: {module} is not in the space")
        return self.modules.index(values)


def _paper_methods() -> Iterator[Method]:
    for name, copies, all_bits in (("BinaryBERT", 2, (8, 4)), ("BMT", 2, (4, 2)), ("BiT", 1, (1,))):
        for bits in all_bits:
            for heads in (3, 6, 12):
                for intermediate in (768, 1536, 3072):
                    model = f"{name} W1A{bits} {64 * heads}/{intermediate}"
                    yield Method(model, copies, bits, heads, intermediate, elastic=name != "BinaryBERT")


PAPER_SPACE = Space(
    methods=tuple(_paper_methods()),
    p_dpu=(8, 16, 32, 48, 64, 96),
    p_quan=(32, 64, 128),
    p_vu=(32, 64, 96, 128, 160),
    p_ln=(8, 16, 32, 48),
)
"""The paper's Table 3; it does not say p_pe."""
PAPER_METHOD = "BMT W1A4 384/1536"


@dataclass(frozen=True)
class _Lanes:
    """Columns of `Space.modules`."""

    p_dpu: np.ndarray
    p_quan: np.ndarray
    p_vu: np.ndarray
    p_ln: np.ndarray
    p_pe: int
    p_softmax: int


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One method on all pairs of modules. Arrays of a module are (modules,)."""

    method: Method
    first: np.ndarray
    """Cycles from the start of a pair until the attention of the first sentence in the first layer is over."""
    second: np.ndarray
    """Of the second sentence."""
    attention: np.ndarray
    """Cycles of a sentence in a later layer, with what it waits for its weights."""
    feed_forward: np.ndarray
    last: np.ndarray
    """The same in the last layer."""
    loads: tuple[np.ndarray, np.ndarray]
    """When the weights of the two steps of the first feed-forward block are there."""
    steps: tuple[np.ndarray, np.ndarray]
    """Cycles of these steps."""
    last_steps: np.ndarray
    """Of both steps in the last layer."""
    attention_use: Use
    feed_forward_use: Use
    attention_bytes: np.ndarray
    """That a sentence in a layer moves to and from memory."""
    feed_forward_bytes: np.ndarray
    attention_power_w: np.ndarray
    """Scaled from the paper's Table 6."""
    feed_forward_power_w: np.ndarray
    layers: int

    def pair_cycles(self) -> np.ndarray:
        """Two sentences through all layers, (attention modules, feed-forward modules)."""
        pair: np.ndarray = self.cycles_of(np.s_[:, None], np.s_[None])
        return pair

    def cycles_of(self, attention: Any, feed_forward: Any) -> Count:
        """The same of modules that indices of NumPy choose.

        The modules take turns, stage by stage (`equation_5_of_a_pair`); the first stages and the last ones are not like
        the others. Programs take exactly as long where weights are never late.
        """
        hidden_loaded, output_loaded = (loaded[feed_forward] for loaded in self.loads)
        hidden, output = (cycles[feed_forward] for cycles in self.steps)
        first, steady = self.first[attention], self.attention[attention]
        middle, last = self.feed_forward[feed_forward], self.last[feed_forward]
        hidden_over = np.maximum(first, hidden_loaded) + hidden
        feed_forward_over = np.maximum(hidden_over, output_loaded) + output
        attention_over = first + self.second[attention]
        begun = np.maximum(attention_over, feed_forward_over)
        if self.layers == 1:
            return begun + self._last(feed_forward, attention_over - feed_forward_over)
        stages = (2 * self.layers - 3) * np.maximum(steady, middle)
        return begun + stages + np.maximum(steady, last) + self._last(feed_forward, steady - last)

    def _last(self, feed_forward: Any, idle: Count) -> Count:
        """Cycles of the very last block, whose weights come while the module waits for the other one."""
        computing = self.last_steps[feed_forward]
        return np.maximum(computing, self.last[feed_forward] - np.maximum(0, idle))

    def pair_energy_j(self, clock_hz: float) -> np.ndarray:
        """What the paper's power, scaled by lanes, comes to for two sentences; shape as of `pair_cycles`."""
        power_w = self.attention_power_w[:, None] + self.feed_forward_power_w[None]
        energy: np.ndarray = power_w * self.pair_cycles() / clock_hz
        return energy

    def bytes_per_cycle(self) -> np.ndarray:
        """Of both ports together while both modules work; shape as of `pair_cycles`."""
        slot = np.maximum(self.attention[:, None], self.feed_forward[None])
        moved = self.attention_bytes[:, None] + self.feed_forward_bytes[None]
        rate: np.ndarray = moved / slot
        return rate

    def use(self, name: str) -> np.ndarray:
        """A resource of both modules, (attention modules, feed-forward modules)."""
        one, other = (np.asarray(getattr(use, name), float) for use in (self.attention_use, self.feed_forward_use))
        size = len(self.attention)
        both: np.ndarray = np.broadcast_to(one, size)[:, None] + np.broadcast_to(other, size)[None]
        return both

    def needs(self, device: Device) -> np.ndarray:
        """The share of the resource of which a pair needs the largest one; shape as of `pair_cycles`."""
        has = {"lut_packed": device.lut, "ff": device.ff, "bram": device.bram, "dsp": device.dsp}
        share: np.ndarray = np.maximum.reduce([self.use(name) / count for name, count in has.items()])
        return share

    def feasible(self, device: Device, fraction: float) -> np.ndarray:
        """Which pairs take less than a fraction of everything that a device has."""
        fits: np.ndarray = self.needs(device) < fraction
        return fits

    def contenders(self, built: np.ndarray) -> np.ndarray:
        """Pairs of modules of `built` of which no other one is as good in cycles, resources and power, better in one.

        Whatever is best among pairs in what grows with these is among them. Shape as of `pair_cycles`.
        """
        attention = [self.attention, self.first, self.second, self.attention_power_w]
        feed_forward = [
            self.feed_forward,
            self.last,
            *self.loads,
            *self.steps,
            self.last_steps,
            self.feed_forward_power_w,
        ]
        first = _unbeaten(built, attention, self.attention_use)
        second = _unbeaten(built, feed_forward, self.feed_forward_use)
        pairs: np.ndarray = np.logical_and.outer(first, second)
        return pairs


def _unbeaten(built: np.ndarray, costs: list[np.ndarray], use: Use) -> np.ndarray:
    """Which modules are in `built` and no other one of it beats; of equal ones the first is."""
    resources = [getattr(use, name) for name in ("lut_packed", "ff", "dsp", "bram")]
    values = np.stack([np.broadcast_to(np.asarray(each, float), built.shape) for each in [*costs, *resources]], 1)
    no_worse = (values[:, None] <= values[None]).all(2)  # [i, j]: i is no worse than j
    earlier = np.arange(len(built))[:, None] < np.arange(len(built))[None]
    beats = no_worse & (~no_worse.T | earlier) & built[:, None]
    kept: np.ndarray = built & ~beats.any(0)
    return kept


def buildable(space: Space, method: Method) -> np.ndarray:
    """Which modules the RTL can be written with for a method's sizes: `BatConfig` takes them, (modules,)."""
    return _buildable(replace(space, methods=()), method.heads)


@cache
def _buildable(space: Space, heads: int) -> np.ndarray:
    return np.array([_takes(space, values, heads) for values in space.modules])


def _takes(space: Space, values: tuple[int, ...], heads: int) -> bool:
    lanes = dict(zip(PARALLELISMS, values, strict=True))
    try:
        module = ModuleConfig(**lanes, p_pe=space.p_pe, p_softmax=space.p_softmax)
        BatConfig((module,), positions=space.tokens, max_width=space.width, heads=heads, head_width=space.head_width)
    except InputError:
        return False
    return True


def _lanes(space: Space) -> _Lanes:
    columns = dict(zip(PARALLELISMS, np.array(space.modules).T, strict=True))
    return _Lanes(**columns, p_pe=space.p_pe, p_softmax=space.p_softmax)


def with_resources(space: Space, result: MethodResult, fits: UnitFits | None) -> MethodResult:
    """The same with the resources of other fits; None: those that follow from the paper's Table 6.

    Raises:
        InputError: the fits have no synthesis of a unit.
    """
    lanes, shape = _lanes(space), result.method.shape(space)
    first, second = (_use(fits, lanes, shape, space.sums, attention) for attention in (True, False))
    return replace(result, attention_use=first, feed_forward_use=second)


def evaluate(space: Space, fits: UnitFits | None, timing: Timing = BUILT) -> Iterator[MethodResult]:
    """Results of one method after the other; without `fits` resources are those that follow from the paper's Table 6.

    Raises:
        InputError: the fits have no synthesis of a unit.
    """
    lanes = _lanes(space)
    for method in space.methods:
        shape = method.shape(space)
        module = Module(lanes, shape, space.memory, timing)
        loads = Loads(lanes, shape, method.elastic)
        uses = [_use(fits, lanes, shape, space.sums, attention) for attention in (True, False)]
        # Of the attention module the first layers; of the other one as many, the last of them twice.
        blocks = [(module.attention, loads.attention)] * STEADY_LAYERS
        over = _over([((module.quantise,) * 2, (loads.quantise,) * 2), *blocks], space.memory, timing)
        ends = [(module.feed_forward(last=is_last), loads.feed_forward(last=is_last)) for is_last in (False, True)]
        middle, last = (
            _over([ends[0]] * STEADY_LAYERS + [ends[is_last]] * 2, space.memory, timing) for is_last in (False, True)
        )
        block = ends[space.layers == 1][0]
        yield MethodResult(
            method,
            first=over[1] + timing.next_step,
            second=over[2] - over[1],
            attention=over[-1] - over[-2],
            feed_forward=middle[-1] - middle[-2],
            last=last[-1] - last[-2],
            loads=_first_loads(ends[space.layers == 1][1], space.memory, timing),
            steps=(np.asarray(block[0].cycles(timing)), np.asarray(block[1].cycles(timing))),
            last_steps=np.asarray(total(ends[True][0], timing)),
            attention_use=uses[0],
            feed_forward_use=uses[1],
            attention_bytes=np.asarray(block_bytes(loads.attention, shape)),
            feed_forward_bytes=np.asarray(block_bytes(loads.feed_forward(), shape)),
            attention_power_w=np.asarray(paper_power_w(lanes, shape.bits, True)),
            feed_forward_power_w=np.asarray(paper_power_w(lanes, shape.bits, False)),
            layers=space.layers,
        )


def _over(blocks: list[Any], memory: Memory, timing: Timing) -> list[np.ndarray]:
    """When blocks of steps, each with its loads, are over that follow each other in one module."""
    cycles = [step.cycles(timing) for steps, _ in blocks for step in steps]
    ends = program_cycles(cycles, [beats for _, loads in blocks for beats in loads], memory, timing).ends
    counts = np.cumsum([len(steps) for steps, _ in blocks])
    return [np.asarray(ends[count - 1]) for count in counts]


def _first_loads(beats: Any, memory: Memory, timing: Timing) -> tuple[np.ndarray, np.ndarray]:
    """When the first two steps of a module can start that wait for nothing but their weights."""
    loaded = program_cycles([0, 0], list(beats), memory, timing).loaded
    return np.asarray(loaded[0]), np.asarray(loaded[1])


def _use(fits: UnitFits | None, lanes: _Lanes, shape: Shape, sums: str, attention: bool) -> Use:
    if fits is None:
        return paper_use(lanes, shape.bits, attention)
    return total_use(module_use(fits, lanes, Sizes(shape, sums), attention, not attention))


@dataclass(frozen=True)
class Choice:
    """A pair of modules for a method."""

    method: str
    mha: ModuleConfig
    ffn: ModuleConfig
    cycles: int
    milliseconds: float
    use: Use


def choice(space: Space, result: MethodResult, place: tuple[int, int]) -> Choice:
    """The pair at a place of the arrays."""
    first, second = place
    cycles = int(result.cycles_of(first, second))
    used = _at(result.attention_use, first) + _at(result.feed_forward_use, second)
    return Choice(
        result.method.name, space.module(first), space.module(second), cycles, cycles / space.clock_hz * 1e3, used
    )


def _at(use: Use, index: int) -> Use:
    """Of one module, where a resource may be the same for all."""
    return Use(*(float(value[index] if np.ndim(value) else value) for value in vars(use).values()))


def fastest(space: Space, result: MethodResult, allowed: np.ndarray) -> Choice | None:
    """The fastest allowed pair, of equally fast ones that with the fewest LUTs; None if nothing is allowed."""
    if not allowed.any():
        return None
    cycles = np.where(allowed, result.pair_cycles(), np.iinfo(np.int64).max)
    luts = np.where(cycles == cycles.min(), result.use("lut_packed"), np.inf)
    place = np.unravel_index(int(luts.argmin()), luts.shape)
    return choice(space, result, (int(place[0]), int(place[1])))


def staircase(space: Space, result: MethodResult, allowed: np.ndarray) -> list[Choice]:
    """Allowed pairs that no other one beats in both latency and LUTs, the fastest first."""
    return [choice(space, result, place) for place in steps(result, allowed, result.use("lut_packed"))]


def steps(result: MethodResult, allowed: np.ndarray, cost: np.ndarray) -> list[tuple[int, int]]:
    """Places of allowed pairs that no other one beats in both cycles and `cost`, the fastest first."""
    places = np.argwhere(allowed)
    cycles, costs = result.pair_cycles()[allowed], cost[allowed]
    order = np.lexsort((costs, cycles))
    best = np.minimum.accumulate(np.concatenate([[np.inf], costs[order][:-1]]))
    return [(int(a), int(b)) for a, b in places[order[costs[order] < best]]]
