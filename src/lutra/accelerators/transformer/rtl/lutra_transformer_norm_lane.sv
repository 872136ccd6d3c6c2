// Last part of the layer norm: one element of a row becomes
// clamp((n * gain + bias + rounding) >> shift), n = ((width * x - total) * factor) >> (exponent + 6).
//
// n has 10 bits below the binary point. Its magnitude is at most about the root of the width, and exceeds 2**15 where a
// single small element stands out of 1024, so that it has 17 bits.
//
// Timing: five enabled cycles, an element in each. What depends on the row or on the column comes when it is needed:
// total_i with x_i, factor_i one enabled cycle later, exponent_i two, gain_i and bias_i three.
module lutra_transformer_norm_lane (
  input  logic        clk_i,       // clock
  input  logic        enable_i,    // go on
  input  logic [15:0] x_i,         // element, two's complement
  input  logic [25:0] total_i,     // sum of the row, two's complement
  input  logic [10:0] width_i,     // elements of the row, up to 1024
  input  logic [16:0] factor_i,    // reciprocal of the row's root, up to 2**16
  input  logic [5:0]  exponent_i,  // place of the root's leading one
  input  logic [15:0] gain_i,      // two's complement
  input  logic [31:0] bias_i,      // two's complement
  input  logic [4:0]  shift_i,     // bits that are rounded away, constant
  output logic [7:0]  y_o          // normalised element, two's complement
);

  logic signed [15:0] x, gain;
  logic signed [11:0] width;
  logic signed [17:0] factor;
  logic signed [25:0] total;
  logic signed [31:0] bias;
  logic signed [26:0] difference_q;  // the element's distance from the mean, times the width
  logic signed [43:0] product_q, moved;
  logic signed [16:0] normal_q;
  logic signed [33:0] scaled_q;
  logic [6:0]         distance;
  logic [7:0]         y;

  assign x        = x_i;
  assign width    = {1'b0, width_i};
  assign factor   = {1'b0, factor_i};
  assign total    = total_i;
  assign gain     = gain_i;
  assign bias     = bias_i;
  assign distance = {1'b0, exponent_i} + 7'd6;
  assign moved    = product_q >>> distance;

  logic unused_high;
  assign unused_high = ^moved[43:17];

  lutra_round_shift #(.Bits(34), .ShiftBits(5), .OutBits(8)) u_round (.x_i(scaled_q), .shift_i, .y_o(y));

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      difference_q <= 27'(width * x) - 27'(total);
      product_q    <= 44'(difference_q * factor);
      normal_q     <= moved[16:0];
      scaled_q     <= 34'(normal_q * gain) + 34'(bias);
      y_o          <= y;
    end
  end

endmodule
