<%
x, y = core.input, core.output
%>\
# ${core.name}: an IP core written by Lutra ${version}

${f"{len(core.members)} weightless blocks" if len(core.members) > 1 else "A weightless block"} of the frozen model `${frozen_hash[:16]}` behind AXI4-Stream, with registers behind AXI4-Lite.
Build **${build_hash}**: the RTL, the drivers and the golden vectors carry it, and refuse each other's when it differs.

| | |
| --- | --- |
| top module | `${core.name}` (`rtl/${core.name}.v`); `${vlnv}` |
| clock, reset | `aclk`; `aresetn`, synchronous, active low |
| rows in | ${x.width} elements of ${x.numpy_type} (${x.type.bits} bits, ${x.type.minimum} to ${x.type.maximum}); `s_axis`, ${x.bus_bits} bits |
| rows out | ${y.width} elements of ${y.numpy_type} (${y.type.bits} bits, ${y.type.minimum} to ${y.type.maximum}); `m_axis`, ${y.bus_bits} bits |
| dataflow, fold factor | ${dataflow}, ${fold_factor} |

| block | in the model | scale in | scale out | cycles per row | cycles of a lone row | LUT | LUT packed | FF |
| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
% for number, member in enumerate(core.members):
| ${number} | `${member.title}` | ${f"{member.input_scale:g}"} | ${f"{member.output_scale:g}"} | ${member.interval_cycles} | ${member.latency_cycles} | ${" | ".join(str(member.resources[key]) for key in ("lut_raw", "lut_packed", "ff")) if member.resources else "- | - | -"} |
% endfor

A value is its integer times its block's scale.
% if any(member.resources for member in core.members):
LUTs and flip-flops are those of a block alone on UltraScale+, counted by ${next(member.resources["tool"] for member in core.members if member.resources)} without place and route; streams and registers come
on top.
% else:
LUTs and flip-flops were not counted: run `lutra synth` at this fold factor before `lutra package`.
% endif
Cycles are the schedule's${", which `lutra simulate` measured, too, on real rows without a difference" if simulated else "; this run did not simulate them"}.

${"##"} Packets

A packet is a matrix of rows as it lies in memory, row after row without gaps, little endian, up to TLAST. Only its last beat may
have bytes without TKEEP. Write `block`, then `control.start`; send the packet; take the packet of its outputs, which has as many
rows. With `config.auto_start` the next packet may follow by itself. Both streams may stall at any time.

A packet that ends within a row sets `errors.row`; the rest of the row counts as zeros, so that as many rows come out as went in.

${"##"} Registers

<%include file="registers.md.mako"/>
${"##"} Use it

- **Vivado**: add this folder to the IP repositories (`component.xml`), or run `vivado -mode batch -source vivado/block_design.tcl`,
  which builds a Zynq system with a DMA engine around it.
- **PYNQ**: `driver/python/${core.name}.py`; its first lines show how. `self_test("vectors")` compares the hardware with the golden
  model, and names the first element that differs.
- **C**: `driver/c/${core.name}.h`; you give it functions that read, write and move a packet.
- **FuseSoC**: `fusesoc --cores-root . run --target sim ${vlnv.fusesoc}` simulates the RTL with the C driver and the golden
  vectors (Verilator); target `lint`; target `default` for your own design.
- **Anything else**: `rtl/filelist.f` names the sources in order.

${"##"} Vectors

`vectors/*.bin`: `LUTRAVEC`, the build hash as 16 letters, four words of 32 bits (block, rows, bytes of a row, bytes of a row of
outputs), then the rows, then their golden outputs; all little endian.

`ip.json` lists every file with its SHA-256; `lutra verify` compares. Licence: Apache 2.0 (LICENSE); the trained tables are yours.
