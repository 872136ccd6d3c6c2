"""Synthesis of large regular designs: every module once, counted as often as it occurs.

Flat synthesis of thousands of equal processing elements takes hours and finds little: what one element passes to the
next are registers, so that no logic crosses the border.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutra import escape
from lutra.errors import ToolError
from lutra.synth.tools.find import Tool
from lutra.synth.tools.yosys import FpgaUse, fpga_use, read_sources, run_script

OUTSIDE_FILE = "outside.sv"
PORTS = re.compile(r"^module .*?^\);\n", re.DOTALL | re.MULTILINE)
"""The ports of a module, as our SystemVerilog ends them."""


@dataclass(frozen=True)
class ModuleUse:
    """One module of the design, without the modules inside it that are counted apart."""

    name: str
    instances: int
    """How often it occurs in the whole design."""
    use: FpgaUse


@dataclass(frozen=True)
class HierarchyUse:
    """A design counted up from its modules."""

    modules: tuple[ModuleUse, ...]

    @property
    def total(self) -> FpgaUse:
        """The whole design. What flat synthesis would drop at the borders of modules is counted."""
        return self.of(*(module.name for module in self.modules))

    def of(self, *names: str) -> FpgaUse:
        """All instances of the modules called `names`."""
        chosen = [module for module in self.modules if module.name in names]
        fields = (field.name for field in dataclasses.fields(FpgaUse))
        return FpgaUse(**{name: sum(each.instances * getattr(each.use, name) for each in chosen) for name in fields})


def hierarchy_script(
    sources: list[str], top: str, apart: Sequence[str], lut_memories: bool = False, outside: str | None = None
) -> str:
    """UltraScale+ without DSP, BRAM where a module asks for it, LUTs as memory only with `lut_memories`.

    Modules `apart` are not flattened; those whose ports are in the file `outside` stay as they are."""
    patterns = " ".join(f"*{name}*" for name in apart)
    memories = "" if lut_memories else "-nolutram "
    lines = [
        f"read_verilog -sv -lib {escape.yosys(outside)}" if outside else "",
        read_sources(sources),
        f"hierarchy -top {top}",  # LUT6 cells are known only to synth_xilinx, which checks
        f"setattr -mod -set keep_hierarchy 1 {patterns}" if apart else "",
        f"synth_xilinx -family xcup -nodsp {memories}-noiopad -flatten -top {top}",
        f"select {top} {patterns}",
        "write_json -selected netlist.json",
        "",
    ]
    return "\n".join(lines)


def synthesise_hierarchy(
    yosys: Tool,
    folder: Path,
    sources: list[str],
    top: str,
    apart: Sequence[str],
    lut_memories: bool = False,
    outside: Mapping[str, str] | None = None,
) -> HierarchyUse:
    """Map `top`, whose sources lie in `folder`, with each of the modules `apart` once per set of its parameters.

    Modules `outside`, by name with their ports (see `stub`), are not mapped and not counted.

    Raises:
        ToolError: Yosys failed, left no netlist, or left cells that are not of the device.
    """
    outside = outside or {}
    if outside:
        (folder / OUTSIDE_FILE).write_text("".join(outside.values()), encoding="utf-8")
    script = hierarchy_script(sources, top, apart, lut_memories, OUTSIDE_FILE if outside else None)
    netlist = run_script(yosys, folder, script, top)
    modules = {name: module["cells"] for name, module in netlist.items()}
    instances = _instances(modules, top)
    counted = []
    for name, count in instances.items():
        cells = {c: what for c, what in modules[name].items() if what["type"] not in {**modules, **outside}}
        counted.append(ModuleUse(_plain(name), count, fpga_use(cells, f"{yosys.name}, {_plain(name)}")))
    missing = set(apart) - {module.name for module in counted}
    if missing:
        raise ToolError(f"{yosys.name}: {top} has no module {', '.join(sorted(missing))}; name its own modules")
    return HierarchyUse(tuple(counted))


def _instances(modules: dict[str, dict[str, Any]], top: str) -> dict[str, int]:
    """How often each module occurs in `top`, itself included, before the modules inside it."""
    counts: Counter[str] = Counter()

    def count(name: str, times: int) -> None:
        counts[name] += times
        inside = Counter(cell["type"] for cell in modules[name].values() if cell["type"] in modules)
        for inner, occurrences in inside.items():
            count(inner, times * occurrences)

    count(top, 1)
    return dict(counts)


def _plain(name: str) -> str:
    r"""The name in the source of a module with parameters, such as `$paramod\edge\Depth=s32'0...` for `edge`."""
    parts = name.split("\\")
    return parts[1] if name.startswith("$paramod") else parts[-1]


def stub(module: str) -> str:
    """The ports of a module that we wrote, without what is inside."""
    match = PORTS.search(module)
    assert match, "modules end their ports with a line of their own"
    return f"{match[0]}endmodule\n"


def write_sources(files: Mapping[str, str], folder: Path) -> list[str]:
    """Write a design; its sources in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name in files if name.endswith(".sv")]
