<% c, s = core.config, core.session %>\
// ${core.name}_axi: the transformer machine behind AXI: its input and its logits over AXI4-Stream, registers over AXI4-Lite.
//
// A packet fills the memories, or is the input of a call, which a packet of logits answers (README.md has their layouts).
//
// Timing: no path leads from an input to an output, nor from a stream's other end into the machine: its clock and cycles are
// what they are alone, unless a stream's other end is slower than the machine.
module ${core.name}_axi (
<%include file="lite_ports.sv.mako"/>\
  input  logic s_axis_tvalid_i,  // packets that come: AXI4-Stream
  output logic s_axis_tready_o,  // TREADY
  input  logic [${s.in_bits - 1}:0] s_axis_tdata_i,  // TDATA
  input  logic [${s.in_bits // 8 - 1}:0] s_axis_tkeep_i,  // TKEEP
  input  logic s_axis_tlast_i,  // TLAST: the packet's last beat
  output logic m_axis_tvalid_o,  // logits that leave: AXI4-Stream
  input  logic m_axis_tready_i,  // TREADY
  output logic [${s.out_bits - 1}:0] m_axis_tdata_o,  // TDATA
  output logic [${s.out_bits // 8 - 1}:0] m_axis_tkeep_o,  // TKEEP
  output logic m_axis_tlast_o,  // TLAST: the packet's last beat
  output logic interrupt_o  // the memories are filled, or a call is done
);

<%include file="lite.sv.mako"/>\

  logic start, restart, load, busy, done, done_seen, interrupt_enabled, fits, call, fill;
  logic loaded, short_error, long_error, keep_error, token_error, image_error;
  logic [31:0] rows, cycles, input_stalls, output_stalls, sum;
  logic [15:0] call_rows, call_past;
  logic [7:0]  step;
  logic        loaded_q;
  ${core.name}_registers u_registers (
    .clk_i, .rst_ni,
    .write_i(write), .write_address_i(write_address), .write_data_i(write_data), .write_strobe_i(write_strobe),
    .read_address_i(read_address), .read_data_o(read_data),
    .control_start_o(start), .control_reset_o(restart), .control_load_o(load), .config_interrupt_o(interrupt_enabled),
% if core.tokens:
    .call_rows_o(call_rows), .call_past_o(call_past),
    .errors_token_set_i(token_error), .errors_call_set_i(start && !busy && !fits),
% endif
    .status_busy_i(busy), .status_loaded_i(loaded_q), .status_done_set_i(done), .status_done_clear_i(call || fill),
    .status_done_o(done_seen),
    .errors_short_set_i(short_error), .errors_long_set_i(long_error), .errors_keep_set_i(keep_error),
    .errors_start_set_i((start || load) && busy), .errors_unloaded_set_i(start && !busy && !loaded_q),
    .errors_image_set_i(image_error),
    .image_sum_i(sum), .step_i({24'd0, step}), .rows_i(rows), .cycles_i(cycles), .input_stalls_i(input_stalls),
    .output_stalls_i(output_stalls)
  );
  assign interrupt_o = done_seen && interrupt_enabled;
  assign fill = load && !busy;
  assign call = start && !load && !busy && loaded_q && fits;
% if core.tokens:
  assign fits = call_rows != '0 && 17'(call_rows) + 17'(call_past) <= 17'd${core.rows};
% else:
  assign fits      = 1'b1;
  assign call_rows = 16'd${core.rows};
  assign call_past = '0;

  logic unused_token;
  assign unused_token = token_error;
% endif

  // A restart is a reset of everything but the registers and what the memories hold, unless they were being filled.
  logic inside_rst_nq, filling_q;
  always_ff @(posedge clk_i) begin
    inside_rst_nq <= rst_ni && !restart;
    filling_q     <= rst_ni && !restart && (fill || (filling_q && busy));
    if (!rst_ni || fill || (restart && filling_q)) begin
      loaded_q <= 1'b0;
    end else if (loaded) begin
      loaded_q <= 1'b1;
    end
  end

  logic write_word, machine_start, machine_busy, x_valid, x_ready, y_valid, y_ready;
  logic [2:0]  memory;
  logic [23:0] word_address;
  logic [${c.load_bits - 1}:0] word;
  logic [${s.input_bits - 1}:0] x_data;
  logic [${16 * c.lanes - 1}:0] y_data;
  lutra_transformer_session #(
% for parameter, value in core.session_parameters.items():
    .${parameter}(${value})${"" if loop.last else ","}
% endfor
  ) u_session (
    .clk_i, .rst_ni(inside_rst_nq), .load_i(fill), .call_i(call), .busy_o(busy), .done_o(done), .loaded_o(loaded),
    .short_o(short_error), .long_o(long_error), .holes_o(keep_error), .token_o(token_error), .image_o(image_error),
    .rows_o(rows), .cycles_o(cycles), .in_stalls_o(input_stalls), .out_stalls_o(output_stalls), .sum_o(sum),
    .s_valid_i(s_axis_tvalid_i), .s_ready_o(s_axis_tready_o), .s_data_i(s_axis_tdata_i), .s_keep_i(s_axis_tkeep_i),
    .s_last_i(s_axis_tlast_i),
    .m_valid_o(m_axis_tvalid_o), .m_ready_i(m_axis_tready_i), .m_data_o(m_axis_tdata_o), .m_keep_o(m_axis_tkeep_o),
    .m_last_o(m_axis_tlast_o),
    .write_o(write_word), .memory_o(memory), .address_o(word_address), .data_o(word),
    .start_o(machine_start), .machine_busy_i(machine_busy), .x_valid_o(x_valid), .x_ready_i(x_ready), .x_data_o(x_data),
    .y_valid_i(y_valid), .y_ready_o(y_ready), .y_data_i(y_data)
  );

  ${core.machine} u_machine (
    .clk_i, .rst_ni(inside_rst_nq),
    .load_i(write_word), .load_memory_i(memory), .load_address_i(word_address), .load_data_i(word),
    .start_i(machine_start), .tokens_i(call_rows), .past_i(call_past), .busy_o(machine_busy), .step_o(step),
    .x_valid_i(x_valid), .x_ready_o(x_ready), .x_data_i(${"x_data" if c.input_bits == s.input_bits else f"{c.input_bits}'(x_data)"}),
    .y_valid_o(y_valid), .y_ready_i(y_ready), .y_data_o(y_data)
  );

endmodule
