// Processing element of the paper's Fig. 6: multiplies x, one word of Bits bits, by a number y that comes digit by digit.
//
// Digits are -1, 0 or 1, the least significant first. Sign bit elimination: the partial product x * digit has Bits + 1
// bits with its sign bit inverted, which adds 2**Bits to it, and the register starts at 2**Bits. So everything that is
// added is positive, no sign is ever extended, and signed and unsigned numbers take the same path. The negative of x is
// its complement with a carry in. Right shifting: a digit's sum moves down by one place before the next digit, so that
// the adder stays Bits + 2 bits wide and finished bits leave at its lower end. One signed bit is -1 or 1.
//
// Timing: a digit per cycle with enable_i. In the cycle after the last of D digits p_o is
// x * y * 2**(Bits - D) + 2**(2 * Bits), a positive number; D is at most Bits.
module lutra_bat_pe #(
  parameter int unsigned Bits = 4  // bits of x, and most digits of y
) (
  input  logic            clk_i,     // clock
  input  logic            enable_i,  // take a digit
  input  logic            signed_i,  // x is signed
  input  logic            first_i,   // the digit is the first of its number
  input  logic [Bits-1:0] x_i,       // multiplicand; the same for all digits
  input  logic [1:0]      y_i,       // digit: 01 is 1, 00 is 0, 11 is -1
  output logic [2*Bits:0] p_o        // product, shifted and with its offset
);

  localparam logic [Bits:0] Start = {1'b1, {Bits{1'b0}}};

  logic [Bits:0]   x, partial, high;
  logic [Bits+1:0] sum_q, sum;

  if (Bits == 1) begin : gen_one_bit
    assign x = signed_i ? {!x_i[0], 1'b1} : {1'b0, x_i[0]};
    assign p_o = sum_q;
  end else begin : gen_bits
    localparam int unsigned LowBits = Bits - 1;
    logic [LowBits-1:0] low_q;

    assign x = {signed_i && x_i[Bits-1], x_i};
    assign p_o = {sum_q, low_q};

    always_ff @(posedge clk_i) begin
      if (enable_i) begin
        low_q <= first_i ? '0 : (low_q >> 1) | (LowBits'(sum_q[0]) << (LowBits - 1));
      end
    end
  end

  assign partial = (x & {(Bits + 1){y_i[0]}}) ^ {(Bits + 1){y_i[1]}} ^ Start;
  assign high    = first_i ? Start : sum_q[Bits+1:1];
  assign sum     = {1'b0, high} + {1'b0, partial} + {{(Bits + 1){1'b0}}, y_i[1]};

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      sum_q <= sum;
    end
  end

endmodule
