// A transformer machine with an array of ${config.size} x ${config.size} for sequences of up to ${config.rows} rows.
//
// Timing and streams: those of lutra_transformer_core.
module ${name} (
  input  logic        clk_i,           // clock
  input  logic        rst_ni,          // synchronous reset, active low
  input  logic        load_i,          // store a word; never while busy_o
  input  logic [2:0]  load_memory_i,   // in which memory
  input  logic [23:0] load_address_i,  // where
  input  logic [${config.load_bits - 1}:0] load_data_i,  // the word, in the lowest bits
  input  logic        start_i,         // run the program; never while busy_o
  input  logic [15:0] tokens_i,        // rows of this run, from 1; only with start_i
  input  logic [15:0] past_i,          // rows of earlier runs; only with start_i
  output logic        busy_o,          // the program runs
  output logic [7:0]  step_o,          // which step
  input  logic        x_valid_i,       // ${f"{config.lanes} pixels are" if config.pixels else "a token is"} offered
  output logic        x_ready_o,       // taken
  input  logic [${config.input_bits - 1}:0] x_data_i,  // in the lowest bits
  output logic        y_valid_o,       // ${config.lanes} logits of a row are offered
  input  logic        y_ready_i,       // they are taken
  output logic [${16 * config.lanes - 1}:0] y_data_o  // int16, the first in the lowest bits
);

  logic [7:0] block;
  logic       block_x_valid, block_x_ready, block_y_valid, block_y_ready;
  logic [${8 * config.lanes - 1}:0] block_x_data;
  logic [${32 * config.lanes - 1}:0] block_y_data;

  lutra_transformer_core #(
% for parameter, value in parameters.items():
    .${parameter}(${value})${"" if loop.last else ","}
% endfor
  ) u_core (
    .clk_i, .rst_ni, .load_i, .load_memory_i, .load_address_i, .load_data_i, .start_i, .tokens_i, .past_i, .busy_o,
    .step_o, .x_valid_i, .x_ready_o, .x_data_i, .y_valid_o, .y_ready_i, .y_data_o,
    .block_o(block), .block_x_valid_o(block_x_valid), .block_x_ready_i(block_x_ready), .block_x_data_o(block_x_data),
    .block_y_valid_i(block_y_valid), .block_y_ready_o(block_y_ready), .block_y_data_i(block_y_data)
  );
% if not plans:

  logic unused_block;
  assign unused_block  = ^{block, block_x_valid, block_x_data, block_y_ready};
  assign block_x_ready = 1'b0;
  assign block_y_valid = 1'b0;
  assign block_y_data  = '0;
% else:

  logic [${len(plans) - 1}:0] x_ready, y_valid;
% for k, plan in enumerate(plans):
<% s, out, width = plan.schedule, plan.block.requantise.type, plan.graph.input_width %>\

  // ${plan.name}: ${plan.graph.name | comment}.
  logic x_valid_${k}, x_taken_${k}, y_offered_${k}, y_ready_${k};
  logic [${8 * s.input_lanes - 1}:0] x_${k};
  logic [${out.bits * s.output_lanes - 1}:0] y_${k};
  logic [${out.bits * config.lanes - 1}:0] words_${k};
  lutra_transformer_gearbox #(
    .Bits(8), .Elements(${width}), .InLanes(${config.lanes}), .OutLanes(${s.input_lanes})
  ) u_into_${k} (
    .clk_i, .rst_ni, .valid_i(block_x_valid && block == 8'd${k}), .ready_o(x_ready[${k}]), .data_i(block_x_data),
    .valid_o(x_valid_${k}), .ready_i(x_taken_${k}), .data_o(x_${k})
  );
  ${plan.name} u_${plan.name} (
    .clk_i, .rst_ni, .x_valid_i(x_valid_${k}), .x_ready_o(x_taken_${k}), .x_data_i(x_${k}),
    .y_valid_o(y_offered_${k}), .y_ready_i(y_ready_${k}), .y_data_o(y_${k})
  );
  lutra_transformer_gearbox #(
    .Bits(${out.bits}), .Elements(${plan.graph.output_width}), .InLanes(${s.output_lanes}), .OutLanes(${config.lanes})
  ) u_from_${k} (
    .clk_i, .rst_ni, .valid_i(y_offered_${k}), .ready_o(y_ready_${k}), .data_i(y_${k}),
    .valid_o(y_valid[${k}]), .ready_i(block_y_ready && block == 8'd${k}), .data_o(words_${k})
  );
% endfor

  always_comb begin
    block_x_ready = 1'b0;
    block_y_valid = 1'b0;
    block_y_data  = '0;
    unique case (block)
% for k, plan in enumerate(plans):
<% out = plan.block.requantise.type %>\
      8'd${k}: begin
        block_x_ready = x_ready[${k}];
        block_y_valid = y_valid[${k}];
% for lane in range(config.lanes):
        block_y_data[${32 * lane} +: 32] = ${extended(f"words_{k}", lane, out)};
% endfor
      end
% endfor
      default: ;
    endcase
  end
% endif

endmodule
