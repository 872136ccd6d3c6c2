"""Commands that make of a run what others build with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lutra.cli.app import JsonOption, RunArgument, app
from lutra.cli.console import command, fold_factor, print_json, working
from lutra.errors import InputError

FoldOption = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help='Fold factor, an integer or "all"; default the first that the recipe synthesises.',
        show_default=False,
    ),
]
BlockOption = Annotated[
    list[int] | None,
    typer.Option(metavar="N", help="Only this block, counted from 0; repeatable.", show_default=False),
]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


@command(app)
def package(
    root: RunArgument,
    out: Annotated[Path, typer.Option(help="Folder of the IP core.", show_default=False)],
    name: Annotated[
        str | None, typer.Option(help="Name of the core and its top module; default NAME_ip.", show_default=False)
    ] = None,
    fold: FoldOption = None,
    block: BlockOption = None,
    machine: Annotated[
        bool, typer.Option("--machine", help="The machine for the whole model instead of its weightless blocks.")
    ] = False,
    method: Annotated[
        str | None,
        typer.Option(help="Of a run of kind bert: which method; default the first that BAT takes.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write an IP core: AXI, drivers for PYNQ and C, IP-XACT, scripts for Vivado and FuseSoC, golden vectors.

    All blocks share one pair of streams; a register chooses the block. With --machine, and for a BERT, it is the
    machine that runs the whole model.
    """
    from lutra.recipes.kinds import kind_of
    from lutra.runs.steps import load_run

    files, recipe = load_run(root)
    kind = kind_of(recipe)
    if method and recipe.kind != "bert":
        raise InputError(f"--method {method}: {root} is a run of kind {recipe.kind}, which has no methods")
    if machine or kind.package is None:
        if kind.machine is None:
            raise InputError(
                f"{root}: a run of kind {recipe.kind}; no machine runs its whole model, package its blocks"
            )
        if fold or block:
            raise InputError(
                f"{root}: --fold and --block say which weightless blocks are packaged, not a whole machine"
            )
        with working():
            result = kind.call(kind.machine, files, recipe, out, name, method)
    else:
        with working():
            result = kind.call(
                kind.package, files, recipe, out, name, fold_factor(fold) if fold else None, tuple(block or ())
            )
    if as_json:
        print_json(result)
        return
    what = f"{result['out']}: {result['name']}, build {result['build_hash']}, "
    if "machine" in result:
        buses = " and ".join(map(str, result["bus_bits"].values()))
        what += f"{result['machine']}, {result['cycles']:,} cycles for {result['rows']} rows, buses of {buses} bits, "
    else:
        bus = result["bus_bits"]
        what += f"{_counted(len(result['blocks']), 'block')}, {result['cycles_per_row']} cycles per row, "
        what += f"streams of {bus['in']} and {bus['out']} bits, "
    print(f"{what}{result['files']} files")


@command(app)
def bitstream(
    root: RunArgument,
    board: Annotated[str, typer.Option(help="ulx3s or colorlight-i5.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder; default bitstream/BOARD of the run.", show_default=False)
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="What the board carries: 85k, 45k or 25k; default its largest.", show_default=False),
    ] = None,
    fold: FoldOption = None,
    block: BlockOption = None,
    mhz: Annotated[
        float | None,
        typer.Option(min=5, help="Clock that must be met; default the highest up to 100 that is.", show_default=False),
    ] = None,
    baud: Annotated[
        int | None, typer.Option(min=1200, help="Of the serial line; default the board's.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a bitstream with open tools: blocks behind a serial line, with a driver for the computer.

    What the bitstream holds is unpacked again and compared with the trained tables. Needs the extra `fpga`.
    """
    from lutra.recipes.kinds import kind_of
    from lutra.runs.steps import load_run

    files, recipe = load_run(root)
    kind = kind_of(recipe)
    if kind.bitstream is None:
        raise InputError(f"{root}: a run of kind {recipe.kind}; only weightless blocks become bitstreams yet")
    with working():
        result = kind.call(
            kind.bitstream,
            files,
            recipe,
            board,
            out,
            device,
            fold_factor(fold) if fold else None,
            tuple(block or ()),
            mhz * 1e6 if mhz else None,
            baud,
        )
    if as_json:
        print_json(result)
    else:
        used = result["used"]
        cells = ", ".join(
            f"{used[cell]['used']:,} of {used[cell]['available']:,} {label}"
            for cell, label in (("TRELLIS_COMB", "LUT4"), ("TRELLIS_FF", "flip-flops"))
        )
        where = f"{result['board']} ({result['device']})"
        print(f"{result['out']}/{result['name']}.bit: {where}, build {result['build_hash']}")
        print(f"clock: {result['clock_hz'] / 1e6:g} MHz met, {result['fmax_hz'] / 1e6:.1f} MHz reached; {cells}")
        print(f"{result['proof']['tables']:,} tables in the bitstream = trained tables, every entry compared")
