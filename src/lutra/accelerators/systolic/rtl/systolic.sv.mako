// ${name}: an int8 systolic array of ${config.size} x ${config.size} for products of up to ${config.depth} terms.
//
% if activation:
// ShiftGELU behind it activates the results of the first product of an MLP.
//
// Timing and streams: those of lutra_dense_mlp.
% else:
// Timing and streams: those of lutra_systolic_gemm.
% endif
module ${name} (
  input  logic clk_i,   // clock
  input  logic rst_ni,  // synchronous reset, active low
% if activation:
  input  logic activate_i,  // results pass through ShiftGELU
% endif
  input  logic [${config.inner_bits - 1}:0] inner_i,  // terms of every result, 1 to ${config.depth}
  input  logic [${config.tile_bits - 1}:0] column_tiles_i,  // columns / ${config.size}, rounded up, from 1
  input  logic [${config.multiplier_bits - 1}:0] multiplier_i,  // y = clamp((sum * multiplier_i + half) >> ${config.shift})
  input  logic a_valid_i,  // a beat of the left matrix is offered
  output logic a_ready_o,  // it is taken
  input  logic [${8 * config.size - 1}:0] a_data_i,  // one int8 per row of the tile
  input  logic b_valid_i,  // a beat of the right matrix is offered
  output logic b_ready_o,  // it is taken
  input  logic [${8 * config.size - 1}:0] b_data_i,  // one int8 per column of the tile
  output logic y_valid_o,  // a beat of results is offered
  input  logic y_ready_i,  // it is taken
  output logic [${8 * config.output_lanes - 1}:0] y_data_o  // ${config.output_lanes} int8 results of one row
);

% if activation:
  lutra_dense_mlp #(
    .Size(${config.size}), .Depth(${config.depth}), .Lanes(${config.output_lanes}), .MultiplierBits(${config.multiplier_bits}),
    .ArrayShift(${config.shift}), .TileBits(${config.tile_bits}), .Pipelined(${int(config.pipelined)}), .MaxTiles(${activation.max_tiles}), .Unit(${activation.unit}), .Shift(${activation.shift}),
    .ActivatedMultiplierBits(${activation.multiplier_bits}), .ActivatedMultiplier(${activation.multiplier_bits}'d${activation.multiplier}),
    .ActivatedShift(${activation.multiplier_shift})
  ) u_mlp (
    .activate_i,
% else:
  lutra_systolic_gemm #(
    .Size(${config.size}), .Depth(${config.depth}), .Lanes(${config.output_lanes}), .MultiplierBits(${config.multiplier_bits}),
    .Shift(${config.shift}), .TileBits(${config.tile_bits}), .Pipelined(${int(config.pipelined)})
  ) u_gemm (
% endif
    .clk_i, .rst_ni, .inner_i, .column_tiles_i, .multiplier_i,
    .a_valid_i, .a_ready_o, .a_data_i, .b_valid_i, .b_ready_o, .b_data_i, .y_valid_o, .y_ready_i, .y_data_o
  );

endmodule
