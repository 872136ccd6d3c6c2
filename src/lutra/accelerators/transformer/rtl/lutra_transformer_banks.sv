// Memory in banks, one for each row of the array: bank b holds the rows r with r mod Banks = b.
//
// A write is a word of Lanes neighbouring columns of one row. A read gives one column of all banks, for the array, and
// the whole word of one of them.
//
// Timing: as lutra_memory; phase_i and word_bank_i choose among the words that have been read, in the same cycle.
module lutra_transformer_banks #(
  parameter int unsigned Banks = 4,         // a power of two from 2
  parameter int unsigned Lanes = 4,         // columns per word, a power of two
  parameter int unsigned Words = 16,        // words per bank
  parameter int unsigned AddressBits = 4    // bits of an address
) (
  input  logic                       clk_i,            // clock
  input  logic                       write_i,          // store a word
  input  logic [$clog2(Banks)-1:0]   write_bank_i,     // in which bank
  input  logic [AddressBits-1:0]     write_address_i,  // where
  input  logic [Lanes*8-1:0]         data_i,           // the word
  input  logic                       read_i,           // read a word of every bank
  input  logic [AddressBits-1:0]     read_address_i,   // which
  input  logic [$clog2(Lanes)+(Lanes == 1 ? 1 : 0)-1:0] phase_i,  // which column of the words
  output logic [Banks*8-1:0]         column_o,         // that column, bank 0 in the lowest bits
  input  logic [$clog2(Banks)-1:0]   word_bank_i,      // which bank's word
  output logic [Lanes*8-1:0]         word_o            // that word
);

  if (Banks < 2 || (Banks & (Banks - 1)) != 0 || Lanes < 1 || (Lanes & (Lanes - 1)) != 0) begin : gen_wrong
    $error("Banks must be a power of two from 2, Lanes a power of two");
  end

  localparam int unsigned BankBits = $clog2(Banks);
  localparam int unsigned LaneBits = $clog2(Lanes);

  logic [Banks*Lanes*8-1:0] words;

  for (genvar b = 0; b < Banks; b++) begin : gen_bank
    logic [Lanes*8-1:0] word;

    lutra_memory #(.Words(Words), .Bits(Lanes*8), .AddressBits(AddressBits)) u_memory (
      .clk_i, .write_i(write_i && write_bank_i == BankBits'(b)), .write_address_i, .data_i,
      .read_i, .clear_i(1'b0), .read_address_i, .data_o(word)
    );
    assign words[Lanes*8*b +: Lanes*8] = word;

    if (Lanes > 1) begin : gen_columns
      lutra_mux #(.AddressBits(LaneBits), .Width(8)) u_mux (
        .address_i(phase_i), .words_i(word), .word_o(column_o[8*b +: 8])
      );
    end else begin : gen_column
      assign column_o[8*b +: 8] = word;
    end
  end

  lutra_mux #(.AddressBits(BankBits), .Width(Lanes*8)) u_word_mux (
    .address_i(word_bank_i), .words_i(words), .word_o
  );

  if (Lanes == 1) begin : gen_no_phase
    logic unused_phase;
    assign unused_phase = ^phase_i;
  end

endmodule
