// Looks up int8 values in one of several tables of 256 int8 entries; every lane has a copy of all.
//
// Timing: one enabled cycle; a beat in every one. An entry that is written is there from the next cycle on.
module lutra_transformer_table #(
  parameter int unsigned Lanes = 4,                                   // elements of a beat, at least 1
  parameter int unsigned Tables = 1,                                  // at least 1
  parameter int unsigned TableBits = Tables > 1 ? $clog2(Tables) : 1  // of a table's number
) (
  input  logic                 clk_i,            // clock
  input  logic                 write_i,          // store an entry; no beat looks anything up
  input  logic [TableBits+7:0] write_address_i,  // which: the table, and below it the value plus 128
  input  logic [7:0]           write_data_i,     // two's complement
  input  logic                 enable_i,         // go on
  input  logic [TableBits-1:0] table_i,          // which table
  input  logic [Lanes*8-1:0]   x_i,              // two's complement
  output logic [Lanes*8-1:0]   y_o               // the entries of these values
);

  if (Lanes < 1 || Tables < 1 || 2**TableBits < Tables) begin : gen_wrong
    $error("Lanes and Tables must be at least 1, and TableBits must reach all Tables");
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [TableBits+7:0] address;

    assign address = {table_i, !x_i[8*l+7], x_i[8*l +: 7]};

    if (Tables == 1) begin : gen_one
      lutra_lut_memory #(.Words(256), .Bits(8), .AddressBits(8), .OneAddress(1'b1)) u_memory (
        .clk_i, .write_i, .write_address_i(write_address_i[7:0]), .data_i(write_data_i),
        .read_i(enable_i), .read_address_i(address[7:0]), .data_o(y_o[8*l +: 8])
      );
      logic unused_table;
      assign unused_table = ^{address[TableBits+7:8], write_address_i[TableBits+7:8]};
    end else begin : gen_several
      lutra_memory #(.Words(256*Tables), .Bits(8), .AddressBits(TableBits+8)) u_memory (
        .clk_i, .write_i, .write_address_i, .data_i(write_data_i),
        .read_i(enable_i), .clear_i(1'b0), .read_address_i(address), .data_o(y_o[8*l +: 8])
      );
    end
  end

endmodule
