// Requantises one sum: y = clamp((sum * multiplier + rounding) >> Shift), rounding = 2**(Shift-1), or 0 for Shift 0.
//
// The multiplier is a constant in most models; with multiplier 1 and Shift 0 only the clamp remains.
//
// Timing: combinational.
module lutra_requantise #(
  parameter int unsigned SumBits = 16,        // bits of the sum
  parameter int unsigned MultiplierBits = 1,  // bits of the multiplier
  parameter int unsigned Shift = 0,           // bits that are rounded away
  parameter int unsigned OutBits = 16,        // bits of the output
  parameter bit OutSigned = 1'b1              // the output is two's complement
) (
  input  logic [SumBits-1:0]        sum_i,         // sum, two's complement
  input  logic [MultiplierBits-1:0] multiplier_i,  // multiplier, unsigned
  output logic [OutBits-1:0]        y_o            // requantised value
);

  if (SumBits < 1 || MultiplierBits < 1 || OutBits < 1) begin : gen_wrong
    $error("SumBits, MultiplierBits and OutBits must be at least 1");
  end

  // Wide enough for the product, the rounding term and every value of the output, each with a sign.
  localparam int unsigned FactorBits = SumBits + MultiplierBits;
  localparam int unsigned TermBits = Shift + 1 > OutBits + 1 ? Shift + 1 : OutBits + 1;
  localparam int unsigned ProductBits = 1 + (FactorBits > TermBits ? FactorBits : TermBits);

  logic [ProductBits-1:0] product;

  lutra_product #(
    .SumBits(SumBits), .MultiplierBits(MultiplierBits), .Shift(Shift), .ProductBits(ProductBits)
  ) u_product (
    .sum_i, .multiplier_i, .product_o(product)
  );
  lutra_clamp #(.ProductBits(ProductBits), .Shift(Shift), .OutBits(OutBits), .OutSigned(OutSigned)) u_clamp (
    .product_i(product), .y_o
  );

endmodule
