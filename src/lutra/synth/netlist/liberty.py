"""What the cells of a Liberty library compute: functions of gates, flip-flops and clock gates; no timing, no power."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from lutra.errors import InputError

Words = np.ndarray
"""uint64, one simulation per bit; any shape."""
Function = Callable[[Mapping[str, Words]], Words]
"""The value of an output from the values of the pins that it names."""

_TOKEN = re.compile(
    r"(?P<group>[\w\\]+)\s*\((?P<arguments>[^()]*)\)\s*\{"
    r"|(?P<key>\w+)\s*:\s*(?P<value>\"[^\"]*\"|[^;\n}]+)"
    r"|(?P<end>\})"
)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_SEQUENTIAL = re.compile(r"\b(ff|latch|statetable|ff_bank|latch_bank)\s*\(|\bclock_gating_integrated_cell\b")
_OPERATOR = re.compile(r"\s*([A-Za-z_]\w*|[01]|[!'^&*|+()])")


@dataclass(frozen=True)
class FlipFlop:
    """An edge-triggered flip-flop without asynchronous set or reset."""

    next_state: Function
    clock_pin: str
    state: str
    inverted_state: str


@dataclass(frozen=True)
class ClockGate:
    """An integrated clock gate: the clock's pulse passes when one of the enable pins was 1 before it."""

    clock_pin: str
    enable_pins: tuple[str, ...]
    output_pin: str


@dataclass(frozen=True)
class Cell:
    """One cell. `functions` of a flip-flop's outputs read its state by the names in `flip_flop`."""

    name: str
    functions: dict[str, Function]
    reads: dict[str, tuple[str, ...]]
    """Pins (or states) that each output's function names."""
    flip_flop: FlipFlop | None = None
    clock_gate: ClockGate | None = None


@dataclass(frozen=True)
class Buffer:
    """A cell whose output is its input."""

    name: str
    input_pin: str
    output_pin: str


@dataclass
class _Group:
    """A group of a Liberty file: its attributes and the groups in it."""

    kind: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    groups: list[_Group] = field(default_factory=list)

    def of(self, *kinds: str) -> list[_Group]:
        return [group for group in self.groups if group.kind in kinds]


def read_cells(liberty: str, names: Collection[str]) -> dict[str, Cell]:
    """The cells called `names`.

    Raises:
        InputError: the library has no such cell, or one that is neither gate, flip-flop nor clock gate.
    """
    texts = ((name, text) for name, text in _cell_texts(liberty) if name in names)
    found = {name: _cell(_parse(_COMMENT.sub("", text))) for name, text in texts}
    missing = sorted(set(names) - found.keys())
    if missing:
        raise InputError(f"the Liberty file has no cell {missing[0]}; give the library that the netlist was mapped to")
    return found


def clock_gate_name(liberty: str) -> str | None:
    """The smallest positive-edge clock gate of the library without a test pin, or None."""
    areas = {}
    for name, text in _cell_texts(liberty):
        if re.search(r'clock_gating_integrated_cell\s*:\s*"?latch_posedge"?\s*;', text):
            area = re.search(r"\barea\s*:\s*([0-9.eE+-]+)", text)
            areas[name] = float(area[1]) if area else float("inf")
    return min(areas, key=lambda name: areas[name]) if areas else None


def fanout_buffer(liberty: str) -> Buffer:
    """The smallest buffer of the library that is at least twice as large as its smallest one.

    The smallest drives little, and the largest are for clock trees.

    Raises:
        InputError: the library has no buffer.
    """
    buffers = _buffers(liberty)
    enough = 2 * buffers[0][0]
    return min(buffers, key=lambda each: (each[0] < enough, each[0], each[1].name))[1]


def smallest_buffer(liberty: str) -> Buffer:
    """The smallest buffer of the library.

    Raises:
        InputError: the library has no buffer.
    """
    return _buffers(liberty)[0][1]


def _buffers(liberty: str) -> list[tuple[float, Buffer]]:
    """Area and pins of every buffer, the smallest first."""
    buffers = []
    for name, text in _cell_texts(liberty):
        area = re.search(r"\barea\s*:\s*([0-9.eE+-]+)", text)
        functions = re.findall(r'\bfunction\s*:\s*"\s*\(?\s*(\w+)\s*\)?\s*"', text)
        if area and len(functions) == len(re.findall(r"\bfunction\s*:", text)) == 1 and not _SEQUENTIAL.search(text):
            pins = [pin.name for pin in _parse(_COMMENT.sub("", text)).of("pin")]
            if len(pins) == 2 and functions[0] in pins:
                pins.remove(functions[0])
                buffers.append((float(area[1]), Buffer(name, functions[0], pins[0])))
    if not buffers:
        raise InputError("the Liberty file has no buffer; give a complete standard cell library")
    return sorted(buffers, key=lambda each: (each[0], each[1].name))


def flip_flop_names(liberty: str) -> set[str]:
    """The flip-flops of the library."""
    return {name for name, text in _cell_texts(liberty) if re.search(r"\bff\s*\(", text)}


def gate_names(liberty: str) -> set[str]:
    """The cells of the library that are combinational logic."""
    return {
        name
        for name, text in _cell_texts(liberty)
        if re.search(r"\bfunction\s*:", text) and not _SEQUENTIAL.search(text)
    }


