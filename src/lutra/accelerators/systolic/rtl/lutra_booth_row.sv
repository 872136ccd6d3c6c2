// One row of a radix-4 Booth multiplier: a times a digit of b from -2 to 2, in ones' complement.
//
// A negative row is inverted; the 1 that two's complement wants, negative_o, is left to whoever adds the row.
//
// Timing: combinational.
module lutra_booth_row (
  input  logic [7:0] a_i,        // multiplicand, two's complement
  input  logic [2:0] digit_i,    // two bits of b and, lowest, the bit below them
  output logic [8:0] row_o,      // the row without negative_o, two's complement
  output logic       negative_o  // to be added to the row
);

  logic one, two;
  assign one        = digit_i[0] ^ digit_i[1];
  assign two        = (digit_i[0] == digit_i[1]) && (digit_i[0] != digit_i[2]);
  assign negative_o = digit_i[2];
  assign row_o      = (({a_i[7], a_i} & {9{one}}) | ({a_i, 1'b0} & {9{two}})) ^ {9{negative_o}};

endmodule
