// First part of the layer norm: passes a row on and finds its mean.
//
// The numbers are added as integers in units of 2**-24, exactly, so that their order is free; the mean is rounded once.
//
// Timing: a beat per cycle; the mean is there 18 + max(1, ceil(log2(Lanes) / 2)) cycles after the row's last beat.
module lutra_bat_norm_sum #(
  parameter int unsigned Lanes = 4,      // elements of a beat
  parameter int unsigned CountBits = 11  // log2 of the most elements of a row
) (
  input  logic                clk_i,    // clock
  input  logic                rst_ni,   // synchronous reset, active low
  input  logic                take_i,   // data_i is a beat
  input  logic                first_i,  // the row's first one
  input  logic                last_i,   // the row's last one
  input  logic [Lanes*16-1:0] data_i,   // binary16 numbers, 0 where they do not belong to the row
  input  logic [11:0]         width_i,  // elements of a row
  output logic                valid_o,  // the row is complete
  output logic [15:0]         mean_o    // its mean, binary16
);

  localparam int unsigned TreeLevels = Lanes > 1 ? $clog2(Lanes) : 1;
  localparam int unsigned Tree = (TreeLevels + 1) / 2;
  localparam int unsigned TermBits = 41;
  localparam int unsigned BeatSumBits = TermBits + $clog2(Lanes);
  localparam int unsigned RowSumBits = TermBits + CountBits;
  localparam int unsigned Total = 1 + Tree;  // stage in which the sum of a beat is there
  localparam int unsigned Division = 16;

  logic [Total:1]            take_q, first_q, last_q;
  logic                      busy;
  logic [Lanes*TermBits-1:0] terms;
  logic [BeatSumBits-1:0]    beat_sum;
  logic [RowSumBits-1:0]     sum_q;
  logic [Division:0]         complete_q;

  assign busy = take_i || take_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      take_q     <= '0;
      complete_q <= '0;
    end else begin
      take_q     <= {take_q[Total-1:1], take_i};
      complete_q <= {complete_q[Division-1:0], take_q[Total] && last_q[Total]};
    end
    if (busy) begin
      first_q <= {first_q[Total-1:1], first_i};
      last_q  <= {last_q[Total-1:1], last_i};
    end
    if (take_q[Total]) begin
      sum_q <= (first_q[Total] ? '0 : sum_q) + {{RowSumBits-BeatSumBits{beat_sum[BeatSumBits-1]}}, beat_sum};
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    lutra_binary16_to_fixed u_fixed (
      .clk_i, .enable_i(busy), .a_i(data_i[l*16 +: 16]), .y_o(terms[l*TermBits +: TermBits])
    );
  end

  lutra_adder_tree #(.Terms(Lanes), .Bits(TermBits)) u_tree (.clk_i, .enable_i(busy), .terms_i(terms), .sum_o(beat_sum));

  lutra_binary16_divide #(.Bits(RowSumBits)) u_mean (
    .clk_i, .enable_i(complete_q != '0), .dividend_i(sum_q), .divisor_i(width_i), .y_o(mean_o)
  );

  assign valid_o = complete_q[Division];

endmodule
