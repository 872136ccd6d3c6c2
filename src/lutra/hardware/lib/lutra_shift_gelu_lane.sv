// ShiftGELU of one element of a row after the other: y = x * sigmoid, requantised.
//
// sigmoid = floor(E * floor((2**31 - 1) / (E + rest_i)) / 2**24) with E = exponential of -difference_i, in [0, 127]. E is
// a mantissa of few bits and a power of two, so that its product with the quotient is narrow.
//
// Timing: a new element in every enabled cycle. rest_i belongs to the x_i and difference_i of two enabled cycles before,
// y_o to those of 37 - Skip enabled cycles before; between the last register and y_o it is combinational.
module lutra_shift_gelu_lane #(
  parameter int unsigned Unit = 16,            // the integer that stands for about 1 in the exponent
  parameter int unsigned Shift = 23,           // bits below the binary point of the exponentials
  parameter int unsigned MantissaBits = 6,     // bits of 2 * Unit
  parameter int unsigned Skip = 5,             // 2 * Unit is at least 2**Skip
  parameter int unsigned ValueBits = 28,       // bits of Unit * 2**Shift
  parameter int unsigned MultiplierBits = 16,  // bits of Multiplier
  parameter logic [MultiplierBits-1:0] Multiplier = '0,  // y = clamp((x * sigmoid * Multiplier + rounding) >> OutputShift)
  parameter int unsigned OutputShift = 22      // bits that requantising rounds away
) (
  input  logic                 clk_i,         // clock
  input  logic                 enable_i,      // go on
  input  logic [7:0]           x_i,           // element, two's complement
  input  logic [7:0]           difference_i,  // how far it lies below the largest of its row and 0
  input  logic [ValueBits-1:0] rest_i,        // exponential of minus that largest element
  output logic [7:0]           y_o            // activated element, two's complement
);

  if (2*Unit < 2**Skip || MultiplierBits < 1) begin : gen_wrong
    $error("2 * Unit must be at least 2**Skip, MultiplierBits at least 1");
  end

  localparam int unsigned QuotientBits = 31 - Skip;
  localparam int unsigned ProductBits = MantissaBits + QuotientBits;
  localparam int unsigned TagBits = 8 + MantissaBits + 5;

  // The exponential, and x beside it.
  logic [7:0]              x_1_q, x_2_q, x_3_q, x_4, x_5_q, x_6_q;
  logic [MantissaBits-1:0] mantissa_2, mantissa_3_q, mantissa_4;
  logic [4:0]              exponent_2, exponent_3_q, exponent_4, exponent_5_q;
  logic [ValueBits-1:0]    value_2;
  logic [ValueBits:0]      sum_3_q;

  lutra_shift_exp #(.Unit(Unit), .Shift(Shift), .MantissaBits(MantissaBits), .ValueBits(ValueBits)) u_exp (
    .clk_i, .enable_i, .difference_i, .mantissa_o(mantissa_2), .exponent_o(exponent_2), .value_o(value_2)
  );

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      x_1_q        <= x_i;
      x_2_q        <= x_1_q;
      x_3_q        <= x_2_q;
      mantissa_3_q <= mantissa_2;
      exponent_3_q <= exponent_2;
      sum_3_q      <= {1'b0, value_2} + {1'b0, rest_i};
    end
  end

  // The division.
  logic [QuotientBits-1:0] factor_4;

  lutra_reciprocal #(.DivisorBits(ValueBits+1), .Skip(Skip), .TagBits(TagBits)) u_reciprocal (
    .clk_i, .enable_i, .divisor_i(sum_3_q), .tag_i({x_3_q, exponent_3_q, mantissa_3_q}),
    .quotient_o(factor_4), .tag_o({x_4, exponent_4, mantissa_4})
  );

  // The sigmoid and the product with x.
  logic [ProductBits-1:0] product_5_q;
  logic [ProductBits+22:0] shifted_5;
  logic [6:0]             sigmoid_6_q;
  logic signed [14:0]     y_7_q;

  assign shifted_5 = {23'b0, product_5_q} << exponent_5_q;

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      x_5_q        <= x_4;
      exponent_5_q <= exponent_4;
      product_5_q  <= ProductBits'(mantissa_4) * ProductBits'(factor_4);
      x_6_q        <= x_5_q;
      sigmoid_6_q  <= shifted_5[30:24];
      y_7_q        <= $signed({{7{x_6_q[7]}}, x_6_q}) * $signed({8'b0, sigmoid_6_q});
    end
  end

  logic unused_shifted;
  assign unused_shifted = ^{shifted_5[ProductBits+22:31], shifted_5[23:0]};

  lutra_requantise #(
    .SumBits(15), .MultiplierBits(MultiplierBits), .Shift(OutputShift), .OutBits(8), .OutSigned(1'b1)
  ) u_requantise (
    .sum_i(y_7_q), .multiplier_i(Multiplier), .y_o(y_o)
  );

endmodule
