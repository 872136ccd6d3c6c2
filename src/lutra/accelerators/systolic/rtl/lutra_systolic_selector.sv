// Takes one element's sum out of a column of the array.
//
// Timing: sum_o is combinational. Pipelined, it is the sum of the row of the cycle before: the high half is taken in its
// cycle, and the low half waits for it.
module lutra_systolic_selector #(
  parameter int unsigned Size = 8,      // rows, a power of two from 2
  parameter int unsigned RowBits = 3,   // log2(Size)
  parameter int unsigned SumBits = 32,  // bits of a sum, more than 16
  parameter bit          Pipelined = 0  // the high half of a sum is one cycle behind its 15 lowest bits
) (
  input  logic                    clk_i,   // clock
  input  logic [RowBits-1:0]      row_i,   // which row's sum
  input  logic [Size*SumBits-1:0] sums_i,  // all sums, row 0 in the lowest bits
  output logic [SumBits-1:0]      sum_o    // that sum
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || RowBits != $clog2(Size) || SumBits <= 16) begin : gen_wrong
    $error("Size must be a power of two from 2, RowBits its logarithm, SumBits over 16");
  end

  if (Pipelined) begin : gen_pipelined
    localparam int unsigned LowBits = 15;
    localparam int unsigned HighBits = SumBits - LowBits;
    logic [Size*LowBits-1:0]  low_sums;
    logic [Size*HighBits-1:0] high_sums;
    logic [RowBits-1:0]       row_q;
    logic [LowBits-1:0]       low_sum, low_sum_q;

    for (genvar i = 0; i < Size; i++) begin : gen_row
      assign {high_sums[HighBits*i +: HighBits], low_sums[LowBits*i +: LowBits]} = sums_i[SumBits*i +: SumBits];
    end

    lutra_mux #(.AddressBits(RowBits), .Width(LowBits)) u_low_mux (
      .address_i(row_i), .words_i(low_sums), .word_o(low_sum)
    );
    lutra_mux #(.AddressBits(RowBits), .Width(HighBits)) u_high_mux (
      .address_i(row_q), .words_i(high_sums), .word_o(sum_o[SumBits-1:LowBits])
    );
    assign sum_o[LowBits-1:0] = low_sum_q;

    always_ff @(posedge clk_i) begin
      row_q     <= row_i;
      low_sum_q <= low_sum;
    end
  end else begin : gen_one_stage
    logic unused_clock;
    assign unused_clock = clk_i;
    lutra_mux #(.AddressBits(RowBits), .Width(SumBits)) u_mux (.address_i(row_i), .words_i(sums_i), .word_o(sum_o));
  end

endmodule
