// Second part of the layer norm: x - mean of a row, and the reciprocal root of its variance.
//
// Squares are added on a grid of 2**-20, exactly; the variance is rounded to binary16, at least 2**-24, and then its
// reciprocal root. A sum that no binary16 variance belongs to sets overflow_o.
//
// Timing: a beat per cycle; its differences are there two cycles later, the row's factor 22 +
// max(1, ceil(log2(Lanes) / 2)) cycles after its last beat.
module lutra_bat_norm_squares #(
  parameter int unsigned Lanes = 4,          // elements of a beat
  parameter              RootFile = "bat_root.hex"  // 2048 words of 10 bits: by lowest bit of the exponent, significand
) (
  input  logic                clk_i,           // clock
  input  logic                rst_ni,          // synchronous reset, active low
  input  logic                take_i,          // data_i is a beat
  input  logic                first_i,         // the row's first one
  input  logic                last_i,          // the row's last one
  input  logic [Lanes-1:0]    counted_i,       // elements that belong to the row
  input  logic [Lanes*16-1:0] data_i,          // binary16 numbers
  input  logic [15:0]         mean_i,          // their mean
  input  logic [11:0]         width_i,         // elements of a row
  input  logic [31:0]         epsilon_i,       // what is added to the sum of squares, in units of 2**-20
  output logic                valid_o,         // a beat of differences
  output logic [Lanes*16-1:0] data_o,          // binary16 numbers
  output logic                scalar_valid_o,  // the row is complete
  output logic [15:0]         factor_o,        // 1 / sqrt(variance), binary16
  output logic                overflow_o       // a difference or the variance left the range, for one cycle
);

  localparam int unsigned TreeLevels = Lanes > 1 ? $clog2(Lanes) : 1;
  localparam int unsigned Tree = (TreeLevels + 1) / 2;
  localparam int unsigned TermBits = 49;                // of a square, signed
  localparam int unsigned BeatSumBits = TermBits + $clog2(Lanes);
  localparam int unsigned Difference = 2;               // stage in which the differences are there
  localparam int unsigned Square = Difference + 2;      // stage in which their squares are there
  localparam int unsigned Total = Square + Tree;        // stage in which the sum of a beat is there
  localparam int unsigned Division = 16;

  logic [Total:1]            take_q, first_q, last_q;
  logic [Lanes-1:0]          counted_q [1:Square];
  logic                      busy;
  logic [Lanes*48-1:0]       squares;
  logic [Lanes*TermBits-1:0] terms;
  logic [BeatSumBits-1:0]    beat_sum;
  logic [Lanes-1:0]          beyond;

  assign busy = take_i || take_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      take_q <= '0;
    end else begin
      take_q <= {take_q[Total-1:1], take_i};
    end
    if (busy) begin
      first_q      <= {first_q[Total-1:1], first_i};
      last_q       <= {last_q[Total-1:1], last_i};
      counted_q[1] <= counted_i;
      for (int unsigned s = 2; s <= Square; s++) begin
        counted_q[s] <= counted_q[s-1];
      end
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    lutra_binary16_add u_subtract (
      .clk_i, .enable_i(busy), .a_i(data_i[l*16 +: 16]), .b_i(mean_i ^ 16'h8000), .y_o(data_o[l*16 +: 16])
    );
    lutra_bat_square_lane u_square (
      .clk_i, .enable_i(busy), .x_i(data_o[l*16 +: 15]), .y_o(squares[l*48 +: 48])
    );

    assign beyond[l]                     = counted_q[Difference][l] && &data_o[l*16+10 +: 5];
    assign terms[l*TermBits +: TermBits] = counted_q[Square][l] ? {1'b0, squares[l*48 +: 48]} : '0;
  end

  lutra_adder_tree #(.Terms(Lanes), .Bits(TermBits)) u_tree (.clk_i, .enable_i(busy), .terms_i(terms), .sum_o(beat_sum));

  assign valid_o = take_q[Difference];

  // Their sum, 2**47 for all that is more: divided by up to 2048 * 2**20 that is beyond binary16.
  logic [48:0]       sum;
  logic [47:0]       sum_q;
  logic              huge;
  logic [Division:0] complete_q;
  logic              found_q;

  assign huge = beat_sum >= BeatSumBits'(49'd1 << 47);
  assign sum   = (first_q[Total] ? {17'd0, epsilon_i} : {1'b0, sum_q}) + {1'b0, huge ? 48'd1 << 47 : beat_sum[47:0]};

  always_ff @(posedge clk_i) begin
    if (take_q[Total]) begin
      sum_q <= sum[48:47] != '0 ? 48'd1 << 47 : sum[47:0];
    end
    if (!rst_ni) begin
      complete_q <= '0;
      found_q    <= 1'b0;
    end else begin
      complete_q <= {complete_q[Division-1:0], take_q[Total] && last_q[Total]};
      found_q    <= complete_q[Division];
    end
  end

  // The variance in units of 2**-24 is 16 times the mean of the squares.
  logic [14:0] variance;
  logic        unused_sign;

  lutra_binary16_divide #(.Bits(53)) u_variance (
    .clk_i, .enable_i(complete_q != '0), .dividend_i({1'b0, sum_q, 4'd0}), .divisor_i(width_i), .y_o({unused_sign, variance})
  );

  // Its reciprocal root: variance = 1.m * 2**e; for odd e the table's number belongs to 2 * 1.m. The result is a power of
  // two for m = 0 and even e, otherwise it lies below it by less than half.
  logic [9:0]  significand;
  logic [5:0]  exponent;  // e + 24, from 0 to 39
  logic [3:0]  zeros;
  logic        empty;
  logic [9:0]  word_q;
  logic [4:0]  root_q;

  (* rom_style = "block" *) logic [9:0] words [0:2047];

  initial begin
    $readmemh(RootFile, words);
  end

  // Zeros above the leading one of a subnormal variance.
  lutra_leading_zeros #(.Levels(4)) u_zeros (.word_i({variance[9:0], 6'd0}), .empty_o(empty), .zeros_o(zeros));

  always_comb begin
    if (variance[14:10] != '0) begin
      exponent    = {1'b0, variance[14:10]} + 6'd9;
      significand = variance[9:0];
    end else if (empty) begin  // 0 counts as 2**-24
      exponent    = '0;
      significand = '0;
    end else begin
      exponent    = 6'd9 - {2'd0, zeros};
      significand = variance[9:0] << (zeros + 4'd1);
    end
  end

  always_ff @(posedge clk_i) begin
    if (complete_q[Division]) begin
      word_q <= words[{exponent[0], significand}];
      // Exponent field of 2**-floor(e / 2), or one less.
      root_q <= 5'd27 - exponent[5:1] - {4'd0, exponent[0] || significand != '0};
    end
  end

  assign scalar_valid_o = found_q;
  assign factor_o       = {1'b0, root_q, word_q};
  assign overflow_o     = (take_q[Difference] && beyond != '0) || (complete_q[Division] && &variance[14:10]);

endmodule
