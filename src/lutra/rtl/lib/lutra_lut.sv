// One trained lookup table of 2 to 8 inputs: bit_o = Table[address_i].
//
// With LUTRA_XILINX defined it is made of LUT6 cells, so that synthesis keeps exactly the trained tables (several are
// joined by multiplexers above 6 inputs); otherwise it is a multiplexer tree for simulation and standard cells.
//
// Timing: combinational.
module lutra_lut #(
  parameter int unsigned Inputs = 6,                 // 2 to 8
  parameter logic [(2**Inputs)-1:0] Table = '0       // entry a at bit a
) (
  input  logic [Inputs-1:0] address_i,  // the inputs; input 0 is the least significant bit
  output logic              bit_o       // the table's entry
);

`ifdef LUTRA_XILINX
  localparam int unsigned Leaves = Inputs > 6 ? 2**(Inputs-6) : 1;
  localparam int unsigned LeafInputs = Inputs > 6 ? 6 : Inputs;
  localparam int unsigned Copies = 2**(6-LeafInputs);

  logic [5:0]        leaf_address;
  logic [Leaves-1:0] leaf;

  for (genvar i = 0; i < 6; i++) begin : gen_address
    if (i < LeafInputs) begin : gen_input
      assign leaf_address[i] = address_i[i];
    end else begin : gen_tied
      assign leaf_address[i] = 1'b0;
    end
  end

  for (genvar k = 0; k < Leaves; k++) begin : gen_leaf
    LUT6 #(
      .INIT({Copies{Table[k*(2**LeafInputs) +: 2**LeafInputs]}})
    ) u_lut6 (
      .I0(leaf_address[0]),
      .I1(leaf_address[1]),
      .I2(leaf_address[2]),
      .I3(leaf_address[3]),
      .I4(leaf_address[4]),
      .I5(leaf_address[5]),
      .O (leaf[k])
    );
  end

  if (Inputs > 6) begin : gen_join
    lutra_mux #(.AddressBits(Inputs-6), .Width(1)) u_mux (
      .address_i(address_i[Inputs-1:6]),
      .words_i(leaf),
      .word_o(bit_o)
    );
  end else begin : gen_single
    assign bit_o = leaf[0];
  end
`else
  lutra_mux #(.AddressBits(Inputs), .Width(1)) u_mux (
    .address_i(address_i),
    .words_i(Table),
    .word_o(bit_o)
  );
`endif

endmodule
