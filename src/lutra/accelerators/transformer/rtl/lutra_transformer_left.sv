// The left operands: one memory, or with Overlap one of what norms write beside that of everything else, so that both can
// be written at the same time. Addresses whose highest bit is 1 mean the norms'.
//
// Timing: as lutra_transformer_banks.
module lutra_transformer_left #(
  parameter int unsigned Banks = 4,         // a power of two from 2
  parameter int unsigned Lanes = 4,         // columns per word, a power of two
  parameter int unsigned Words = 16,        // words per bank
  parameter int unsigned NormedWords = 1,   // with Overlap: of what norms write
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter bit          Overlap = 0        // two memories
) (
  input  logic                       clk_i,            // clock
  input  logic                       write_i,          // store a word of any step but a norm
  input  logic [$clog2(Banks)-1:0]   write_bank_i,     // in which bank
  input  logic [AddressBits-1:0]     write_address_i,  // where
  input  logic [Lanes*8-1:0]         data_i,           // the word
  input  logic                       norm_write_i,     // store a word of a norm
  input  logic [$clog2(Banks)-1:0]   norm_bank_i,      // in which bank
  input  logic [AddressBits-1:0]     norm_address_i,   // where
  input  logic [Lanes*8-1:0]         norm_data_i,      // the word
  input  logic                       read_i,           // read a word of every bank
  input  logic [AddressBits-1:0]     read_address_i,   // which
  input  logic [$clog2(Lanes)+(Lanes == 1 ? 1 : 0)-1:0] phase_i,  // which column of the words
  output logic [Banks*8-1:0]         column_o,         // that column, bank 0 in the lowest bits
  input  logic [$clog2(Banks)-1:0]   word_bank_i,      // which bank's word
  output logic [Lanes*8-1:0]         word_o            // that word
);

  localparam int unsigned WordBits = Words > 1 ? $clog2(Words) : 1;
  localparam int unsigned NormedBits = NormedWords > 1 ? $clog2(NormedWords) : 1;

  logic                     write;
  logic [$clog2(Banks)-1:0] bank;
  logic [AddressBits-1:0]   address;
  logic [Lanes*8-1:0]       data, word;
  logic [Banks*8-1:0]       column;

  lutra_transformer_banks #(.Banks(Banks), .Lanes(Lanes), .Words(Words), .AddressBits(WordBits)) u_left (
    .clk_i, .write_i(write), .write_bank_i(bank), .write_address_i(address[WordBits-1:0]), .data_i(data), .read_i,
    .read_address_i(read_address_i[WordBits-1:0]), .phase_i, .column_o(column), .word_bank_i, .word_o(word)
  );

  if (Overlap) begin : gen_two
    logic               normed_q;
    logic [Lanes*8-1:0] normed_word;
    logic [Banks*8-1:0] normed_column;

    lutra_transformer_banks #(.Banks(Banks), .Lanes(Lanes), .Words(NormedWords), .AddressBits(NormedBits)) u_normed (
      .clk_i, .write_i(norm_write_i), .write_bank_i(norm_bank_i), .write_address_i(norm_address_i[NormedBits-1:0]),
      .data_i(norm_data_i), .read_i, .read_address_i(read_address_i[NormedBits-1:0]), .phase_i,
      .column_o(normed_column), .word_bank_i, .word_o(normed_word)
    );

    always_ff @(posedge clk_i) begin
      if (read_i) begin
        normed_q <= read_address_i[AddressBits-1];
      end
    end
    assign write    = write_i;
    assign bank     = write_bank_i;
    assign address  = write_address_i;
    assign data     = data_i;
    assign column_o = normed_q ? normed_column : column;
    assign word_o   = normed_q ? normed_word : word;
  end else begin : gen_one
    assign write    = write_i || norm_write_i;
    assign bank     = norm_write_i ? norm_bank_i : write_bank_i;
    assign address  = norm_write_i ? norm_address_i : write_address_i;
    assign data     = norm_write_i ? norm_data_i : data_i;
    assign column_o = column;
    assign word_o   = word;
  end

  logic unused;
  assign unused = ^{address, norm_address_i, read_address_i};

endmodule
