// Turns the bits of tokens that come one after the other into bytes of eight tokens.
//
// A byte grows with every token: what is known of it is stored in memory as often, so that nothing has to be flushed at
// the end of a sentence. Bits of tokens that have not come may be anything.
//
// Timing: bytes_o follows from the inputs in the same cycle; with write_i it is remembered for the next token.
module lutra_bat_transpose #(
  parameter int unsigned Parts = 1,       // parts of a word that come by themselves
  parameter int unsigned Lanes = 16,      // bits of a part
  parameter int unsigned Words = 16,      // words of a token
  parameter int unsigned AddressBits = 4, // of a word
  parameter int unsigned PartBits = 1     // of the number of a part
) (
  input  logic                   clk_i,      // clock
  input  logic                   write_i,    // the bits are those of a token
  input  logic [2:0]             token_i,    // place of the token in its byte; bytes grow from the lowest
  input  logic [AddressBits-1:0] address_i,  // which word
  input  logic [PartBits-1:0]    part_i,     // which part of it
  input  logic [Lanes-1:0]       bits_i,     // the token's bits
  output logic [8*Lanes-1:0]     bytes_o     // the bytes so far, with these bits
);

  logic [Parts*8*Lanes-1:0] stored;
  logic [8*Lanes-1:0]       before_bytes;

  for (genvar p = 0; p < Parts; p++) begin : gen_part
    localparam logic [PartBits-1:0] Part = PartBits'(p);
    (* ram_style = "distributed" *) logic [8*Lanes-1:0] words [0:Words-1];

    assign stored[p*8*Lanes +: 8*Lanes] = words[address_i];

    always_ff @(posedge clk_i) begin
      if (write_i && part_i == Part) begin
        words[address_i] <= bytes_o;
      end
    end
  end

  if (Parts == 1) begin : gen_one
    logic unused;

    assign unused = ^part_i;
    assign before_bytes = stored;
  end else begin : gen_select
    assign before_bytes = stored[part_i*8*Lanes +: 8*Lanes];
  end

  for (genvar i = 0; i < 8 * Lanes; i++) begin : gen_bit
    localparam logic [2:0] Place = 3'(i % 8);

    assign bytes_o[i] = token_i == Place ? bits_i[i/8] : before_bytes[i];
  end

endmodule
