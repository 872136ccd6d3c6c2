// Results of one column of the array: two banks of finished sums, written row by row while a tile ends.
//
// Timing: row and bank select the sum in the array and its place here in the same cycle, and go to the next column one
// cycle later. The sum at read_row_i is on sum_o from the cycle after read_i on.
module lutra_systolic_result #(
  parameter int unsigned Size = 8,      // rows per bank, a power of two
  parameter int unsigned RowBits = 3,   // log2(Size)
  parameter int unsigned SumBits = 32   // bits of a sum
) (
  input  logic               clk_i,       // clock
  input  logic               rst_ni,      // synchronous reset, active low
  input  logic               write_i,     // store sum_i
  input  logic [RowBits:0]   place_i,     // where: the row, and above it the bank
  input  logic [SumBits-1:0] sum_i,       // finished sum of that row
  output logic               write_o,     // write_i to the next column
  output logic [RowBits:0]   place_o,     // place_i to the next column
  input  logic               read_i,      // change sum_o
  input  logic [RowBits:0]   read_place_i,  // sum to show: the row, and above it the bank
  output logic [SumBits-1:0] sum_o        // the sum
);

  lutra_systolic_memory #(.Words(2*Size), .Bits(SumBits), .AddressBits(RowBits+1)) u_memory (
    .clk_i, .write_i, .write_address_i(place_i), .data_i(sum_i),
    .read_i, .clear_i(1'b0), .read_address_i(read_place_i), .data_o(sum_o)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_o <= 1'b0;
    end else begin
      write_o <= write_i;
    end
    place_o <= place_i;
  end

endmodule
