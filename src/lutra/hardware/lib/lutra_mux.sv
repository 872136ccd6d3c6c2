// One of 2**AddressBits words, chosen by a tree of two-way multiplexers.
//
// The most significant address bit selects first, next to the words. With LUTRA_FAST_SIMULATION the words are indexed,
// because the tree takes several times longer to compile for simulation.
//
// Timing: combinational.
module lutra_mux #(
  parameter int unsigned AddressBits = 1,  // at least 1
  parameter int unsigned Width = 1         // bits per word
) (
  input  logic [AddressBits-1:0]            address_i,  // which word
  input  logic [(2**AddressBits)*Width-1:0] words_i,    // word k at [k*Width +: Width]
  output logic [Width-1:0]                  word_o      // the chosen word
);

  if (AddressBits < 1 || Width < 1) begin : gen_wrong
    $error("AddressBits and Width must be at least 1");
  end

`ifdef LUTRA_FAST_SIMULATION
  assign word_o = words_i[address_i*Width +: Width];
`else
  for (genvar k = AddressBits; k > 0; k--) begin : gen_level
    localparam int unsigned HalfBits = (2**(k-1))*Width;
    logic [HalfBits-1:0] half;
    if (k == AddressBits) begin : gen_first
      assign half = address_i[k-1] ? words_i[HalfBits +: HalfBits] : words_i[0 +: HalfBits];
    end else begin : gen_next
      assign half = address_i[k-1] ? gen_level[k+1].half[HalfBits +: HalfBits] : gen_level[k+1].half[0 +: HalfBits];
    end
  end

  assign word_o = gen_level[1].half;
`endif

endmodule
