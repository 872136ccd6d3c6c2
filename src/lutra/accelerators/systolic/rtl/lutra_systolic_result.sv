// Results of one column of the array: two banks of finished sums, written row by row while a tile ends.
//
// Timing: row and bank select the sum in the array and, in the same cycle or, pipelined, one cycle later, its place here;
// they go to the next column one cycle later. The sum at read_place_i is on sum_o from the cycle after read_i on.
module lutra_systolic_result #(
  parameter int unsigned Size = 8,      // rows per bank, a power of two
  parameter int unsigned RowBits = 3,   // log2(Size)
  parameter int unsigned SumBits = 32,  // bits of a sum
  parameter bit          Pipelined = 0  // sums come one cycle after they are selected
) (
  input  logic               clk_i,       // clock
  input  logic               rst_ni,      // synchronous reset, active low
  input  logic               write_i,     // store the sum that is selected
  input  logic [RowBits:0]   place_i,     // where: the row, and above it the bank
  input  logic [SumBits-1:0] sum_i,       // finished sum of that row; pipelined, one cycle later
  output logic               write_o,     // write_i to the next column
  output logic [RowBits:0]   place_o,     // place_i to the next column
  output logic               first_o,     // row 0 is being stored
  input  logic               read_i,      // change sum_o
  input  logic [RowBits:0]   read_place_i,  // sum to show: the row, and above it the bank
  output logic [SumBits-1:0] sum_o        // the sum
);

  if (Size < 1 || (Size & (Size - 1)) != 0 || RowBits < 1 || RowBits != $clog2(Size)) begin : gen_wrong
    $error("Size must be a power of two from 2, RowBits its logarithm");
  end

  logic             write;
  logic [RowBits:0] place;

  assign write   = Pipelined ? write_o : write_i;
  assign place   = Pipelined ? place_o : place_i;
  assign first_o = write && place[RowBits-1:0] == '0;

  lutra_memory #(.Words(2*Size), .Bits(SumBits), .AddressBits(RowBits+1)) u_memory (
    .clk_i, .write_i(write), .write_address_i(place), .data_i(sum_i),
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
