// Second part of the softmax: exp(s - max) of a row, and the reciprocal of their sum.
//
// The exponentials are multiples of 2**-24 and at most 1, so that their sum is an exact integer; it is rounded to
// binary16, and then its reciprocal.
//
// Timing: a beat per cycle; its exponentials are there three cycles later, the row's reciprocal 7 +
// max(1, ceil(log2(Lanes) / 2)) cycles after its last beat.
module lutra_bat_softmax_exp #(
  parameter int unsigned Lanes = 4,                         // elements of a beat
  parameter int unsigned CountBits = 9,                     // log2 of the most elements of a row
  parameter              ExpFile = "bat_exp.hex",           // see lutra_bat_exp_table
  parameter              ReciprocalFile = "bat_reciprocal.hex"  // 1024 words of 10 bits: by significand
) (
  input  logic                clk_i,         // clock
  input  logic                rst_ni,        // synchronous reset, active low
  input  logic                take_i,        // data_i is a beat
  input  logic                first_i,       // the row's first one
  input  logic                last_i,        // the row's last one
  input  logic [Lanes-1:0]    counted_i,     // elements that belong to the row
  input  logic [Lanes*16-1:0] data_i,        // binary16 numbers
  input  logic [15:0]         max_i,         // their largest one
  output logic                valid_o,       // a beat of exponentials
  output logic [Lanes*14-1:0] data_o,        // binary16 without the two highest bits
  output logic                scalar_valid_o,  // the row is complete
  output logic [15:0]         reciprocal_o   // of the sum of its exponentials, binary16
);

  localparam int unsigned TreeLevels = Lanes > 1 ? $clog2(Lanes) : 1;
  localparam int unsigned Tree = (TreeLevels + 1) / 2;
  localparam int unsigned TermBits = 26;                      // of an exponential in units of 2**-24, signed
  localparam int unsigned BeatSumBits = TermBits + $clog2(Lanes);
  localparam int unsigned RowSumBits = TermBits + CountBits;
  localparam int unsigned Fixed = 3;                          // stage in which the exponentials are there
  localparam int unsigned Total = Fixed + 1 + Tree;           // stage in which the sum of a beat is there

  logic [Total:1] take_q, first_q, last_q;
  logic           busy;

  assign busy = take_i || take_q != '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      take_q <= '0;
    end else begin
      take_q <= {take_q[Total-1:1], take_i};
    end
    if (busy) begin
      first_q <= {first_q[Total-1:1], first_i};
      last_q  <= {last_q[Total-1:1], last_i};
    end
  end

  // Exponentials; what does not belong to the row is left out of the sum.
  logic [Lanes*15-1:0]       differences;  // magnitudes: none is above 0
  logic [Lanes-1:0]          counted_q [1:Fixed];
  logic [Lanes*TermBits-1:0] terms_q;

  always_ff @(posedge clk_i) begin
    if (busy) begin
      counted_q[1] <= counted_i;
      for (int unsigned s = 2; s <= Fixed; s++) begin
        counted_q[s] <= counted_q[s-1];
      end
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic unused_sign;

    lutra_binary16_add u_subtract (
      .clk_i,
      .enable_i(busy),
      .a_i(data_i[l*16 +: 16]),
      .b_i(max_i ^ 16'h8000),
      .y_o({unused_sign, differences[l*15 +: 15]})
    );

    always_ff @(posedge clk_i) begin
      if (busy) begin
        terms_q[l*TermBits +: TermBits] <= counted_q[Fixed][l] ? fixed(data_o[l*14 +: 14]) : '0;
      end
    end
  end

  function automatic logic [TermBits-1:0] fixed(input logic [13:0] number);
    fixed = {15'd0, |number[13:10], number[9:0]} << (|number[13:10] ? number[13:10] - 4'd1 : 4'd0);
  endfunction

  for (genvar t = 0; t < (Lanes + 1) / 2; t++) begin : gen_table
    localparam int unsigned Pair = 2 * t + 1 < Lanes ? 2 : 1;

    lutra_bat_exp_table #(.Lanes(Pair), .File(ExpFile)) u_table (
      .clk_i, .enable_i(busy), .x_i(differences[2*t*15 +: Pair*15]), .y_o(data_o[2*t*14 +: Pair*14])
    );
  end

  assign valid_o = take_q[Fixed];

  // Their sum.
  logic [BeatSumBits-1:0] beat_sum;
  logic [RowSumBits-1:0]  sum_q;
  logic                   complete_q, rounded_q, found_q;

  lutra_adder_tree #(.Terms(Lanes), .Bits(TermBits)) u_tree (.clk_i, .enable_i(busy), .terms_i(terms_q), .sum_o(beat_sum));

  always_ff @(posedge clk_i) begin
    if (take_q[Total]) begin
      sum_q <= (first_q[Total] ? '0 : sum_q) + {{RowSumBits-BeatSumBits{1'b0}}, beat_sum};
    end
    if (!rst_ni) begin
      complete_q <= 1'b0;
      rounded_q  <= 1'b0;
      found_q    <= 1'b0;
    end else begin
      complete_q <= take_q[Total] && last_q[Total];
      rounded_q  <= complete_q;
      found_q    <= rounded_q;
    end
  end

  // Its reciprocal: sum = 1.m * 2**e with e >= 0, the reciprocal 2**-e for m = 0 and in (2**-e / 2, 2**-e) otherwise.
  logic [14:0] sum;
  logic        unused_sign;
  logic [9:0]  word_q;
  logic [4:0]  exponent_q;

  (* rom_style = "block" *) logic [9:0] words [0:1023];

  initial begin
    $readmemh(ReciprocalFile, words);
  end

  lutra_binary16_from_integer #(.Bits(RowSumBits)) u_round (
    .clk_i, .enable_i(complete_q), .a_i(sum_q), .exponent_i(5'd24), .y_o({unused_sign, sum})
  );

  always_ff @(posedge clk_i) begin
    if (rounded_q) begin
      word_q     <= words[sum[9:0]];
      exponent_q <= (sum[9:0] == '0 ? 5'd30 : 5'd29) - sum[14:10];
    end
  end

  assign scalar_valid_o = found_q;
  assign reciprocal_o   = {1'b0, exponent_q, word_q};

endmodule
