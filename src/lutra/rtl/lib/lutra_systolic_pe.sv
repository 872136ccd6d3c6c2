// Processing element of the output-stationary array: adds a * b to its sum and hands a and b on.
//
// Timing: operands reach the neighbours one cycle later; sum_o holds the products up to the cycle before. With
// restart_i the sum starts anew at the product of this cycle.
module lutra_systolic_pe #(
  parameter int unsigned SumBits = 32  // bits of the sum; arithmetic is modulo 2**SumBits
) (
  input  logic               clk_i,      // clock
  input  logic               restart_i,  // forget the sum of the tile before
  input  logic [7:0]         a_i,        // operand from the left, two's complement
  input  logic [7:0]         b_i,        // operand from above, two's complement
  output logic               restart_o,  // restart_i to the right
  output logic [7:0]         a_o,        // a_i to the right
  output logic [7:0]         b_o,        // b_i downwards
  output logic [SumBits-1:0] sum_o       // the sum, two's complement
);

  logic [15:0]        product;
  logic               carry;
  logic [SumBits-1:0] sum_q, start;
  logic [SumBits:0]   full;  // bit 0 only makes the carry
  logic               unused_full;

  lutra_systolic_multiplier u_multiplier (.a_i, .b_i, .product_o(product), .carry_o(carry));

  assign start = sum_q & {SumBits{!restart_i}};
  // product + start + carry as a difference, whose first operand goes into the carry chain as it is: with the second,
  // the chain would need one more LUT per bit.
  assign full  = {{(SumBits-16){product[15]}}, product, carry} - ~{start, 1'b0};
  assign sum_o = sum_q;
  assign unused_full = full[0];

  always_ff @(posedge clk_i) begin
    restart_o <= restart_i;
    a_o       <= a_i;
    b_o       <= b_i;
    sum_q     <= full[SumBits:1];
  end

endmodule
