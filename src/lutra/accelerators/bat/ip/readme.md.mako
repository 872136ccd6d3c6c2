<% image = core.image %>\
# ${core.name}: an IP core written by Lutra ${version}

The encoder of the frozen BERT `${frozen_hash[:16]}` on BAT, the accelerator of binarized transformers: masters of AXI4 for its memory,
registers behind AXI4-Lite. Build **${build_hash}**: the RTL, the drivers, weights, programs and golden vectors carry it, and refuse
each other's when it differs.

| | |
| --- | --- |
| top module | `${core.name}` (`rtl/${core.name}.v`); `${vlnv}` |
| clock, reset | `aclk`; `aresetn`, synchronous, active low |
| model | ${image.model.layers} layers, width ${image.model.width}, up to ${core.positions} tokens; activations of ${core.config.activation_bits} bits |
| modules | ${"; ".join(f"{m.p_dpu} units of {m.p_pe} products" for m in core.config.modules)} |
| memory | ${f"{image.bytes_of_memory:,}"} bytes from a base on, a multiple of 4096 below 4 GiB; ${len(core.interfaces)} masters of 128 bits |

${" and ".join(str(length) for length in lengths)} tokens take ${f"{cycles:,}"} cycles beside a memory whose bursts begin after ${core.config.memory_latency} cycles, by the cycles' model.

${"##"} A run

1. Put `image/${core.name}_weights.bin`, behind its first 28 bytes, into memory from the base on, and write `memory`.
2. Write each sentence's embedded rows, binary16 numbers in rows of ${row_bytes} bytes, to ${", ".join(f"0x{image.row_addresses(s)[0]:x}" for s in range(image.sentences))} from the base on, and its
   program to ${", ".join(f"0x{a:x}" for a in image.program_addresses)}. `image/${core.name}_programs.bin` has the instructions of ${core.image.sentences} sentences of every length,
   ${programs[2]} of ${instruction_bytes} bytes each: the driver's `_programs` puts them together.
3. Write `control.start`; wait for `status.done`. The last layer's rows lie where the first ones lay.

Embedding, pooler and classifier are the host's. A number that leaves the range of binary16 sets a bit of `errors`.
`control.reset` stops the machine even within a burst: reset what is at the other ends of its buses, too.

${"##"} Registers

<%include file="registers.md.mako"/>
${"##"} Use it

- **Vivado**: add this folder to the IP repositories (`component.xml`), or run `vivado -mode batch -source vivado/block_design.tcl`,
  which builds a Zynq system around it.
- **PYNQ**: `driver/python/${core.name}.py`; its first lines show how. `self_test("vectors")` compares the hardware with the golden
  model, and names the first number that differs.
- **C**: `driver/c/${core.name}.h`; you give it functions that read and write registers, and the memory.
- **FuseSoC**: `fusesoc --cores-root . run --target sim ${vlnv.fusesoc}` simulates the RTL with the C driver and the golden
  vectors (Verilator); target `lint`; target `default` for your own design.
- **Anything else**: `rtl/filelist.f` names the sources in order; `rtl/*.hex` fill its ROMs.

${"##"} Vectors

`vectors/*.bin`: `LUTRAVEC`, the build hash as 16 letters, four words of 32 bits (number, rows, bytes of a row, bytes of a row of
outputs), then the embedded rows of a sentence, then those of the last layer.

`ip.json` lists every file with its SHA-256; `lutra verify` compares. Licence: Apache 2.0 (LICENSE); the weights are yours.
