// Processing element of the output-stationary array: adds a * b to its sum and hands a and b on.
//
// Pipelined, it has registers inside the product and between the two halves of the sum, for clocks at which a product
// and an addition do not fit into one cycle. The low half of the sum are 15 bits: what a product adds above them is its
// sign and a carry. So halves that are a cycle apart need three registers between them, with the restart, where one in
// front of the whole sum would need 17.
//
// Timing: operands and restart reach the neighbours one cycle later; sum_o holds the products up to the cycle before.
// With restart_i the sum starts anew at the product of this cycle. Pipelined, the product is that of the operands of the
// cycle before, and the high half of sum_o is one cycle behind the low half.
module lutra_systolic_pe #(
  parameter int unsigned SumBits = 32,   // bits of the sum, more than 16; arithmetic is modulo 2**SumBits
  parameter bit          Pipelined = 0   // two register stages more
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

  if (SumBits <= 16) begin : gen_wrong
    $error("SumBits must be over 16");
  end

  logic [15:0]        product;
  logic               carry;
  logic [SumBits-1:0] sum_q, sum_d;

  assign sum_o = sum_q;

  always_ff @(posedge clk_i) begin
    restart_o <= restart_i;
    a_o       <= a_i;
    b_o       <= b_i;
    sum_q     <= sum_d;
  end

  if (Pipelined) begin : gen_pipelined
    localparam int unsigned LowBits = 15;
    localparam int unsigned HighBits = SumBits - LowBits;
    logic                restart_q, negative_q, carry_q;
    logic [LowBits-1:0]  low_start;
    logic [HighBits-1:0] high_start;
    logic [LowBits:0]    low;  // with its carry

    lutra_systolic_pair_multiplier u_multiplier (.clk_i, .a_i, .b_i, .product_o(product), .carry_o(carry));

    assign low_start  = sum_q[LowBits-1:0] & {LowBits{!restart_i}};
    assign high_start = sum_q[SumBits-1:LowBits] & {HighBits{!restart_q}};
    assign low        = {1'b0, low_start} + {1'b0, product[LowBits-1:0]} + (LowBits+1)'(carry);
    assign sum_d      = {high_start + {HighBits{negative_q}} + HighBits'(carry_q), low[LowBits-1:0]};

    always_ff @(posedge clk_i) begin
      restart_q  <= restart_i;
      negative_q <= product[15];
      carry_q    <= low[LowBits];
    end
  end else begin : gen_one_stage
    logic [SumBits-1:0] start;
    logic [SumBits:0]   full;  // bit 0 only makes the carry
    logic               unused_full;

    lutra_systolic_multiplier u_multiplier (.a_i, .b_i, .product_o(product), .carry_o(carry));

    assign start = sum_q & {SumBits{!restart_i}};
    // product + start + carry as a difference, whose first operand goes into the carry chain as it is: with the second,
    // the chain would need one more LUT per bit.
    assign full  = {{(SumBits-16){product[15]}}, product, carry} - ~{start, 1'b0};
    assign sum_d = full[SumBits:1];
    assign unused_full = full[0];
  end

endmodule
