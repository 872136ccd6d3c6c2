<% c = core.config %>\
# ${core.name}: an IP core written by Lutra ${version}

The whole frozen model `${frozen_hash[:16]}` on a transformer machine, behind AXI4-Stream, with registers behind AXI4-Lite.
Build **${build_hash}**: the RTL, the drivers, the image of its memories and the golden vectors carry it, and refuse each other's
when it differs.

| | |
| --- | --- |
| top module | `${core.name}` (`rtl/${core.name}.v`); `${vlnv}` |
| clock, reset | `aclk`; `aresetn`, synchronous, active low |
| array | ${c.size} x ${c.size}, ${c.lanes} results a cycle, ${c.norm_lanes} lanes of the layer norm |
| rows | up to ${core.rows} |
% if core.tokens:
| in | token numbers 0 to ${core.tokens - 1}, uint16; `s_axis`, ${core.session.in_bits} bits |
% else:
| in | an image of ${core.patches.height} x ${core.patches.width} x ${core.image.program.input_width} as ${core.input_rows} patches of ${core.row_beats * c.lanes * core.pixel_bytes} bytes; `s_axis`, ${core.session.in_bits} bits |
% endif
| out | ${core.logit_columns} logits of int16 a row; `m_axis`, ${core.session.out_bits} bits; a value is its integer times ${f"{core.image.program.output_type.scale:g}"} |
| weightless blocks | ${len(core.image.blocks)}, as logic |
| image | ${f"{image_bytes:,}"} bytes, `image/${core.name}.bin` |

% for call, count in cycles:
A call of ${call.rows} row${"s" if call.rows > 1 else ""}${f" after {call.past}" if call.past else ""} takes ${f"{count:,}"} cycles where neither stream stalls.
% endfor
Cycles are the latency model's${", which `lutra simulate` measured, too, with every value golden's" if simulated else "; this run did not simulate the machine"}.

${"##"} Packets

Everything is little endian and has no gaps; only a packet's last beat may have bytes without TKEEP. Both streams may stall at any
time.

1. **The image**: write `control.load`, send `image/${core.name}.bin` behind its first 28 bytes, wait for `status.done`. Compare
   `image_sum`. The memories keep it until `aresetn`.
% if core.tokens:
2. **A call**: write `call` (how many tokens come, and how many the calls before had whose keys and values it goes on from), then
   `control.start`; send the tokens as one packet.
% else:
2. **A call**: write `control.start`; send the patches line by line, in each channel by channel its pixels line by line, padded
   with zeros to ${core.row_beats * c.lanes * core.pixel_bytes} bytes${"; a pixel in 16 bits" if core.pixel_bytes == 2 else ""}.
% endif
   One packet of logits comes back: row tile by row tile of ${c.size} rows, in it ${c.size} columns after ${c.size} columns up to ${core.logits.column_tiles * c.size}, in them row by row;
   columns from ${core.logit_columns} on are padding.

A packet that ends early sets `errors.short`, and zeros take the place of the rest; what it has too many is dropped and sets
`errors.long`.

${"##"} Registers

<%include file="registers.md.mako"/>
${"##"} Use it

- **Vivado**: add this folder to the IP repositories (`component.xml`), or run `vivado -mode batch -source vivado/block_design.tcl`,
  which builds a Zynq system with a DMA engine around it.
- **PYNQ**: `driver/python/${core.name}.py`; its first lines show how. `self_test("vectors")` compares the hardware with the golden
  model, and names the first logit that differs.
- **C**: `driver/c/${core.name}.h`; you give it functions that read and write registers, and one that moves a packet.
- **FuseSoC**: `fusesoc --cores-root . run --target sim ${vlnv.fusesoc}` simulates the RTL with the C driver and the golden
  vectors (Verilator); target `lint`; target `default` for your own design.
- **Anything else**: `rtl/filelist.f` names the sources in order.

${"##"} Vectors

`vectors/*.bin`: `LUTRAVEC`, the build hash as 16 letters, four words of 32 bits (number, ${"tokens" if core.tokens else "images"}, bytes of one, bytes of its logits),
then the inputs, then their golden logits.

`ip.json` lists every file with its SHA-256; `lutra verify` compares. Licence: Apache 2.0 (LICENSE); the weights are yours.
