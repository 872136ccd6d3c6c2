// Chooses one of several words by a bit of its own for each: all words are gated and joined.
//
// Unlike a tree of multiplexers it needs no decoded address, and words that are not chosen do not switch it.
//
// Timing: combinational.
module lutra_select #(
  parameter int unsigned Words = 1,  // how many words
  parameter int unsigned Width = 1   // bits per word
) (
  input  logic [Words-1:0]       select_i,  // bit k chooses word k; at most one is 1
  input  logic [Words*Width-1:0] words_i,   // word k at [k*Width +: Width]
  output logic [Width-1:0]       word_o     // the chosen word, or 0
);

  if (Words < 1 || Width < 1) begin : gen_wrong
    $error("Words and Width must be at least 1");
  end

  for (genvar b = 0; b < Width; b++) begin : gen_bit
    logic [Words-1:0] gated;
    for (genvar k = 0; k < Words; k++) begin : gen_word
      assign gated[k] = select_i[k] & words_i[k*Width + b];
    end
    assign word_o[b] = |gated;
  end

endmodule
