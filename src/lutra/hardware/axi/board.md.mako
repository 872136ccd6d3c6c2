# ${core.name} on ${board_title}

`${core.name}.bit`: ${"a weightless block" if len(core.members) == 1 else f"{len(core.members)} weightless blocks"} of the frozen model `${result["frozen_hash"][:16]}` behind a serial line, build **${result["build_hash"]}**.

| | |
| --- | --- |
| board, device | ${result["board"]}, LFE5U ${result["device"]}, speed grade 6 |
| clock | ${f"{result['clock_hz'] / 1e6:g}"} MHz; place and route reaches ${f"{result['fmax_hz'] / 1e6:.1f}"} MHz |
| cycles per row | ${core.interval_cycles} |
% for cell, label in (("TRELLIS_COMB", "LUT4"), ("TRELLIS_FF", "flip-flops"), ("DP16KD", "block RAM"), ("MULT18X18D", "multipliers")):
%     if cell in result["used"]:
| ${label} | ${f"{result['used'][cell]['used']:,}"} of ${f"{result['used'][cell]['available']:,}"} |
%     endif
% endfor
| serial line | ${f"{result['baud']:,}"} baud, 8 bits, no parity |
| tables in the bitstream | ${f"{result['proof']['tables']:,}"} trained tables, every entry compared, in ${f"{result['proof']['table_luts']:,}"} LUT4s; ${f"{result['proof']['other_luts']:,}"} other LUT4s as in the netlist |
| made with | ${", ".join(result["tools"])} |

| block | in the model |
| ---: | --- |
% for number, member in enumerate(core.members):
| ${number} | `${member.title}` |
% endfor

Load it with openFPGALoader or ecpprog (`openFPGALoader -b ${result["board"]} ${core.name}.bit`), then, with NumPy and pyserial:

    import sys; sys.path.append("driver/python")
    import ${core.name}
    accelerator = ${core.name}.on_serial("/dev/ttyUSB0", ${result["baud"]})
    print(accelerator.self_test("vectors"), "rows equal the golden model")
    outputs = accelerator.run(rows, block=0)  # (N, ${core.input.width}) ${core.input.numpy_type} -> (N, ${core.output.width}) ${core.output.numpy_type}

The driver refuses a bitstream of another build. A serial line carries ${f"{result['baud'] // 10:,}"} bytes a second each way, which bounds the rows:
this is for trying a model on hardware, not for speed. Licence: Apache 2.0 (LICENSE); the trained tables are yours.
