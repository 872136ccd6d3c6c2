// A small ROM in logic: bit b of the word is looked up in table b.
//
// Timing: combinational.
module lutra_rom #(
  parameter int unsigned AddressBits = 1,                               // at least 1
  parameter int unsigned Width = 1,                                     // bits per word
  parameter logic [Width*(2**AddressBits)-1:0] Tables = '0              // bit b of word a at b*2**AddressBits + a
) (
  input  logic [AddressBits-1:0] address_i,  // which word
  output logic [Width-1:0]       word_o      // the word
);

  if (AddressBits < 1 || Width < 1) begin : gen_wrong
    $error("AddressBits and Width must be at least 1");
  end

  for (genvar b = 0; b < Width; b++) begin : gen_bit
    lutra_lut #(.Inputs(AddressBits), .Table(Tables[b*(2**AddressBits) +: 2**AddressBits])) u_lut (
      .address_i(address_i),
      .bit_o(word_o[b])
    );
  end

endmodule
