// One lane of an edge buffer: two banks of operands for one row or one column of the array.
//
// Lanes are skewed by handing the address on from lane to lane, not by delaying data: a lane needs the bits of one
// address, where delaying would need 8 bits for every lane before it.
//
// Timing: the operand of address_i is on operand_o in the next cycle, 0 if read_i was 0, and so is restart_i on
// restart_o. The next lane gets both one cycle later.
module lutra_systolic_edge #(
  parameter int unsigned Depth = 256,      // operands per bank, a power of two
  parameter int unsigned AddressBits = 9   // log2(2 * Depth); the highest bit is the bank
) (
  input  logic                   clk_i,            // clock
  input  logic                   rst_ni,           // synchronous reset, active low
  input  logic                   write_i,          // store operand_i
  input  logic [AddressBits-1:0] write_address_i,  // where
  input  logic [7:0]             operand_i,        // operand to store, two's complement
  input  logic                   read_i,           // feed an operand; otherwise 0
  input  logic                   restart_i,        // the elements begin a tile
  input  logic [AddressBits-1:0] address_i,        // which operand
  output logic                   read_o,           // read_i to the next lane
  output logic                   restart_o,        // restart_i to the next lane and to the array
  output logic [AddressBits-1:0] address_o,        // address_i to the next lane
  output logic [7:0]             operand_o         // operand to the array
);

  if (Depth < 1 || (Depth & (Depth - 1)) != 0 || AddressBits != $clog2(2*Depth)) begin : gen_wrong
    $error("Depth must be a power of two, AddressBits the logarithm of 2 * Depth");
  end

  lutra_memory #(.Words(2*Depth), .Bits(8), .AddressBits(AddressBits)) u_memory (
    .clk_i, .write_i, .write_address_i, .data_i(operand_i),
    .read_i(1'b1), .clear_i(!read_i), .read_address_i(address_i), .data_o(operand_o)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      read_o    <= 1'b0;
      restart_o <= 1'b0;
    end else begin
      read_o    <= read_i;
      restart_o <= restart_i;
    end
    address_o <= address_i;
  end

endmodule
