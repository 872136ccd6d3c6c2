"""A module in several forms behind the same ports: with other parameters, and copies with faults, in one build.

Port `variant_i` says whose outputs are seen. All get the same inputs, but the others are held in reset: one that needs
longer for a job than the one that is seen would still be at it when its own turn comes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

INSTANCE = re.compile(r"^\s+(lutra_\w+) (?:#\(|u_)", re.MULTILINE)
PORT = re.compile(r"^\s+(input|output)\s+logic\s+(?:\[([^\]]+)\]\s+)?(\w+)", re.MULTILINE)
PARAMETER = re.compile(r"parameter [\w ]+?(\w+) = (\S+?),?\s")

RESET, CLOCK = "rst_ni", "clk_i"


@dataclass(frozen=True)
class Variant:
    """Parameters, and a fault: the module that it is in, what is replaced there, by what."""

    parameters: dict[str, int] = field(default_factory=dict)
    fault: tuple[str, str, str] | None = None


def write(
    variants: list[Variant], top: str, sources: dict[str, str], folder: Path, gate_clocks: bool = False
) -> list[Path]:
    """Write module `{top}_variants` and all that it needs, out of `sources` (module -> text), into `folder`.

    With `gate_clocks` only the one that is seen has a clock, which takes the simulator much less time. Such variants
    must not change between two resets.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: sources[name] for name in _needed(top, sources)}
    tops = []
    for index, variant in enumerate(variants):
        tops.append(top)
        if variant.fault:
            faulty, old, new = variant.fault
            assert texts[faulty].count(old) == 1, f"{faulty}: {old!r} is there {texts[faulty].count(old)} times"
            copied = [name for name in _needed(top, sources) if faulty in _needed(name, sources)]
            for name in copied:
                text = texts[name].replace(old, new) if name == faulty else texts[name]
                for inner in copied:
                    text = re.sub(rf"\b{inner}\b(?!\.)", f"{inner}_v{index}", text)
                texts[f"{name}_v{index}"] = text
            tops[-1] = f"{top}_v{index}"
    texts[f"{top}_variants"] = _wrapper(f"{top}_variants", sources[top], tops, variants, gate_clocks)
    paths = []
    for name, text in texts.items():
        paths.append(folder / f"{name}.sv")
        paths[-1].write_text(text)
    return paths


def _needed(module: str, sources: dict[str, str]) -> list[str]:
    """The module and all that it instantiates."""
    found, left = [], [module]
    while left:
        name = left.pop()
        if name not in found:
            found.append(name)
            left += INSTANCE.findall(sources[name])
    return found


def _header(text: str) -> str:
    return text[text.index("\nmodule ") : text.index("\n);", text.index("\nmodule "))]


def _defaults(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in PARAMETER.findall(_header(text)) if value.isdigit()}


def _width(range_: str, values: dict[str, int]) -> int:
    return int(eval(range_.rpartition(":")[0].replace("/", "//"), {}, values)) + 1 if range_ else 1


def _wrapper(name: str, text: str, tops: list[str], variants: list[Variant], gate_clocks: bool) -> str:
    ports = [(direction, range_, port) for direction, range_, port in PORT.findall(_header(text))]
    every = [_defaults(text) | variant.parameters for variant in variants]
    widest = {port: max(_width(range_, values) for values in every) for _, range_, port in ports}
    lines = [f"module {name} (", "  input logic [7:0] variant_i,"]
    lines.append(",\n".join(f"  {direction} logic [{widest[port] - 1}:0] {port}" for direction, _, port in ports))
    lines.append(");")
    for index, (top, variant, values) in enumerate(zip(tops, variants, every, strict=True)):
        connected = []
        for direction, range_, port in ports:
            width = _width(range_, values)
            if port == CLOCK and gate_clocks:  # all have one during a reset
                in_reset = f" || !{RESET}" if any(each == RESET for _, _, each in ports) else ""
                connected.append(f".{port}({port} && (variant_i == 8'd{index}{in_reset}))")
            elif port == RESET:
                connected.append(f".{port}({port} && variant_i == 8'd{index})")
            elif direction == "input":
                connected.append(f".{port}({port}[{width - 1}:0])")
            else:
                lines.append(f"  logic [{width - 1}:0] {port}_{index};")
                connected.append(f".{port}({port}_{index})")
        parameters = ", ".join(f".{key}({value})" for key, value in variant.parameters.items())
        lines.append(f"  {top} {f'#({parameters}) ' if parameters else ''}u_{index} ({', '.join(connected)});")
    lines.append("  always_comb begin")
    lines += [f"    {port} = '0;" for direction, _, port in ports if direction == "output"]
    for index, values in enumerate(every):
        lines.append(f"    if (variant_i == 8'd{index}) begin")
        for direction, range_, port in ports:
            if direction == "output":
                lines.append(f"      {port}[{_width(range_, values) - 1}:0] = {port}_{index};")
        lines.append("    end")
    return "\n".join([*lines, "  end", "endmodule", ""])
