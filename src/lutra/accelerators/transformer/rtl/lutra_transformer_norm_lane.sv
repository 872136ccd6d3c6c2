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

  logic [27:0]        widened;       // the element times the width
  logic [26:0]        difference_q;  // its distance from the mean, times the width
  logic [44:0]        product;
  logic signed [43:0] product_q, moved;
  logic [16:0]        normal_q;
  logic [32:0]        scaled;
  logic [33:0]        scaled_q;
  logic [6:0]         distance;
  logic [7:0]         y;

  lutra_multiply #(.XBits(16), .YBits(12)) u_widen (.x_i, .y_i({1'b0, width_i}), .product_o(widened));
  lutra_multiply #(.XBits(27), .YBits(18)) u_normalise (
    .x_i(difference_q), .y_i({1'b0, factor_i}), .product_o(product)
  );
  lutra_multiply #(.XBits(17), .YBits(16)) u_scale (.x_i(normal_q), .y_i(gain_i), .product_o(scaled));

  assign distance = {1'b0, exponent_i} + 7'd6;
  assign moved    = product_q >>> distance;

  logic unused_high;
  assign unused_high = ^{widened[27], product[44], moved[43:17]};

  lutra_round_shift #(.Bits(34), .ShiftBits(5), .OutBits(8)) u_round (.x_i(scaled_q), .shift_i, .y_o(y));

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      difference_q <= widened[26:0] - {total_i[25], total_i};
      product_q    <= product[43:0];
      normal_q     <= moved[16:0];
      scaled_q     <= {scaled[32], scaled} + {{2{bias_i[31]}}, bias_i};
      y_o          <= y;
    end
  end

endmodule
