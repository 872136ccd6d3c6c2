// Output-stationary systolic array for (M x K)(K x P) int8 matrix products, requantised to int8.
//
// Streams and tiles are those of lutra_systolic_sums, whose sums are requantised here: y = clamp((sum * multiplier_i +
// rounding) >> Shift). inner_i, column_tiles_i and multiplier_i stay the same from the first beat of a product to its
// last.
//
// Timing: without stalls a tile takes T = max(K, Size + Pipelined) cycles, but not less than Size * Groups; the whole
// takes K + T + Size + Size * Groups + 3 + 2 * Pipelined cycles for one tile and as many more as a tile takes for each
// further one.
module lutra_systolic_gemm #(
  parameter int unsigned Size = 8,             // rows and columns of the array, a power of two from 2
  parameter int unsigned Depth = 256,          // largest K, a power of two from 2
  parameter int unsigned Lanes = 8,            // results per output beat, a power of two up to Size
  parameter int unsigned MultiplierBits = 16,  // bits of multiplier_i
  parameter int unsigned Shift = 24,           // bits that requantising rounds away
  parameter int unsigned TileBits = 8,         // bits of column_tiles_i
  parameter bit          Pipelined = 0         // two register stages more in every element
) (
  input  logic                       clk_i,           // clock
  input  logic                       rst_ni,          // synchronous reset, active low
  input  logic [$clog2(Depth):0]     inner_i,         // K, 1 to Depth
  input  logic [TileBits-1:0]        column_tiles_i,  // P / Size, rounded up, from 1
  input  logic [MultiplierBits-1:0]  multiplier_i,    // multiplier of requantising, unsigned
  input  logic                       a_valid_i,       // a beat of the left matrix is offered
  output logic                       a_ready_o,       // it is taken
  input  logic [Size*8-1:0]          a_data_i,        // one int8 per row of the tile, row 0 in the lowest bits
  input  logic                       b_valid_i,       // a beat of the right matrix is offered
  output logic                       b_ready_o,       // it is taken
  input  logic [Size*8-1:0]          b_data_i,        // one int8 per column of the tile, column 0 in the lowest bits
  output logic                       y_valid_o,       // a beat of results is offered
  input  logic                       y_ready_i,       // it is taken
  output logic [Lanes*8-1:0]         y_data_o         // Lanes int8 results of one row, the first in the lowest bits
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Depth < 2 || (Depth & (Depth - 1)) != 0 || Lanes < 1 ||
      (Lanes & (Lanes - 1)) != 0 || Lanes > Size) begin : gen_wrong
    $error("Size and Depth must be powers of two from 2, Lanes one up to Size");
  end

  localparam int unsigned SumBits = 32;

  // The array; a beat of sums waits in it until the requantised beat is taken.
  logic                     sums_valid, sums_ready;
  logic [Lanes*SumBits-1:0] sums;
  logic [Lanes*8-1:0]       beat_data;

  lutra_systolic_sums #(
    .Size(Size), .Depth(Depth), .Lanes(Lanes), .SumBits(SumBits), .TileBits(TileBits), .Pipelined(Pipelined)
  ) u_sums (
    .clk_i, .rst_ni, .inner_i, .column_tiles_i, .a_valid_i, .a_ready_o, .a_data_i, .b_valid_i, .b_ready_o, .b_data_i,
    .y_valid_o(sums_valid), .y_ready_i(sums_ready), .y_data_o(sums)
  );

  for (genvar l = 0; l < Lanes; l++) begin : gen_requantise
    lutra_requantise #(
      .SumBits(SumBits), .MultiplierBits(MultiplierBits), .Shift(Shift), .OutBits(8), .OutSigned(1'b1)
    ) u_requantise (
      .sum_i(sums[SumBits*l +: SumBits]), .multiplier_i, .y_o(beat_data[8*l +: 8])
    );
  end

  lutra_stream_register #(.Bits(Lanes*8)) u_output_register (
    .clk_i, .rst_ni, .valid_i(sums_valid), .ready_o(sums_ready), .data_i(beat_data),
    .valid_o(y_valid_o), .ready_i(y_ready_i), .data_o(y_data_o)
  );

endmodule
