// Vector unit: turns rows of integer sums into binary16 rows.
//
// A row takes passes over its beats: one per binary copy of the weights, y = y + sum * 2**-exponent * factor, the first
// one beginning with the bias or with nothing, then with residual_i one that adds a row of another stream. The last
// pass leaves, through ReLU if asked for. What is between two passes waits in a memory, so that a pass of more than one
// takes at least three cycles.
//
// Timing: a beat per cycle; passes of max(beats_i, 3) cycles, or of beats_i if there is one. A result is offered five
// cycles after its last beat was taken. The fields and tables stay the same during a step.
module lutra_bat_vector #(
  parameter int unsigned Lanes = 4,        // elements of a beat
  parameter int unsigned SumBits = 14,     // of a sum of the engine
  parameter int unsigned BeatBits = 5,     // of a number of beats, at least 2
  parameter int unsigned AddressBits = 6,  // of a factor's address
  parameter int unsigned LaneBits = 3      // of a number of lanes
) (
  input  logic                     clk_i,             // clock
  input  logic                     rst_ni,            // synchronous reset, active low
  input  logic [BeatBits-1:0]      beats_i,           // beats of a row
  input  logic [LaneBits-1:0]      last_lanes_i,      // elements of a row's last beat, 1 to Lanes
  input  logic [1:0]               copies_i,          // passes with sums: 1 or 2
  input  logic                     use_bias_i,        // begin with the bias
  input  logic                     use_residual_i,    // add a row of residual_data_i in a last pass
  input  logic                     relu_i,            // ReLU behind the last pass
  input  logic                     same_factor_i,     // the factor of all beats is at address 0
  input  logic [4:0]               exponent_i,        // of the sums
  input  logic                     sums_valid_i,      // a beat of sums is offered, copy by copy
  output logic                     sums_ready_o,      // it is taken
  input  logic [Lanes*SumBits-1:0] sums_data_i,       // sums, two's complement
  input  logic                     residual_valid_i,  // a beat of the residual row is offered
  output logic                     residual_ready_o,  // it is taken
  input  logic [Lanes*16-1:0]      residual_data_i,   // binary16 numbers
  output logic [AddressBits-1:0]   factor_address_o,  // beat by beat, copy by copy
  input  logic [Lanes*16-1:0]      factor_i,          // the factors there, in the same cycle
  output logic [BeatBits-1:0]      bias_address_o,    // beat
  input  logic [Lanes*16-1:0]      bias_i,            // the biases there, in the same cycle
  output logic                     valid_o,           // a beat of results is offered
  input  logic                     ready_i,           // it is taken
  output logic [Lanes*16-1:0]      data_o,            // binary16 numbers
  output logic                     error_o            // since the reset a result left the range of binary16
);

  localparam int unsigned Latency = 5;
  localparam int unsigned Adder = 3;  // the stage of the sum
  localparam logic [BeatBits-1:0] Shortest = BeatBits'(3);

  // Stage 0: which pass and which beat of it; beats beyond beats_i are empty.
  logic [1:0]             pass_q, passes;
  logic [BeatBits-1:0]    beat_q, slots;
  logic [AddressBits-1:0] factor_q;
  logic                   advance, first, last, residual, empty, step, take, end_of_pass;

  assign passes           = copies_i + {1'b0, use_residual_i};
  assign slots            = passes != 2'd1 && beats_i < Shortest ? Shortest : beats_i;
  assign first            = pass_q == 2'd0;
  assign last             = pass_q == passes - 2'd1;
  assign residual         = pass_q == copies_i;
  assign empty            = beat_q >= beats_i && beat_q != '0;  // in steps without it beats_i is 0
  assign step             = advance && (empty || (residual ? residual_valid_i : sums_valid_i));
  assign take             = step && !empty;
  assign sums_ready_o     = advance && !empty && !residual;
  assign residual_ready_o = advance && !empty && residual;
  assign end_of_pass      = beat_q == slots - 1'b1;
  assign factor_address_o = same_factor_i ? '0 : factor_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      pass_q   <= '0;
      beat_q   <= '0;
      factor_q <= '0;
    end else if (step) begin
      beat_q <= end_of_pass ? '0 : beat_q + 1'b1;
      if (end_of_pass) begin
        pass_q <= last ? '0 : pass_q + 1'b1;
      end
      if (end_of_pass && last) begin
        factor_q <= '0;
      end else if (take && !residual) begin
        factor_q <= factor_q + 1'b1;
      end
    end
  end

  // Stages 1 to 5: valid, and what each beat is.
  logic [Latency:1]    valid_q, first_q, last_q;
  logic [BeatBits-1:0] number_q [1:Latency];
  logic                work;

  assign advance = !valid_q[Latency] || !last_q[Latency] || ready_i;
  assign work    = advance && (take || valid_q != '0);
  assign valid_o = valid_q[Latency] && last_q[Latency];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= '0;
    end else if (advance) begin
      valid_q <= {valid_q[Latency-1:1], take};
    end
  end

  always_ff @(posedge clk_i) begin
    if (work) begin
      first_q     <= {first_q[Latency-1:1], first};
      last_q      <= {last_q[Latency-1:1], last};
      number_q[1] <= beat_q;
      for (int unsigned s = 2; s <= Latency; s++) begin
        number_q[s] <= number_q[s-1];
      end
    end
  end

  // Rows between two passes.
  (* ram_style = "distributed" *) logic [Lanes*16-1:0] rows [0:2**BeatBits-1];
  logic [Lanes*16-1:0] row, base, sum;
  logic [Lanes-1:0]    overflow, counted;

  assign bias_address_o = number_q[Adder];
  assign row            = rows[number_q[Adder]];
  assign base           = !first_q[Adder] ? row : (use_bias_i ? bias_i : {Lanes{16'h8000}});

  always_ff @(posedge clk_i) begin
    if (advance && valid_q[Latency] && !last_q[Latency]) begin
      rows[number_q[Latency]] <= sum;
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    lutra_bat_vector_lane #(.SumBits(SumBits)) u_lane (
      .clk_i,
      .enable_i(work),
      .sum_i(sums_data_i[l*SumBits +: SumBits]),
      .exponent_i,
      .factor_i(factor_i[l*16 +: 16]),
      .residual_i(residual_data_i[l*16 +: 16]),
      .use_residual_i(residual),
      .base_i(base[l*16 +: 16]),
      .y_o(sum[l*16 +: 16]),
      .overflow_o(overflow[l])
    );
    lutra_bat_relu u_relu (.enable_i(relu_i), .x_i(sum[l*16 +: 16]), .y_o(data_o[l*16 +: 16]));

    assign counted[l] = number_q[Latency] != beats_i - 1'b1 || LaneBits'(l) < last_lanes_i;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      error_o <= 1'b0;
    end else if (valid_q[Latency] && (overflow & counted) != '0) begin
      error_o <= 1'b1;
    end
  end

endmodule
