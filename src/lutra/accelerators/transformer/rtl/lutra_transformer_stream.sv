// The residual stream: one memory, or with Overlap a copy beside it, so that a norm and what adds to it can both read.
//
// Timing: as lutra_memory. Without Overlap only one of the two reads at a time, and both see what was read last.
module lutra_transformer_stream #(
  parameter int unsigned Words = 16,        // words
  parameter int unsigned Bits = 64,         // bits of a word
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter bit          Overlap = 0        // two copies
) (
  input  logic                   clk_i,            // clock
  input  logic                   write_i,          // store a word
  input  logic [AddressBits-1:0] write_address_i,  // where
  input  logic [Bits-1:0]        data_i,           // the word
  input  logic                   read_i,           // read what is added to
  input  logic [AddressBits-1:0] read_address_i,   // where
  output logic [Bits-1:0]        data_o,           // the word
  input  logic                   norm_read_i,      // read for a norm
  input  logic [AddressBits-1:0] norm_address_i,   // where
  output logic [Bits-1:0]        norm_data_o       // the word
);

  localparam int unsigned WordBits = Words > 1 ? $clog2(Words) : 1;

  logic                   read;
  logic [AddressBits-1:0] address;

  lutra_memory #(.Words(Words), .Bits(Bits), .AddressBits(WordBits)) u_memory (
    .clk_i, .write_i, .write_address_i(write_address_i[WordBits-1:0]), .data_i, .read_i(read), .clear_i(1'b0),
    .read_address_i(address[WordBits-1:0]), .data_o
  );

  if (Overlap) begin : gen_two
    lutra_memory #(.Words(Words), .Bits(Bits), .AddressBits(WordBits)) u_copy (
      .clk_i, .write_i, .write_address_i(write_address_i[WordBits-1:0]), .data_i, .read_i(norm_read_i), .clear_i(1'b0),
      .read_address_i(norm_address_i[WordBits-1:0]), .data_o(norm_data_o)
    );
    assign read    = read_i;
    assign address = read_address_i;
  end else begin : gen_one
    assign read        = read_i || norm_read_i;
    assign address     = norm_read_i ? norm_address_i : read_address_i;
    assign norm_data_o = data_o;
  end

  logic unused;
  assign unused = ^{write_address_i, address, norm_address_i};

endmodule
