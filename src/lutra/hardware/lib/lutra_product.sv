// First half of requantising: the sum times the multiplier, plus half a unit of what lutra_clamp rounds away.
//
// The multiplier is a constant in most models; with multiplier 1 and Shift 0 nothing remains.
//
// Timing: combinational.
module lutra_product #(
  parameter int unsigned SumBits = 16,        // bits of the sum
  parameter int unsigned MultiplierBits = 1,  // bits of the multiplier
  parameter int unsigned Shift = 0,           // bits that are rounded away
  parameter int unsigned ProductBits = 18     // over SumBits + MultiplierBits and over Shift + 1
) (
  input  logic [SumBits-1:0]        sum_i,         // sum, two's complement
  input  logic [MultiplierBits-1:0] multiplier_i,  // multiplier, unsigned
  output logic [ProductBits-1:0]    product_o      // rounded product before the shift, two's complement
);

  if (SumBits < 1 || MultiplierBits < 1 || ProductBits <= SumBits + MultiplierBits ||
      ProductBits <= Shift + 1) begin : gen_wrong
    $error("SumBits and MultiplierBits must be at least 1, ProductBits over their sum and over Shift + 1");
  end

  localparam logic [ProductBits-1:0] One = 1;
  localparam logic [ProductBits-1:0] Rounding = Shift > 0 ? One << (Shift > 0 ? Shift - 1 : 0) : '0;

  logic signed [ProductBits-1:0] sum, multiplier;
  assign sum = {{(ProductBits-SumBits){sum_i[SumBits-1]}}, sum_i};
  assign multiplier = {{(ProductBits-MultiplierBits){1'b0}}, multiplier_i};
  assign product_o = sum * multiplier + Rounding;

endmodule
