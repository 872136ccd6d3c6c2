// Layer norm over rows of binary16 numbers: (x - mean) / sqrt(variance) * gain + bias, in three parts with a row in each.
//
// Between the parts stand beat memories, from which a row leaves as soon as the number that the next part needs of the
// whole row (its mean, its factor) is there.
//
// Timing: each part takes a beat per cycle. A row without waiting: its first result is offered
// 2 * beats_i + Latency cycles after its first beat was taken, Latency = 46 + 2 * max(1, ceil(log2(Lanes) / 2)).
module lutra_bat_norm #(
  parameter int unsigned Lanes = 4,        // elements of a beat
  parameter int unsigned BeatBits = 6,     // of a number of beats
  parameter int unsigned LaneBits = 3,     // of a number of lanes
  parameter int unsigned CountBits = 11,   // log2 of the most elements of a row, up to 11
  parameter int unsigned AddressBits = 6,  // of a beat memory: a row's beats and 32 more fit in 2**AddressBits
  parameter              RootFile = "bat_root.hex"  // see lutra_bat_norm_squares
) (
  input  logic                clk_i,           // clock
  input  logic                rst_ni,          // synchronous reset, active low
  input  logic [BeatBits-1:0] beats_i,         // beats of a row
  input  logic [LaneBits-1:0] last_lanes_i,    // elements of a row's last beat, 1 to Lanes
  input  logic [11:0]         width_i,         // elements of a row, 1 to 2048
  input  logic [31:0]         epsilon_i,       // what is added to the sum of squares, in units of 2**-20
  input  logic                valid_i,         // a beat is offered
  output logic                ready_o,         // it is taken
  input  logic [Lanes*16-1:0] data_i,          // binary16 numbers
  output logic [BeatBits-1:0] gain_address_o,  // beat
  input  logic [Lanes*16-1:0] gain_i,          // the gains there, in the same cycle
  output logic [BeatBits-1:0] bias_address_o,  // beat
  input  logic [Lanes*16-1:0] bias_i,          // the biases there, in the same cycle
  output logic                valid_o,         // a beat of results is offered
  input  logic                ready_i,         // it is taken
  output logic [Lanes*16-1:0] data_o,          // binary16 numbers
  output logic                error_o          // since the reset a number left the range of binary16
);

  localparam int unsigned RowsBits = 4;  // of the places for numbers of whole rows
  localparam int unsigned Latency = 6;   // of the third part
  localparam int unsigned Gain = 2;      // its stage of the gain
  localparam int unsigned Bias = 4;      // its stage of the bias

  logic [Lanes-1:0] all_lanes, last_lanes;

  assign all_lanes = '1;

  for (genvar l = 0; l < Lanes; l++) begin : gen_counted
    assign last_lanes[l] = LaneBits'(l) < last_lanes_i;
  end

  // First part. What does not belong to the row becomes 0.
  logic [BeatBits-1:0] sum_beat_q;
  logic                sum_take, sum_first, sum_last, sum_room, sum_row_room, sum_found;
  logic [Lanes*16-1:0] sum_data;
  logic [15:0]         sum_mean;

  assign sum_first = sum_beat_q == '0;
  assign sum_last  = sum_beat_q == beats_i - 1'b1;
  assign ready_o   = sum_room && (sum_row_room || !sum_first);
  assign sum_take  = ready_o && valid_i;

  for (genvar l = 0; l < Lanes; l++) begin : gen_clear
    assign sum_data[l*16 +: 16] = sum_last && !last_lanes[l] ? '0 : data_i[l*16 +: 16];
  end

  lutra_bat_norm_sum #(.Lanes(Lanes), .CountBits(CountBits)) u_sum (
    .clk_i,
    .rst_ni,
    .take_i(sum_take),
    .first_i(sum_first),
    .last_i(sum_last),
    .data_i(sum_data),
    .width_i,
    .valid_o(sum_found),
    .mean_o(sum_mean)
  );

  // Second part.
  logic [BeatBits-1:0] square_beat_q;
  logic                square_row_valid, square_beat_valid, square_take, square_first, square_last;
  logic                square_room, square_row_room, square_valid, square_found, square_overflow;
  logic [Lanes*16-1:0] square_beat, square_data;
  logic [15:0]         square_mean, square_factor;

  assign square_first = square_beat_q == '0;
  assign square_last  = square_beat_q == beats_i - 1'b1;
  assign square_take  = square_row_valid && square_beat_valid && square_room && (square_row_room || !square_first);

  lutra_fifo #(.Bits(Lanes * 16), .AddressBits(AddressBits)) u_numbers (
    .clk_i, .rst_ni, .room_o(sum_room), .reserve_i(sum_take), .write_i(sum_take), .data_i(sum_data),
    .valid_o(square_beat_valid), .read_i(square_take), .data_o(square_beat)
  );
  lutra_fifo #(.Bits(16), .AddressBits(RowsBits)) u_means (
    .clk_i, .rst_ni, .room_o(sum_row_room), .reserve_i(sum_take && sum_first), .write_i(sum_found), .data_i(sum_mean),
    .valid_o(square_row_valid), .read_i(square_take && square_last), .data_o(square_mean)
  );
  lutra_bat_norm_squares #(.Lanes(Lanes), .RootFile(RootFile)) u_squares (
    .clk_i,
    .rst_ni,
    .take_i(square_take),
    .first_i(square_first),
    .last_i(square_last),
    .counted_i(square_last ? last_lanes : all_lanes),
    .data_i(square_beat),
    .mean_i(square_mean),
    .width_i,
    .epsilon_i,
    .valid_o(square_valid),
    .data_o(square_data),
    .scalar_valid_o(square_found),
    .factor_o(square_factor),
    .overflow_o(square_overflow)
  );

  // Third part: a pipeline that stops while its result is not taken.
  logic [BeatBits-1:0] scale_beat_q;
  logic                scale_row_valid, scale_beat_valid, scale_take, scale_last, advance, work;
  logic [Lanes*16-1:0] scale_beat;
  logic [15:0]         scale_factor;
  logic [Latency:1]    valid_q, last_q;
  logic [BeatBits-1:0] number_q [1:Bias];
  logic [Lanes-1:0]    overflow, counted;

  assign advance        = !valid_q[Latency] || ready_i;
  assign scale_last     = scale_beat_q == beats_i - 1'b1;
  assign scale_take     = advance && scale_row_valid && scale_beat_valid;
  assign work           = advance && (scale_take || valid_q != '0);
  assign valid_o        = valid_q[Latency];
  assign gain_address_o = number_q[Gain];
  assign bias_address_o = number_q[Bias];
  assign counted        = last_q[Latency] ? last_lanes : all_lanes;

  lutra_fifo #(.Bits(Lanes * 16), .AddressBits(AddressBits)) u_differences (
    .clk_i, .rst_ni, .room_o(square_room), .reserve_i(square_take), .write_i(square_valid), .data_i(square_data),
    .valid_o(scale_beat_valid), .read_i(scale_take), .data_o(scale_beat)
  );
  lutra_fifo #(.Bits(16), .AddressBits(RowsBits)) u_factors (
    .clk_i, .rst_ni, .room_o(square_row_room), .reserve_i(square_take && square_first), .write_i(square_found),
    .data_i(square_factor), .valid_o(scale_row_valid), .read_i(scale_take && scale_last), .data_o(scale_factor)
  );

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [15:0] normal, scaled;
    logic [1:0]  overflow_q;

    lutra_binary16_multiply u_normalise (
      .clk_i, .enable_i(work), .a_i(scale_beat[l*16 +: 16]), .b_i(scale_factor), .y_o(normal)
    );
    lutra_binary16_multiply u_gain (
      .clk_i, .enable_i(work), .a_i(normal), .b_i(gain_i[l*16 +: 16]), .y_o(scaled)
    );
    lutra_binary16_add u_bias (
      .clk_i, .enable_i(work), .a_i(scaled), .b_i(bias_i[l*16 +: 16]), .y_o(data_o[l*16 +: 16])
    );

    always_ff @(posedge clk_i) begin
      if (work) begin
        overflow_q <= {overflow_q[0], &scaled[14:10]};
      end
    end

    assign overflow[l] = overflow_q[1] || &data_o[l*16+10 +: 5];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      sum_beat_q    <= '0;
      square_beat_q <= '0;
      scale_beat_q  <= '0;
      valid_q       <= '0;
      error_o       <= 1'b0;
    end else begin
      if (sum_take) begin
        sum_beat_q <= sum_last ? '0 : sum_beat_q + 1'b1;
      end
      if (square_take) begin
        square_beat_q <= square_last ? '0 : square_beat_q + 1'b1;
      end
      if (scale_take) begin
        scale_beat_q <= scale_last ? '0 : scale_beat_q + 1'b1;
      end
      if (advance) begin
        valid_q <= {valid_q[Latency-1:1], scale_take};
      end
      if (square_overflow || (valid_o && (overflow & counted) != '0)) begin
        error_o <= 1'b1;
      end
    end
    if (work) begin
      last_q      <= {last_q[Latency-1:1], scale_last};
      number_q[1] <= scale_beat_q;
      for (int unsigned s = 2; s <= Bias; s++) begin
        number_q[s] <= number_q[s-1];
      end
    end
  end

endmodule
