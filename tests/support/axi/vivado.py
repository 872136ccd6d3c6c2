"""As much of Vivado as the script of a packaged core uses: every command is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

VIVADO = """
set calls {}
foreach name {create_project update_ip_catalog create_bd_design apply_bd_automation connect_bd_intf_net connect_bd_net
    assign_bd_address validate_bd_design save_bd_design make_wrapper launch_runs wait_on_run set_property
    create_bd_cell} {
  proc $name {args} "global calls; lappend calls \\[linsert \\$args 0 $name\\]; return \\[lindex \\$args end\\]"
}
foreach name {get_ipdefs get_bd_pins get_bd_intf_pins get_files current_project current_fileset get_runs} {
  proc $name {args} {return [lindex $args end]}
}
proc get_property {args} {return "100%"}
rename file file_of_tcl
proc file {what args} {
  if {$what eq "copy"} {global calls; lappend calls [concat copy $args]} else {file_of_tcl $what {*}$args}
}
proc glob {args} {return [lindex $args 0]}
"""
"""Every command of Vivado is recorded; those that make or get something return its name."""


def calls_of(script: Path, part: str = "") -> list[tuple[str, ...]]:
    """The commands of Vivado that a script calls, each with its arguments."""
    tkinter = pytest.importorskip("tkinter", reason="this Python has no Tcl")
    tcl = tkinter.Tcl()
    tcl.eval(VIVADO)
    tcl.setvar("argv", part)
    tcl.eval(f"source {{{script}}}")
    text = tcl.eval('join [lmap call $calls {join $call "|"}] "\n"')
    return [tuple(line.split("|")) for line in text.splitlines()]
