// Memory for the factors, biases or gains of two steps: while one step reads its bank, the other one is loaded.
//
// Timing: 128 bits of a word are written at the clock edge with write_i; data_o follows read_address_i in the same cycle,
// as the memory in lookup tables of an FPGA does it.
module lutra_bat_parameters #(
  parameter int unsigned Bits = 64,        // of a word
  parameter int unsigned AddressBits = 4,  // 2**AddressBits words in a bank
  parameter int unsigned PartBits = 4      // of the number of a part
) (
  input  logic                   clk_i,            // clock
  input  logic                   write_i,          // store data_i
  input  logic                   write_bank_i,     // in which bank
  input  logic [AddressBits-1:0] write_address_i,  // in which word
  input  logic [PartBits-1:0]    part_i,           // as which 128 bits of it
  input  logic [127:0]           data_i,           // what to store
  input  logic                   read_bank_i,      // bank to show
  input  logic [AddressBits-1:0] read_address_i,   // word to show
  output logic [Bits-1:0]        data_o            // the word
);

  localparam int unsigned Parts = (Bits + 127) / 128;

  logic unused;

  assign unused = ^data_i;

  for (genvar p = 0; p < Parts; p++) begin : gen_part
    localparam int unsigned Width = Bits - 128 * p < 128 ? Bits - 128 * p : 128;
    localparam logic [PartBits-1:0] Part = PartBits'(p);

    (* ram_style = "distributed" *) logic [Width-1:0] words [0:2**(AddressBits+1)-1];

    always_ff @(posedge clk_i) begin
      if (write_i && part_i == Part) begin
        words[{write_bank_i, write_address_i}] <= data_i[Width-1:0];
      end
    end

    assign data_o[128*p +: Width] = words[{read_bank_i, read_address_i}];
  end

endmodule
