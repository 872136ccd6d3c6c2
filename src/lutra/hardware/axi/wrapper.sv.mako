<%
from lutra.hardware.literals import address_bits
x, y = core.input, core.output
select_bits = address_bits(len(core.members))
x_beat_bits, y_beat_bits = address_bits(x.beats), address_bits(y.beats)
x_bits, y_bits = x.lanes * x.type.bits, y.lanes * y.type.bits
%>\
// ${core.name}_axi: ${"a weightless block" if len(core.members) == 1 else f"{len(core.members)} weightless blocks"} behind AXI: rows over AXI4-Stream, registers over AXI4-Lite.
//
// A packet holds rows of ${x.width} elements of ${x.element_bytes} byte${"s" if x.element_bytes > 1 else ""} (${x.numpy_type}) one after the other; the packet of its results holds rows of
// ${y.width} elements of ${y.element_bytes} byte${"s" if y.element_bytes > 1 else ""} (${y.numpy_type}). Only a packet's last beat may have bytes without TKEEP.
//
// Timing: no path leads from an input to an output, nor from a stream's other end into the blocks: their clock and cycles are
// what they are alone. A row every ${core.interval_cycles} cycles unless a stream's other end, or the width of the buses (${x.bus_bits} and ${y.bus_bits} bits), is
// slower.
module ${core.name}_axi (
<%include file="lite_ports.sv.mako"/>\
  input  logic s_axis_tvalid_i,  // rows that come: AXI4-Stream
  output logic s_axis_tready_o,  // TREADY
  input  logic [${x.bus_bits - 1}:0] s_axis_tdata_i,  // TDATA
  input  logic [${x.bus_bytes - 1}:0] s_axis_tkeep_i,  // TKEEP
  input  logic s_axis_tlast_i,  // TLAST: the packet's last beat
  output logic m_axis_tvalid_o,  // rows that leave: AXI4-Stream
  input  logic m_axis_tready_i,  // TREADY
  output logic [${y.bus_bits - 1}:0] m_axis_tdata_o,  // TDATA
  output logic [${y.bus_bytes - 1}:0] m_axis_tkeep_o,  // TKEEP
  output logic m_axis_tlast_o,  // TLAST: the packet's last beat
  output logic interrupt_o  // a packet is done
);

