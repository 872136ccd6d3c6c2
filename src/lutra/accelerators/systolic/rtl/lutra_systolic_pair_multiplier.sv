// Signed 8 x 8 multiplier of radix-4 Booth rows with a register inside, for standard cells: a * b = product_o + carry_o.
//
// The rows are added in two pairs, and the pairs behind the register. This is fast, where lutra_systolic_multiplier
// needs fewer six-input LUTs.
//
// Timing: product_o and carry_o are those of the operands of the cycle before.
module lutra_systolic_pair_multiplier (
  input  logic        clk_i,      // clock
  input  logic [7:0]  a_i,        // multiplicand, two's complement
  input  logic [7:0]  b_i,        // multiplier, two's complement
  output logic [15:0] product_o,  // product without carry_o, two's complement
  output logic        carry_o     // to be added to the product
);

  logic [8:0] digits;  // b with the 0 below its lowest bit
  assign digits = {b_i, 1'b0};

  for (genvar p = 0; p < 2; p++) begin : gen_pair
    logic [8:0]  low, high;
    logic        low_negative, high_negative, negative_q;
    logic [11:0] sum_q;  // both rows, without what the lower one lacks, from bit 4 p of the product
    lutra_booth_row u_low (.a_i, .digit_i(digits[4*p +: 3]), .row_o(low), .negative_o(low_negative));
    lutra_booth_row u_high (.a_i, .digit_i(digits[4*p+2 +: 3]), .row_o(high), .negative_o(high_negative));

    always_ff @(posedge clk_i) begin
      sum_q      <= {{3{low[8]}}, low} + {high[8], high, 2'b0} + 12'({high_negative, 2'b0});
      negative_q <= low_negative;
    end
  end

  assign product_o = {{4{gen_pair[0].sum_q[11]}}, gen_pair[0].sum_q} + {gen_pair[1].sum_q, 4'b0}
                   + 16'({gen_pair[1].negative_q, 4'b0});
  assign carry_o   = gen_pair[0].negative_q;

endmodule
