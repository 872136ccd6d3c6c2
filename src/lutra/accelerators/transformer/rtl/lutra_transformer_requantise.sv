// Requantises beats of sums behind a product of matrices, and the contexts of attention, whose multiplier is a reciprocal.
//
// Timing: three enabled cycles; a beat in every one. shift_i and wide_i come with the beat and travel along.
module lutra_transformer_requantise #(
  parameter int unsigned Lanes = 4  // sums of a beat, at least 1
) (
  input  logic                clk_i,         // clock
  input  logic                enable_i,      // go on
  input  logic [Lanes*32-1:0] sums_i,        // two's complement
  input  logic [Lanes*32-1:0] bias_i,        // two's complement; a sum and its bias do not leave 32 bits
  input  logic [Lanes*17-1:0] multiplier_i,  // unsigned
  input  logic [5:0]          shift_i,       // bits that are rounded away
  input  logic                wide_i,        // clamp to int16, not to int8
  output logic [Lanes*16-1:0] y_o            // requantised values; an int8 with its sign repeated
);

  if (Lanes < 1) begin : gen_wrong
    $error("Lanes must be at least 1");
  end

  logic [5:0] shift_1_q, shift_2_q;
  logic       wide_1_q, wide_2_q;

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      {wide_1_q, shift_1_q} <= {wide_i, shift_i};
      {wide_2_q, shift_2_q} <= {wide_1_q, shift_1_q};
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    lutra_transformer_requantise_lane u_lane (
      .clk_i,
      .enable_i,
      .sum_i(sums_i[32*l +: 32]),
      .bias_i(bias_i[32*l +: 32]),
      .multiplier_i(multiplier_i[17*l +: 17]),
      .shift_i(shift_2_q),
      .wide_i(wide_2_q),
      .y_o(y_o[16*l +: 16])
    );
  end

endmodule