<%include file="lite.sv.mako"/>\

  logic start, restart, busy, done, done_seen, auto_start, interrupt_enabled;
  logic row_error, keep_error, range_error, there;
  logic [15:0] index;
  logic [31:0] rows, cycles, input_stalls, output_stalls;
  ${core.name}_registers u_registers (
    .clk_i, .rst_ni,
    .write_i(write), .write_address_i(write_address), .write_data_i(write_data), .write_strobe_i(write_strobe),
    .read_address_i(read_address), .read_data_o(read_data),
    .control_start_o(start), .control_reset_o(restart), .config_auto_start_o(auto_start),
    .config_interrupt_o(interrupt_enabled), .block_index_o(index),
    .status_busy_i(busy), .status_done_set_i(done), .status_done_clear_i(start && there && !busy), .status_done_o(done_seen),
    .errors_row_set_i(row_error), .errors_keep_set_i(keep_error), .errors_range_set_i(range_error),
    .errors_start_set_i(start && busy), .errors_block_set_i(start && !busy && !there),
    .rows_i(rows), .cycles_i(cycles), .input_stalls_i(input_stalls), .output_stalls_i(output_stalls)
  );
  assign interrupt_o = done_seen && interrupt_enabled;
  assign there = index < 16'd${len(core.members)};

  // A restart is a reset of everything but the registers.
  logic inside_rst_nq;
  logic [${select_bits - 1}:0] block_q;
  always_ff @(posedge clk_i) begin
    inside_rst_nq <= rst_ni && !restart;
    if (!busy) begin
      block_q <= index[${select_bits - 1}:0];
    end
  end

  // Bytes of the bus become beats of a row.
  logic accept, ended, x_ready, x_valid, x_last, x_full;
  logic [${x.count_bits - 1}:0] x_count, x_fill;
  logic [${x_beat_bits - 1}:0] x_beat_q;
  logic [${x.lanes * x.container_bits - 1}:0] x_containers;
  logic s_ready, holes;
  lutra_keep #(.Units(${x.bus_units}), .UnitBytes(${x.unit_bytes}), .CountBits(${x.count_bits})) u_keep (
    .keep_i(s_axis_tkeep_i), .count_o(x_count), .holes_o(holes)
  );
  lutra_repack #(
    .UnitBits(${8 * x.unit_bytes}), .InUnits(${x.bus_units}), .OutUnits(${x.beat_units}), .OutLastUnits(${x.last_units}), .CountBits(${x.count_bits})
  ) u_in (
    .clk_i, .rst_ni(inside_rst_nq),
    .in_valid_i(s_axis_tvalid_i && accept), .in_ready_o(s_ready), .in_data_i(s_axis_tdata_i), .in_count_i(x_count),
    .out_valid_o(x_valid), .out_ready_i(x_ready), .out_data_o(x_containers), .out_last_i(x_last),
    .flush_i(ended && (x_fill != '0 || x_beat_q != '0)), .fill_o(x_fill)
  );
  assign s_axis_tready_o = s_ready && accept;
  assign x_last = x_beat_q == ${x_beat_bits}'d${x.beats - 1};
  assign x_full = x_fill >= (x_last ? ${x.count_bits}'d${x.last_units} : ${x.count_bits}'d${x.beat_units});
  assign keep_error = s_axis_tvalid_i && s_axis_tready_o && holes;
  assign row_error = x_valid && x_ready && !x_full;
  always_ff @(posedge clk_i) begin
    if (!inside_rst_nq) begin
      x_beat_q <= '0;
    end else if (x_valid && x_ready) begin
      x_beat_q <= x_last ? '0 : x_beat_q + 1'b1;
    end
  end

  logic [${x_bits - 1}:0] x_elements, x_data;
  logic outside, x_data_valid, x_data_ready;
  lutra_narrow #(
    .Lanes(${x.lanes}), .Bits(${x.type.bits}), .Signed(1'b${int(x.type.signed)}), .ContainerBits(${x.container_bits}), .LastLanes(${x.last_lanes})
  ) u_narrow (.data_i(x_containers), .last_i(x_last), .data_o(x_elements), .outside_o(outside));
  assign range_error = x_valid && x_ready && outside;
  lutra_stream_register #(.Bits(${x_bits})) u_in_register (
    .clk_i, .rst_ni(inside_rst_nq), .valid_i(x_valid), .ready_o(x_ready), .data_i(x_elements),
    .valid_o(x_data_valid), .ready_i(x_data_ready), .data_o(x_data)
  );

  logic [${y_bits - 1}:0] y_data;
  logic y_valid, y_ready, y_last;
  ${core.name}_blocks u_blocks (
    .clk_i, .rst_ni(inside_rst_nq), .block_i(block_q),
    .x_valid_i(x_data_valid), .x_ready_o(x_data_ready), .x_data_i(x_data),
    .y_valid_o(y_valid), .y_ready_i(y_ready), .y_data_o(y_data)
  );

  // Beats of a row become bytes of the bus.
  logic drained;
  logic [${y_beat_bits - 1}:0] y_beat_q;
  logic [${y.count_bits - 1}:0] y_count, y_fill;
  logic [${y.lanes * y.container_bits - 1}:0] y_containers;
  assign y_last = y_beat_q == ${y_beat_bits}'d${y.beats - 1};
  assign y_count = y_last ? ${y.count_bits}'d${y.last_units} : ${y.count_bits}'d${y.beat_units};
  always_ff @(posedge clk_i) begin
    if (!inside_rst_nq) begin
      y_beat_q <= '0;
    end else if (y_valid && y_ready) begin
      y_beat_q <= y_last ? '0 : y_beat_q + 1'b1;
    end
  end
  lutra_widen #(
    .Lanes(${y.lanes}), .Bits(${y.type.bits}), .Signed(1'b${int(y.type.signed)}), .ContainerBits(${y.container_bits})
  ) u_widen (.data_i(y_data), .data_o(y_containers));
  lutra_repack #(
    .UnitBits(${8 * y.unit_bytes}), .InUnits(${y.beat_units}), .OutUnits(${y.bus_units}), .OutLastUnits(${y.bus_units}), .CountBits(${y.count_bits}),
    .Holds(1'b1)
  ) u_out (
    .clk_i, .rst_ni(inside_rst_nq),
    .in_valid_i(y_valid), .in_ready_o(y_ready), .in_data_i(y_containers), .in_count_i(y_count),
    .out_valid_o(m_axis_tvalid_o), .out_ready_i(m_axis_tready_i), .out_data_o(m_axis_tdata_o), .out_last_i(1'b0),
    .flush_i(drained && y_fill != '0), .fill_o(y_fill)
  );
  assign m_axis_tlast_o = drained && y_fill <= ${y.count_bits}'d${y.bus_units};
  for (genvar b = 0; b < ${y.bus_bytes}; b++) begin : gen_keep
    assign m_axis_tkeep_o[b] = y_fill > ${y.count_bits}'(b / ${y.unit_bytes});
  end

  lutra_job #(.FlightBits(${core.flight_bits})) u_job (
    .clk_i, .rst_ni(inside_rst_nq),
    .start_i(start && there), .auto_start_i(auto_start), .busy_o(busy), .done_o(done),
    .accept_o(accept), .in_valid_i(s_axis_tvalid_i), .in_beat_i(s_axis_tvalid_i && s_axis_tready_o),
    .in_last_i(s_axis_tlast_i), .ended_o(ended), .in_empty_i(x_fill == '0 && x_beat_q == '0),
    .row_in_i(x_valid && x_ready && x_last), .row_out_i(y_valid && y_ready && y_last),
    .drained_o(drained), .out_empty_i(y_fill == '0), .out_stalled_i(m_axis_tvalid_o && !m_axis_tready_i),
    .rows_o(rows), .cycles_o(cycles), .in_stalls_o(input_stalls), .out_stalls_o(output_stalls)
  );

endmodule