def _cell_texts(liberty: str) -> Iterator[tuple[str, str]]:
    """Name and text of every cell; one cell reaches to the next."""
    starts = list(re.finditer(r'\bcell\s*\(\s*"?([\w]+)"?\s*\)\s*\{', liberty))
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        yield start[1], liberty[start.start() : after.start() if after else len(liberty)]


def _parse(text: str) -> _Group:
    """The first group of `text`."""
    stack: list[_Group] = []
    for token in _TOKEN.finditer(text):
        if token["group"]:
            group = _Group(token["group"], token["arguments"].replace('"', "").strip())
            if stack:
                stack[-1].groups.append(group)
            stack.append(group)
        elif token["key"] and stack:
            stack[-1].attributes.setdefault(token["key"], token["value"].strip().strip('"').strip())
        elif token["end"] and len(stack) > 1:
            stack.pop()
        elif token["end"]:
            break
    return stack[0]


def _cell(group: _Group) -> Cell:
    pins = group.of("pin")
    if "clock_gating_integrated_cell" in group.attributes:
        return Cell(group.name, {}, {}, clock_gate=_clock_gate(pins))
    formulas = {pin.name: pin.attributes["function"] for pin in pins if "function" in pin.attributes}
    parsed = {name: parse_function(formula, f"cell {group.name}") for name, formula in formulas.items()}
    functions = {name: function for name, (function, _) in parsed.items()}
    reads = {name: names for name, (_, names) in parsed.items()}
    flip_flops = group.of("ff")
    if group.of("latch", "statetable", "ff_bank", "latch_bank"):
        raise InputError(f"cell {group.name}: a latch or bank, which cannot be simulated; leave it out of the mapping")
    return Cell(group.name, functions, reads, flip_flop=_flip_flop(group.name, flip_flops[0]) if flip_flops else None)


def _flip_flop(cell: str, group: _Group) -> FlipFlop:
    clock = group.attributes.get("clocked_on", "")
    asynchronous = {"clear", "preset"} & group.attributes.keys()
    if asynchronous or not re.fullmatch(r"\w+", clock.strip("() ")):
        raise InputError(f"cell {cell}: only flip-flops on the rising edge without asynchronous reset are simulated")
    state, inverted = (name.strip() for name in group.name.split(","))
    function, _ = parse_function(group.attributes["next_state"], f"cell {cell}")
    return FlipFlop(function, clock.strip("() "), state, inverted)


def _clock_gate(pins: list[_Group]) -> ClockGate:
    def marked(*keys: str) -> tuple[str, ...]:
        return tuple(pin.name for pin in pins if any(pin.attributes.get(key) == "true" for key in keys))

    return ClockGate(
        marked("clock_gate_clock_pin")[0],
        marked("clock_gate_enable_pin", "clock_gate_test_pin"),
        marked("clock_gate_out_pin")[0],
    )


def parse_function(formula: str, where: str) -> tuple[Function, tuple[str, ...]]:
    """A Liberty function such as "!((A1 & A2) | B)" as something that computes it, and the names that it reads.

    `!` and a trailing `'` negate and bind most, then `^`, then `&`, `*` or nothing, then `|` or `+`.

    Raises:
        InputError: not such a formula.
    """
    tokens: list[str] = _OPERATOR.findall(formula)
    if "".join(tokens) != re.sub(r"\s", "", formula):
        raise InputError(f"{where}: cannot read the function {formula!r}")
    names = tuple(dict.fromkeys(token for token in tokens if re.match(r"[A-Za-z_]", token)))
    tokens.append("")
    at = 0

    def take() -> str:
        nonlocal at
        at += 1
        return tokens[at - 1]

    def atom() -> Function:
        token = take()
        if token == "!":
            return _negated(atom())
        if token == "(":
            value = alternatives()
            if take() != ")":
                raise InputError(f"{where}: unbalanced parentheses in the function {formula!r}")
        elif token in ("0", "1"):
            value = _constant(token == "1")
        elif re.match(r"[A-Za-z_]", token):
            value = _named(token)
        else:
            raise InputError(f"{where}: cannot read the function {formula!r}")
        while tokens[at] == "'":
            take()
            value = _negated(value)
        return value

    def exclusive() -> Function:
        value = atom()
        while tokens[at] == "^":
            take()
            value = _joined(np.bitwise_xor, value, atom())
        return value

    def products() -> Function:
        value = exclusive()
        while tokens[at] in ("&", "*") or re.match(r"[\w!(]", tokens[at]):
            if tokens[at] in ("&", "*"):
                take()
            value = _joined(np.bitwise_and, value, exclusive())
        return value

    def alternatives() -> Function:
        value = products()
        while tokens[at] in ("|", "+"):
            take()
            value = _joined(np.bitwise_or, value, products())
        return value

    function = alternatives()
    if tokens[at] != "":
        raise InputError(f"{where}: cannot read the function {formula!r}")
    return function, names


def _named(name: str) -> Function:
    return lambda pins: pins[name]


def _constant(value: bool) -> Function:
    return lambda pins: np.uint64(0xFFFF_FFFF_FFFF_FFFF if value else 0)  # type: ignore[return-value]


def _negated(value: Function) -> Function:
    return lambda pins: np.bitwise_not(value(pins))


def _joined(operation: Callable[[Words, Words], Words], left: Function, right: Function) -> Function:
    return lambda pins: operation(left(pins), right(pins))
