// Memory of wide words that are written in parts and read whole: the values of attention, right operands of the array.
//
// Timing: as lutra_memory.
module lutra_transformer_wide #(
  parameter int unsigned Groups = 2,       // parts of a word, a power of two
  parameter int unsigned Lanes = 4,        // int8 values of a part
  parameter int unsigned Words = 16,       // words
  parameter int unsigned AddressBits = 4   // bits of an address
) (
  input  logic                      clk_i,            // clock
  input  logic                      write_i,          // store a part
  input  logic [$clog2(Groups)+(Groups == 1 ? 1 : 0)-1:0] write_group_i,  // which part
  input  logic [AddressBits-1:0]    write_address_i,  // of which word
  input  logic [Lanes*8-1:0]        data_i,           // the part
  input  logic                      read_i,           // read a word
  input  logic [AddressBits-1:0]    read_address_i,   // which
  output logic [Groups*Lanes*8-1:0] data_o            // the word, part 0 in the lowest bits
);

  if (Groups < 1 || (Groups & (Groups - 1)) != 0 || Lanes < 1) begin : gen_wrong
    $error("Groups must be a power of two, Lanes at least 1");
  end

  localparam int unsigned GroupBits = Groups > 1 ? $clog2(Groups) : 1;

  for (genvar g = 0; g < Groups; g++) begin : gen_group
    lutra_memory #(.Words(Words), .Bits(Lanes*8), .AddressBits(AddressBits)) u_memory (
      .clk_i, .write_i(write_i && write_group_i == GroupBits'(g)), .write_address_i, .data_i,
      .read_i, .clear_i(1'b0), .read_address_i, .data_o(data_o[Lanes*8*g +: Lanes*8])
    );
  end

endmodule
