// The machine, and what its units write.
module ${top} (
  input  logic clk_i, rst_ni, load_i, start_i, x_valid_i, y_ready_i,
  input  logic [2:0] load_memory_i,
  input  logic [23:0] load_address_i,
  input  logic [${config.load_bits - 1}:0] load_data_i,
  input  logic [15:0] tokens_i, past_i,
  input  logic [${config.input_bits - 1}:0] x_data_i,
  output logic busy_o, x_ready_o, y_valid_o, taken_o, norm_done_o, other_done_o,
  output logic [7:0] norm_step_o, other_step_o,
  output logic [${16 * config.lanes - 1}:0] y_data_o,
  output logic left_write_o, norm_write_o, keys_write_o, values_write_o, stream_write_o, scores_write_o, exponentials_write_o,
  output logic [7:0] left_bank_o, norm_bank_o, result_bank_o, result_group_o, e_row_o,
  output logic [23:0] left_address_o, norm_address_o, result_address_o, stream_address_o, result_chunk_o, e_chunk_o,
  output logic [${8 * config.lanes - 1}:0] left_data_o, norm_data_o, narrow_o, e_data_o,
  output logic [${16 * config.lanes - 1}:0] stream_data_o, result_o
);

  logic [7:0] unused_step;

  ${machine} u_machine (
    .clk_i, .rst_ni, .load_i, .load_memory_i, .load_address_i, .load_data_i, .start_i, .tokens_i, .past_i, .busy_o,
    .step_o(unused_step), .x_valid_i, .x_ready_o, .x_data_i, .y_valid_o, .y_ready_i, .y_data_o
  );

  assign taken_o              = u_machine.u_core.taken;
  assign norm_done_o          = u_machine.u_core.norm_done;
  assign other_done_o         = u_machine.u_core.other_done;
  assign norm_step_o          = 8'(u_machine.u_core.norm_step);
  assign other_step_o         = 8'(u_machine.u_core.other_step);
  assign left_write_o         = u_machine.u_core.left_write;
  assign norm_write_o         = u_machine.u_core.norm_write;
  assign keys_write_o         = u_machine.u_core.result_write && u_machine.u_core.target == 3'd2;
  assign values_write_o       = u_machine.u_core.result_write && u_machine.u_core.target == 3'd3;
  assign scores_write_o       = u_machine.u_core.result_write && u_machine.u_core.target == 3'd6;
  assign stream_write_o       = u_machine.u_core.stream_write;
  assign exponentials_write_o = u_machine.u_core.e_valid;
  assign left_bank_o          = 8'(u_machine.u_core.left_bank);
  assign norm_bank_o          = 8'(u_machine.u_core.norm_bank);
  assign result_bank_o        = 8'(u_machine.u_core.result_bank);
  assign result_group_o       = 8'(u_machine.u_core.result_group);
  assign e_row_o              = 8'(u_machine.u_core.e_row);
  assign left_address_o       = u_machine.u_core.left_write_address;
  assign norm_address_o       = u_machine.u_core.norm_write_address;
  assign result_address_o     = u_machine.u_core.result_address;
  assign stream_address_o     = u_machine.u_core.stream_write_address;
  assign result_chunk_o       = 24'(u_machine.u_core.result_chunk);
  assign e_chunk_o            = 24'(u_machine.u_core.e_chunk);
  assign left_data_o          = u_machine.u_core.left_write_data;
  assign norm_data_o          = u_machine.u_core.norm_data;
  assign narrow_o             = u_machine.u_core.narrow_result;
  assign e_data_o             = u_machine.u_core.e_data;
  assign stream_data_o        = u_machine.u_core.stream_write_data;
  assign result_o             = u_machine.u_core.result;

endmodule
