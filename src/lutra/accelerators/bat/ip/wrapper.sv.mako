<%
address_bits, modules = map.address_bits, range(len(core.config.modules))
%>\
// ${core.name}_axi: BAT behind AXI: its memory over AXI4 masters, registers over AXI4-Lite.
//
// Timing: the machine's buses pass without a register; their addresses get the base added. A start comes three cycles late,
// because the modules are reset before.
module ${core.name}_axi (
  input  logic clk_i,   // clock of everything
  input  logic rst_ni,  // synchronous reset, active low
  input  logic s_axi_awvalid_i,  // registers: AXI4-Lite
  output logic s_axi_awready_o,  // AWREADY
  input  logic [${address_bits - 1}:0] s_axi_awaddr_i,  // AWADDR
  input  logic s_axi_wvalid_i,  // WVALID
  output logic s_axi_wready_o,  // WREADY
  input  logic [31:0] s_axi_wdata_i,  // WDATA
  input  logic [3:0] s_axi_wstrb_i,  // WSTRB
  output logic s_axi_bvalid_o,  // BVALID
  input  logic s_axi_bready_i,  // BREADY
  input  logic s_axi_arvalid_i,  // ARVALID
  output logic s_axi_arready_o,  // ARREADY
  input  logic [${address_bits - 1}:0] s_axi_araddr_i,  // ARADDR
  output logic s_axi_rvalid_o,  // RVALID
  input  logic s_axi_rready_i,  // RREADY
  output logic [31:0] s_axi_rdata_o,  // RDATA
% for bus, port in core.memory_ports(map):
  ${"input " if port.direction == "in" else "output"} logic ${f"[{port.bits - 1}:0] " if port.bits > 1 else ""}${port.inner},  // ${bus}: ${port.role}
% endfor
  output logic interrupt_o  // the programs have come to their ends
);

  logic write;
  logic [${address_bits - 3}:0] write_address, read_address;
  logic [31:0] write_data, read_data;
  logic [3:0]  write_strobe;
  lutra_axi_lite #(.AddressBits(${address_bits})) u_axi_lite (
    .clk_i, .rst_ni,
    .awvalid_i(s_axi_awvalid_i), .awready_o(s_axi_awready_o), .awaddr_i(s_axi_awaddr_i),
    .wvalid_i(s_axi_wvalid_i), .wready_o(s_axi_wready_o), .wdata_i(s_axi_wdata_i), .wstrb_i(s_axi_wstrb_i),
    .bvalid_o(s_axi_bvalid_o), .bready_i(s_axi_bready_i),
    .arvalid_i(s_axi_arvalid_i), .arready_o(s_axi_arready_o), .araddr_i(s_axi_araddr_i),
    .rvalid_o(s_axi_rvalid_o), .rready_i(s_axi_rready_i), .rdata_o(s_axi_rdata_o),
    .write_o(write), .write_address_o(write_address), .write_data_o(write_data), .write_strobe_o(write_strobe),
    .read_address_o(read_address), .read_data_i(read_data)
  );

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
