// A column of processing elements: b moves down, a and the restart cross from left to right.
//
// The restart reaches one element of a column after the other, so that at most one of them ends a tile at a time and
// one selector takes the sums out while the next tile is computed.
//
// Timing: sum_o is combinational; it shows the finished sum of a row in the cycle in which the row's restart_i is 1.
// Pipelined, row_i is wanted in that cycle, and sum_o comes one cycle later.
module lutra_systolic_column #(
  parameter int unsigned Size = 8,      // rows, a power of two from 2
  parameter int unsigned RowBits = 3,   // log2(Size)
  parameter int unsigned SumBits = 32,  // bits of a sum, more than 16
  parameter bit          Pipelined = 0  // the elements are pipelined
) (
  input  logic               clk_i,      // clock
  input  logic [Size-1:0]    restart_i,  // per row: a tile begins
  input  logic [Size*8-1:0]  a_i,        // per row: operand from the left, row 0 in the lowest bits
  input  logic [7:0]         b_i,        // operand for row 0
  output logic [Size-1:0]    restart_o,  // to the next column
  output logic [Size*8-1:0]  a_o,        // to the next column
  input  logic [RowBits-1:0] row_i,      // which row's sum to show
  output logic [SumBits-1:0] sum_o       // that sum
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || RowBits != $clog2(Size) || SumBits <= 16) begin : gen_wrong
    $error("Size must be a power of two from 2, RowBits its logarithm, SumBits over 16");
  end

  logic [Size*SumBits-1:0] sums;

  for (genvar i = 0; i < Size; i++) begin : gen_row
    logic [7:0] above, below;
    if (i == 0) begin : gen_first
      assign above = b_i;
    end else begin : gen_next
      assign above = gen_row[i-1].below;
    end
    lutra_systolic_pe #(.SumBits(SumBits), .Pipelined(Pipelined)) u_pe (
      .clk_i, .restart_i(restart_i[i]), .a_i(a_i[8*i +: 8]), .b_i(above),
      .restart_o(restart_o[i]), .a_o(a_o[8*i +: 8]), .b_o(below), .sum_o(sums[SumBits*i +: SumBits])
    );
  end

  logic unused_below;
  assign unused_below = ^gen_row[Size-1].below;

  lutra_systolic_selector #(.Size(Size), .RowBits(RowBits), .SumBits(SumBits), .Pipelined(Pipelined)) u_selector (
    .clk_i, .row_i, .sums_i(sums), .sum_o
  );

endmodule
