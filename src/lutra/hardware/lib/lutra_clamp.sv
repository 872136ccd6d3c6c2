// Second half of requantising: y = clamp(product >> Shift), where product holds the rounding term already.
//
// Timing: combinational.
module lutra_clamp #(
  parameter int unsigned ProductBits = 18,  // bits of the product, over OutBits + 1
  parameter int unsigned Shift = 0,         // bits that are rounded away
  parameter int unsigned OutBits = 16,      // bits of the output
  parameter bit OutSigned = 1'b1            // the output is two's complement
) (
  input  logic [ProductBits-1:0] product_i,  // rounded product, two's complement
  output logic [OutBits-1:0]     y_o         // requantised value
);

  if (OutBits < 1 || ProductBits <= OutBits + 1 || ProductBits <= Shift) begin : gen_wrong
    $error("OutBits must be at least 1, ProductBits over OutBits + 1 and over Shift");
  end

  localparam logic signed [ProductBits-1:0] One = 1;
  localparam logic signed [ProductBits-1:0] Low = OutSigned ? -(One <<< (OutBits - 1)) : '0;
  localparam logic signed [ProductBits-1:0] High = Low + (One <<< OutBits) - One;

  logic signed [ProductBits-1:0] product, scaled;
  assign product = product_i;
  assign scaled = product >>> Shift;

  always_comb begin
    y_o = scaled[OutBits-1:0];
    if (scaled < Low) begin
      y_o = Low[OutBits-1:0];
    end else if (scaled > High) begin
      y_o = High[OutBits-1:0];
    end
  end

endmodule
