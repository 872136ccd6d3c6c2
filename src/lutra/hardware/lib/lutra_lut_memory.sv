// Small memory with one write and one read port, for the lookup tables of an FPGA.
//
// Timing: as lutra_memory: a word is written at the clock edge with write_i; data_o shows the word of read_address_i from
// the cycle after read_i on. A word that is written in the cycle in which it is read comes out undefined; with OneAddress
// so does every other word, for half the lookup tables.
module lutra_lut_memory #(
  parameter int unsigned Words = 16,       // number of words
  parameter int unsigned Bits = 8,         // bits per word
  parameter int unsigned AddressBits = 4,  // bits of an address
  parameter bit OneAddress = 1'b0          // nothing is read while a word is written
) (
  input  logic                   clk_i,            // clock
  input  logic                   write_i,          // store data_i
  input  logic [AddressBits-1:0] write_address_i,  // where
  input  logic [Bits-1:0]        data_i,           // word to store
  input  logic                   read_i,           // change data_o
  input  logic [AddressBits-1:0] read_address_i,   // word to show
  output logic [Bits-1:0]        data_o            // the word
);

  if (Words < 1 || Bits < 1 || 2**AddressBits < Words) begin : gen_wrong
    $error("Words and Bits must be at least 1, and AddressBits must reach all Words");
  end

  (* ram_style = "distributed" *) logic [Bits-1:0] words [0:Words-1];

  logic [AddressBits-1:0] read_address, write_address;

  if (OneAddress) begin : gen_one
    assign read_address  = write_i ? write_address_i : read_address_i;
    assign write_address = read_address;
  end else begin : gen_two
    assign read_address  = read_address_i;
    assign write_address = write_address_i;
  end

  always_ff @(posedge clk_i) begin
    if (write_i) begin
      words[write_address] <= data_i;
    end
    if (read_i) begin
      data_o <= words[read_address];
    end
  end

endmodule
