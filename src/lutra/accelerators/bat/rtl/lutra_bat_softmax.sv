// Softmax over rows of binary16 numbers: exp(s - max) / sum, in three parts with a row in each.
//
// Between the parts stand beat memories, from which a row leaves as soon as the number that the next part needs of the
// whole row (its largest element, its sum's reciprocal) is there.
//
// Timing: each part takes a beat per cycle. A row without waiting: its first result is offered
// 2 * beats_i + Latency cycles after its first beat was taken, Latency = 11 + max(1, ceil(log2(Lanes) / 2)).
module lutra_bat_softmax #(
  parameter int unsigned Lanes = 4,         // elements of a beat
  parameter int unsigned BeatBits = 6,      // of a number of beats
  parameter int unsigned LaneBits = 3,      // of a number of lanes
  parameter int unsigned CountBits = 9,     // log2 of the most elements of a row
  parameter int unsigned AddressBits = 6,   // of a beat memory: a row's beats and 24 more fit in 2**AddressBits
  parameter              ExpFile = "bat_exp.hex",               // see lutra_bat_exp_table
  parameter              ReciprocalFile = "bat_reciprocal.hex"  // see lutra_bat_softmax_exp
) (
  input  logic                clk_i,         // clock
  input  logic                rst_ni,        // synchronous reset, active low
  input  logic [BeatBits-1:0] beats_i,       // beats of a row
  input  logic [LaneBits-1:0] last_lanes_i,  // elements of a row's last beat, 1 to Lanes
  input  logic                valid_i,       // a beat is offered
  output logic                ready_o,       // it is taken
  input  logic [Lanes*16-1:0] data_i,        // binary16 numbers
  output logic                valid_o,       // a beat of probabilities is offered
  input  logic                ready_i,       // it is taken
  output logic [Lanes*16-1:0] data_o         // binary16 numbers
);

  localparam int unsigned RowsBits = 4;  // of the places for numbers of whole rows

  logic [Lanes-1:0] all_lanes, last_lanes;

  assign all_lanes = '1;

  for (genvar l = 0; l < Lanes; l++) begin : gen_counted
    assign last_lanes[l] = LaneBits'(l) < last_lanes_i;
  end

  // First part.
  logic [BeatBits-1:0] max_beat_q;
  logic                max_take, max_first, max_last, max_room, max_row_room, max_found;
  logic [15:0]         max_value;

  assign max_first = max_beat_q == '0;
  assign max_last  = max_beat_q == beats_i - 1'b1;
  assign ready_o   = max_room && (max_row_room || !max_first);
  assign max_take  = ready_o && valid_i;

  lutra_bat_softmax_max #(.Lanes(Lanes)) u_max (
    .clk_i,
    .rst_ni,
    .take_i(max_take),
    .first_i(max_first),
    .last_i(max_last),
    .counted_i(max_last ? last_lanes : all_lanes),
    .data_i,
    .valid_o(max_found),
    .max_o(max_value)
  );

  // Second part.
  logic [BeatBits-1:0] exp_beat_q;
  logic                exp_row_valid, exp_take, exp_first, exp_last, exp_room, exp_row_room, exp_valid, exp_found;
  logic                exp_beat_valid;
  logic [Lanes*16-1:0] exp_beat;
  logic [15:0]         exp_max, exp_reciprocal;
  logic [Lanes*14-1:0] exp_data;

  assign exp_first = exp_beat_q == '0;
  assign exp_last  = exp_beat_q == beats_i - 1'b1;
  assign exp_take  = exp_row_valid && exp_beat_valid && exp_room && (exp_row_room || !exp_first);

  lutra_fifo #(.Bits(Lanes * 16), .AddressBits(AddressBits)) u_scores (
    .clk_i, .rst_ni, .room_o(max_room), .reserve_i(max_take), .write_i(max_take), .data_i,
    .valid_o(exp_beat_valid), .read_i(exp_take), .data_o(exp_beat)
  );
  lutra_fifo #(.Bits(16), .AddressBits(RowsBits)) u_maxima (
    .clk_i, .rst_ni, .room_o(max_row_room), .reserve_i(max_take && max_first), .write_i(max_found), .data_i(max_value),
    .valid_o(exp_row_valid), .read_i(exp_take && exp_last), .data_o(exp_max)
  );
  lutra_bat_softmax_exp #(
    .Lanes(Lanes), .CountBits(CountBits), .ExpFile(ExpFile), .ReciprocalFile(ReciprocalFile)
  ) u_exp (
    .clk_i,
    .rst_ni,
    .take_i(exp_take),
    .first_i(exp_first),
    .last_i(exp_last),
    .counted_i(exp_last ? last_lanes : all_lanes),
    .data_i(exp_beat),
    .max_i(exp_max),
    .valid_o(exp_valid),
    .data_o(exp_data),
    .scalar_valid_o(exp_found),
    .reciprocal_o(exp_reciprocal)
  );

  // Third part: a pipeline that stops while its result is not taken.
  logic [BeatBits-1:0] scale_beat_q;
  logic                scale_row_valid, scale_beat_valid, scale_take, scale_last, advance;
  logic [Lanes*14-1:0] scale_beat;
  logic [15:0]         scale_factor;
  logic [2:1]          valid_q;

  assign advance    = !valid_q[2] || ready_i;
  assign scale_last = scale_beat_q == beats_i - 1'b1;
  assign scale_take = advance && scale_row_valid && scale_beat_valid;
  assign valid_o    = valid_q[2];

  lutra_fifo #(.Bits(Lanes * 14), .AddressBits(AddressBits)) u_exponentials (
    .clk_i, .rst_ni, .room_o(exp_room), .reserve_i(exp_take), .write_i(exp_valid), .data_i(exp_data),
    .valid_o(scale_beat_valid), .read_i(scale_take), .data_o(scale_beat)
  );
  lutra_fifo #(.Bits(16), .AddressBits(RowsBits)) u_reciprocals (
    .clk_i, .rst_ni, .room_o(exp_row_room), .reserve_i(exp_take && exp_first), .write_i(exp_found),
    .data_i(exp_reciprocal), .valid_o(scale_row_valid), .read_i(scale_take && scale_last), .data_o(scale_factor)
  );

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    lutra_binary16_multiply u_scale (
      .clk_i,
      .enable_i(advance && (scale_take || valid_q != '0)),
      .a_i({2'b00, scale_beat[l*14 +: 14]}),
      .b_i(scale_factor),
      .y_o(data_o[l*16 +: 16])
    );
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      max_beat_q   <= '0;
      exp_beat_q   <= '0;
      scale_beat_q <= '0;
      valid_q      <= '0;
    end else begin
      if (max_take) begin
        max_beat_q <= max_last ? '0 : max_beat_q + 1'b1;
      end
      if (exp_take) begin
        exp_beat_q <= exp_last ? '0 : exp_beat_q + 1'b1;
      end
      if (scale_take) begin
        scale_beat_q <= scale_last ? '0 : scale_beat_q + 1'b1;
      end
      if (advance) begin
        valid_q <= {valid_q[1], scale_take};
      end
    end
  end

endmodule
