// Requantises one sum per cycle: y = clamp(((sum + bias) * multiplier + rounding) >> shift), half up, to int16 or int8.
//
// Three stages: bias, product, rounding. shift_i and wide_i belong to the third and come two enabled cycles after the
// sum, so that lanes side by side share the registers that hold them back.
//
// Timing: y_o shows three enabled cycles later what became of a sum; a sum in every cycle.
module lutra_transformer_requantise_lane (
  input  logic        clk_i,         // clock
  input  logic        enable_i,      // go on
  input  logic [31:0] sum_i,         // two's complement
  input  logic [31:0] bias_i,        // two's complement; sum_i + bias_i does not leave 32 bits
  input  logic [16:0] multiplier_i,  // unsigned
  input  logic [5:0]  shift_i,       // bits that are rounded away, two cycles after the sum
  input  logic        wide_i,        // clamp to int16, not to int8; two cycles after the sum
  output logic [15:0] y_o            // requantised value; an int8 with its sign repeated
);

  logic [31:0] biased_q;
  logic [16:0] multiplier_q;
  logic [49:0] product;
  logic [48:0] product_q;
  logic [15:0] wide;

  lutra_multiply #(.XBits(32), .YBits(18)) u_multiply (
    .x_i(biased_q), .y_i({1'b0, multiplier_q}), .product_o(product)
  );
  lutra_round_shift #(.Bits(49), .ShiftBits(6), .OutBits(16)) u_round (.x_i(product_q), .shift_i, .y_o(wide));

  logic unused_sign;
  assign unused_sign = product[49];

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      biased_q     <= sum_i + bias_i;
      multiplier_q <= multiplier_i;
      product_q    <= product[48:0];
      if (!wide_i && wide[15:7] != {9{wide[15]}}) begin
        y_o <= {{9{wide[15]}}, {7{!wide[15]}}};
      end else begin
        y_o <= wide;
      end
    end
  end

endmodule
