<% modules = range(len(core.config.modules)) %>\
// ${core.name}_axi: BAT behind AXI: its memory over AXI4 masters, registers over AXI4-Lite.
//
// Timing: the machine's buses pass without a register; their addresses get the base added. A start comes three cycles late,
// because the modules are reset before.
module ${core.name}_axi (
<%include file="lite_ports.sv.mako"/>\
% for bus, port in core.memory_ports(map):
  ${"input " if port.direction == "in" else "output"} logic ${f"[{port.bits - 1}:0] " if port.bits > 1 else ""}${port.inner},  // ${bus}: ${port.role}
% endfor
  output logic interrupt_o  // the programs have come to their ends
);

<%include file="lite.sv.mako"/>\

  logic start, restart, busy, done, done_seen, interrupt_enabled;
  logic [${31 - base_bit}:0] base;
  logic [31:0] rows, cycles;
% for m in modules:
  logic [31:0] program_${m};
  logic [3:0]  errors_${m};
% endfor
  logic [3:0] errors;
  // Those of the last cycle come one later.
  logic was_busy_q;
  always_ff @(posedge clk_i) begin
    was_busy_q <= rst_ni && busy;
  end
  assign errors = busy || was_busy_q ? ${" | ".join(f"errors_{m}" for m in modules)} : '0;
  ${core.name}_registers u_registers (
    .clk_i, .rst_ni,
    .write_i(write), .write_address_i(write_address), .write_data_i(write_data), .write_strobe_i(write_strobe),
    .read_address_i(read_address), .read_data_o(read_data),
    .control_start_o(start), .control_reset_o(restart), .config_interrupt_o(interrupt_enabled), .memory_base_o(base),
% for m in modules:
    .program_${m}_o(program_${m}),
% endfor
    .status_busy_i(busy), .status_done_set_i(done), .status_done_clear_i(start && !busy), .status_done_o(done_seen),
    .errors_vector_set_i(errors[0]), .errors_quantise_set_i(errors[1]), .errors_norm_set_i(errors[2]),
    .errors_memory_set_i(errors[3]), .errors_start_set_i(start && busy), .rows_i(rows), .cycles_i(cycles)
  );
  assign interrupt_o = done_seen && interrupt_enabled;

  logic inside_rst_nq, machine_rst_n, machine_start;
  logic [${len(modules) - 1}:0] finished, written;
  always_ff @(posedge clk_i) begin
    inside_rst_nq <= rst_ni && !restart;
  end
  lutra_bat_session #(
    .Modules(${len(modules)}), .RowBeats(${core.row_beats}), .BeatBits(${core.row_beats.bit_length()})
  ) u_session (
    .clk_i, .rst_ni(inside_rst_nq), .start_i(start && !busy), .busy_o(busy), .done_o(done), .rst_no(machine_rst_n),
    .start_o(machine_start), .done_i(finished), .written_i(written), .rows_o(rows), .cycles_o(cycles)
  );
% for m in modules:
  assign written[${m}] = m_axi_rows_${m}_wvalid_o && m_axi_rows_${m}_wready_i;
% endfor

% for m in modules:
  logic [31:0] load_araddr_${m}, rows_araddr_${m}, rows_awaddr_${m};
  assign m_axi_load_${m}_araddr_o = load_araddr_${m} + {base, ${base_bit}'d0};
  assign m_axi_rows_${m}_araddr_o = rows_araddr_${m} + {base, ${base_bit}'d0};
  assign m_axi_rows_${m}_awaddr_o = rows_awaddr_${m} + {base, ${base_bit}'d0};
% endfor
  ${core.machine} u_machine (
    .clk_i, .rst_ni(machine_rst_n), .start_i(machine_start)${"," if core.connections else ""}
% for port, net in core.connections:
    .${port}(${net})${"" if loop.last else ","}
% endfor
  );

endmodule
