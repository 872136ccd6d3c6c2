// Memory with one write and one read port for block RAM; parts of a word (granules) are written by themselves.
//
// Timing: granules are written at the clock edge with their write_i; data_o shows the word of read_address_i from the
// cycle after read_i on and stays without it. A granule that is written in the cycle in which it is read comes out
// undefined.
module lutra_bat_memory #(
  parameter int unsigned Words = 16,       // number of words
  parameter int unsigned Granules = 1,     // parts of a word
  parameter int unsigned GranuleBits = 8,  // bits of a part
  parameter int unsigned AddressBits = 4   // bits of an address
) (
  input  logic                            clk_i,            // clock
  input  logic [Granules-1:0]             write_i,          // store these parts of data_i
  input  logic [AddressBits-1:0]          write_address_i,  // where
  input  logic [Granules*GranuleBits-1:0] data_i,           // word to store
  input  logic                            read_i,           // change data_o
  input  logic [AddressBits-1:0]          read_address_i,   // word to show
  output logic [Granules*GranuleBits-1:0] data_o            // the word
);

  (* ram_style = "block" *) logic [Granules*GranuleBits-1:0] words [0:Words-1];

  always_ff @(posedge clk_i) begin
    for (int g = 0; g < Granules; g++) begin
      if (write_i[g]) begin
        words[write_address_i][g*GranuleBits +: GranuleBits] <= data_i[g*GranuleBits +: GranuleBits];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (read_i) begin
      data_o <= words[read_address_i];
    end
  end

endmodule
