// The dense baseline: one systolic array for both products of an MLP, and ShiftGELU behind the first.
//
// activate_i chooses, product by product, whether the results pass through ShiftGELU. Whoever feeds the array brings the
// results of the first product back as the left matrix of the second. activate_i, inner_i, column_tiles_i and
// multiplier_i stay the same from the first beat of a product to its last.
//
// Timing: that of lutra_systolic_gemm; with activate_i the results of the last row of tiles come later, by as many
// cycles as they have beats and 40 - Skip more, 2**Skip <= 2 * Unit (lutra_shift_gelu).
module lutra_dense_mlp #(
  parameter int unsigned Size = 8,             // rows and columns of the array, a power of two from 2
  parameter int unsigned Depth = 256,          // largest number of terms of a result, a power of two from 2
  parameter int unsigned Lanes = 8,            // results per output beat, a power of two up to Size
  parameter int unsigned MultiplierBits = 16,  // bits of multiplier_i
  parameter int unsigned ArrayShift = 24,      // bits that requantising the array's sums rounds away
  parameter int unsigned TileBits = 8,         // bits of column_tiles_i
  parameter bit          Pipelined = 0,        // two register stages more in every element of the array
  parameter int unsigned MaxTiles = 4,         // largest column_tiles_i of a product that is activated
  parameter int unsigned Unit = 16,            // ShiftGELU: the integer that stands for about 1 in the exponent
  parameter int unsigned Shift = 23,           // ShiftGELU: bits below the binary point of the exponentials
  parameter int unsigned ActivatedMultiplierBits = 16,  // bits of ActivatedMultiplier
  parameter logic [ActivatedMultiplierBits-1:0] ActivatedMultiplier = '0,  // multiplier behind ShiftGELU
  parameter int unsigned ActivatedShift = 22   // bits that requantising behind ShiftGELU rounds away
) (
  input  logic                       clk_i,           // clock
  input  logic                       rst_ni,          // synchronous reset, active low
  input  logic                       activate_i,      // results pass through ShiftGELU
  input  logic [$clog2(Depth):0]     inner_i,         // terms of every result, 1 to Depth
  input  logic [TileBits-1:0]        column_tiles_i,  // columns / Size, rounded up, from 1
  input  logic [MultiplierBits-1:0]  multiplier_i,    // multiplier of requantising the sums, unsigned
  input  logic                       a_valid_i,       // a beat of the left matrix is offered
  output logic                       a_ready_o,       // it is taken
  input  logic [Size*8-1:0]          a_data_i,        // one int8 per row of the tile
  input  logic                       b_valid_i,       // a beat of the right matrix is offered
  output logic                       b_ready_o,       // it is taken
  input  logic [Size*8-1:0]          b_data_i,        // one int8 per column of the tile
  output logic                       y_valid_o,       // a beat of results is offered
  input  logic                       y_ready_i,       // it is taken
  output logic [Lanes*8-1:0]         y_data_o         // Lanes int8 results of one row, the first in the lowest bits
);

  if (MaxTiles < 1 || (MaxTiles >> TileBits) != 0) begin : gen_wrong
    $error("MaxTiles must be from 1 and within TileBits");
  end

  logic               product_valid, product_ready, gelu_ready, gelu_valid;
  logic [Lanes*8-1:0] product, activated;

  lutra_systolic_gemm #(
    .Size(Size), .Depth(Depth), .Lanes(Lanes), .MultiplierBits(MultiplierBits), .Shift(ArrayShift), .TileBits(TileBits),
    .Pipelined(Pipelined)
  ) u_gemm (
    .clk_i, .rst_ni, .inner_i, .column_tiles_i, .multiplier_i,
    .a_valid_i, .a_ready_o, .a_data_i, .b_valid_i, .b_ready_o, .b_data_i,
    .y_valid_o(product_valid), .y_ready_i(product_ready), .y_data_o(product)
  );
  lutra_shift_gelu #(
    .Size(Size), .Lanes(Lanes), .MaxTiles(MaxTiles), .TileBits(TileBits), .Unit(Unit), .Shift(Shift),
    .MultiplierBits(ActivatedMultiplierBits), .Multiplier(ActivatedMultiplier), .OutputShift(ActivatedShift)
  ) u_gelu (
    .clk_i, .rst_ni, .column_tiles_i, .valid_i(product_valid && activate_i), .ready_o(gelu_ready), .data_i(product),
    .valid_o(gelu_valid), .ready_i(y_ready_i && activate_i), .data_o(activated)
  );

  assign product_ready = activate_i ? gelu_ready : y_ready_i;
  assign y_valid_o     = activate_i ? gelu_valid : product_valid;
  assign y_data_o      = activate_i ? activated : product;

endmodule
