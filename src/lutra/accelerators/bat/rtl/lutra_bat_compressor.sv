// Tree of 4:2 compressors: reduces numbers to two whose sum is the same modulo 2**Bits.
//
// Of every four numbers two rows of full adders make two; three that are left become two by one row. The module
// instantiates itself for what is left.
//
// Timing: combinational.
module lutra_bat_compressor #(
  parameter int unsigned Numbers = 4,  // how many, from 2
  parameter int unsigned Bits = 8      // bits of each
) (
  input  logic [Numbers*Bits-1:0] numbers_i,  // number i at i*Bits
  output logic [Bits-1:0]         sum_o,      // one of the two
  output logic [Bits-1:0]         carry_o     // the other
);

  localparam int unsigned Fours = Numbers / 4;
  localparam int unsigned Left = Numbers % 4;
  localparam int unsigned Next = 2 * Fours + (Left == 3 ? 2 : Left);

  if (Numbers == 2) begin : gen_done
    assign sum_o   = numbers_i[0 +: Bits];
    assign carry_o = numbers_i[Bits +: Bits];
  end else begin : gen_level
    logic [Next*Bits-1:0] next;

    for (genvar i = 0; i < Fours; i++) begin : gen_four
      logic [Bits-1:0] a, b, c, d, s, t;

      assign a = numbers_i[(4 * i) * Bits +: Bits];
      assign b = numbers_i[(4 * i + 1) * Bits +: Bits];
      assign c = numbers_i[(4 * i + 2) * Bits +: Bits];
      assign d = numbers_i[(4 * i + 3) * Bits +: Bits];
      assign s = a ^ b ^ c;
      assign t = ((a & b) | (a & c) | (b & c)) << 1;
      assign next[(2 * i) * Bits +: Bits] = s ^ d ^ t;
      assign next[(2 * i + 1) * Bits +: Bits] = ((s & d) | (s & t) | (d & t)) << 1;
    end

    if (Left == 3) begin : gen_three
      logic [Bits-1:0] a, b, c;

      assign a = numbers_i[(4 * Fours) * Bits +: Bits];
      assign b = numbers_i[(4 * Fours + 1) * Bits +: Bits];
      assign c = numbers_i[(4 * Fours + 2) * Bits +: Bits];
      assign next[(2 * Fours) * Bits +: Bits] = a ^ b ^ c;
      assign next[(2 * Fours + 1) * Bits +: Bits] = ((a & b) | (a & c) | (b & c)) << 1;
    end else if (Left != 0) begin : gen_few
      assign next[2 * Fours * Bits +: Left * Bits] = numbers_i[4 * Fours * Bits +: Left * Bits];
    end

    lutra_bat_compressor #(.Numbers(Next), .Bits(Bits)) u_next (
      .numbers_i(next),
      .sum_o(sum_o),
      .carry_o(carry_o)
    );
  end

endmodule
