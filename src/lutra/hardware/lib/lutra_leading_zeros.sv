// Number of zeros above the leading one of a word of any width.
//
// Halves are counted on their own: the upper one counts unless it is all zeros, so that the logic is a tree.
//
// Timing: combinational.
module lutra_leading_zeros #(
  parameter int unsigned Levels = 4  // log2 of the width
) (
  input  logic [2**Levels-1:0] word_i,   // the word
  output logic                 empty_o,  // all bits are 0; zeros_o is 2**Levels - 1 then
  output logic [Levels-1:0]    zeros_o   // zeros above the leading one
);

  if (Levels < 1) begin : gen_wrong
    $error("Levels must be at least 1");
  end

  if (Levels == 1) begin : gen_pair
    assign empty_o = word_i == 2'b00;
    assign zeros_o = !word_i[1];
  end else begin : gen_halves
    localparam int unsigned Half = 2 ** (Levels - 1);
    logic              upper_empty, lower_empty;
    logic [Levels-2:0] upper, lower;

    lutra_leading_zeros #(.Levels(Levels - 1)) u_upper (
      .word_i(word_i[Half +: Half]), .empty_o(upper_empty), .zeros_o(upper)
    );
    lutra_leading_zeros #(.Levels(Levels - 1)) u_lower (
      .word_i(word_i[0 +: Half]), .empty_o(lower_empty), .zeros_o(lower)
    );
    assign empty_o = upper_empty && lower_empty;
    assign zeros_o = {upper_empty, upper_empty ? lower : upper};
  end

endmodule
