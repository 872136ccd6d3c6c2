// Requantises one sum: y = clamp((sum * multiplier + half) >> Shift), half = 2**(Shift-1), or 0 for Shift 0.
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

  // Wide enough for the product, the rounding term and every value of the output, each with a sign.
  localparam int unsigned ProductBits = SumBits + MultiplierBits;
  localparam int unsigned TermBits = Shift + 1 > OutBits + 1 ? Shift + 1 : OutBits + 1;
  localparam int unsigned Bits = 1 + (ProductBits > TermBits ? ProductBits : TermBits);
  localparam logic signed [Bits-1:0] One = 1;
  localparam logic signed [Bits-1:0] Half = (One <<< Shift) >>> 1;
  localparam logic signed [Bits-1:0] Rounding = Shift > 0 ? Half : '0;
  localparam logic signed [Bits-1:0] Low = OutSigned ? -(One <<< (OutBits - 1)) : '0;
  localparam logic signed [Bits-1:0] High = Low + (One <<< OutBits) - One;

  logic signed [Bits-1:0] sum, multiplier, scaled;
  assign sum = {{(Bits-SumBits){sum_i[SumBits-1]}}, sum_i};
  assign multiplier = {{(Bits-MultiplierBits){1'b0}}, multiplier_i};
  assign scaled = (sum * multiplier + Rounding) >>> Shift;

  always_comb begin
    y_o = scaled[OutBits-1:0];
    if (scaled < Low) begin
      y_o = Low[OutBits-1:0];
    end else if (scaled > High) begin
      y_o = High[OutBits-1:0];
    end
  end

endmodule
