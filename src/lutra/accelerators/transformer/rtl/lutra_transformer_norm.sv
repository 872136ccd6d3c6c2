// Layer norm over rows of int16: sums, then variance, root and reciprocal one after the other, then every element again.
//
// Rows wait for their second pass in a ring of beats. Nothing holds results back, so that all happens at fixed distances
// from a row's last beat: the ring never overflows, and what belongs to a row moves on with it. A row's last beat is
// not taken before each of the serial parts, of which the slowest needs Interval cycles, is through with the row before.
//
// Timing: y_valid_o is 1 in beats_i successive cycles, the first one 80 + max(1, ceil(log2(Lanes) / 2)) cycles after the
// row's last beat was taken. x_ready_o is 0 only for a row's last beat, until 27 cycles after that of the row before.
module lutra_transformer_norm #(
  parameter int unsigned Lanes = 1,                                // elements of a beat, 1 to 64
  parameter int unsigned Beats = 16,                               // most beats of a row
  parameter int unsigned BeatBits = Beats > 1 ? $clog2(Beats) : 1  // of a beat's number
) (
  input  logic                clk_i,            // clock
  input  logic                rst_ni,           // synchronous reset, active low
  input  logic [BeatBits:0]   beats_i,          // beats of a row, from 1; this and the next three stay while rows pass
  input  logic [10:0]         width_i,          // the width of the model, 2 to 1024; elements beyond it are 0
  input  logic [49:0]         epsilon_i,        // what keeps the variance from 0
  input  logic [4:0]          shift_i,          // bits that are rounded away, from 1
  input  logic                x_valid_i,        // a beat is offered
  output logic                x_ready_o,        // it is taken
  input  logic [Lanes*16-1:0] x_data_i,         // int16
  output logic                constant_read_o,  // read the constants of a beat, for the next cycle
  output logic [BeatBits-1:0] constant_beat_o,  // which one
  input  logic [Lanes*48-1:0] constant_data_i,  // per lane 32 bits of bias, and below them 16 of gain
  output logic                y_valid_o,        // y_data_o is a beat of results
  output logic [Lanes*8-1:0]  y_data_o          // int8
);

  if (Lanes < 1 || Lanes > 64 || Beats < 1 || 2**BeatBits < Beats) begin : gen_wrong
    $error("Lanes must be from 1 to 64, Beats at least 1, and BeatBits must reach all Beats");
  end

  localparam int unsigned Latency = 6;       // from reading an element again to what it became
  localparam int unsigned ConstantRead = 3;  // the stage before that of the gain
  localparam logic [4:0]  Interval = 5'd27;
  // A beat waits for its row's last one and at most 80 cycles more.
  localparam int unsigned RingBits = $clog2(2 * Beats + 80);

  // First pass.
  logic [BeatBits-1:0] write_beat_q, last_beat;
  logic [RingBits-1:0] write_place_q;
  logic [4:0]          gap_q;  // cycles until another row may end
  logic                take, take_last, sums_done;
  logic [25:0]         total;
  logic [40:0]         squares;

  assign last_beat = BeatBits'(beats_i - 1'b1);
  assign x_ready_o = write_beat_q != last_beat || gap_q == '0;
  assign take      = x_valid_i && x_ready_o;
  assign take_last = take && write_beat_q == last_beat;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      write_beat_q  <= '0;
      write_place_q <= '0;
      gap_q         <= '0;
    end else begin
      if (take) begin
        write_beat_q  <= take_last ? '0 : write_beat_q + 1'b1;
        write_place_q <= write_place_q + 1'b1;
      end
      if (take_last) begin
        gap_q <= Interval - 1'b1;
      end else if (gap_q != '0) begin
        gap_q <= gap_q - 1'b1;
      end
    end
  end

  lutra_transformer_norm_sums #(.Lanes(Lanes)) u_sums (
    .clk_i,
    .rst_ni,
    .take_i(take),
    .first_i(write_beat_q == '0),
    .last_i(take_last),
    .data_i(x_data_i),
    .done_o(sums_done),
    .total_o(total),
    .squares_o(squares)
  );

  // What the second pass needs of the whole row. Where the root is 0 all elements are equal, and what its reciprocal is
  // does not matter: it multiplies their distances from the mean.
  logic        variance_done, root_done, factor_done;
  logic [51:0] variance;
  logic [25:0] root;
  logic [16:0] factor;
  logic [5:0]  exponent;
  logic [25:0] variance_total_q, root_total_q, factor_total_q;

  lutra_transformer_norm_variance u_variance (
    .clk_i, .rst_ni, .start_i(sums_done), .total_i(total), .squares_i(squares), .width_i, .epsilon_i,
    .done_o(variance_done), .variance_o(variance)
  );
  lutra_transformer_root u_root (
    .clk_i, .rst_ni, .start_i(variance_done), .value_i(variance), .done_o(root_done), .root_o(root)
  );
  lutra_transformer_reciprocal #(.ValueBits(26)) u_reciprocal (
    .clk_i, .rst_ni, .start_i(root_done), .value_i(root), .done_o(factor_done), .factor_o(factor),
    .exponent_o(exponent)
  );

  always_ff @(posedge clk_i) begin
    if (sums_done) begin
      variance_total_q <= total;
    end
    if (variance_done) begin
      root_total_q <= variance_total_q;
    end
    if (root_done) begin
      factor_total_q <= root_total_q;
    end
  end

  // Second pass.
  logic [BeatBits-1:0] read_beat_q, read_beat;
  logic [RingBits-1:0] read_place_q;
  logic                reading_q, read, work;
  logic [Latency:1]    valid_q;
  logic [BeatBits-1:0] beat_q [1:ConstantRead];
  logic [Lanes*16-1:0] x;
  logic [25:0]         total_1_q;
  logic [16:0]         factor_1_q, factor_2_q;
  logic [5:0]          exponent_1_q, exponent_2_q, exponent_3_q;

  assign read            = factor_done || reading_q;
  assign read_beat       = factor_done ? '0 : read_beat_q;
  assign work            = valid_q[Latency-1:1] != '0;
  assign constant_read_o = valid_q[ConstantRead];
  assign constant_beat_o = beat_q[ConstantRead];
  assign y_valid_o       = valid_q[Latency];

  lutra_memory #(.Words(2**RingBits), .Bits(Lanes*16), .AddressBits(RingBits)) u_ring (
    .clk_i, .write_i(take), .write_address_i(write_place_q), .data_i(x_data_i),
    .read_i(read), .clear_i(1'b0), .read_address_i(read_place_q), .data_o(x)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      reading_q    <= 1'b0;
      read_place_q <= '0;
      valid_q      <= '0;
    end else begin
      if (read) begin
        reading_q    <= read_beat != last_beat;
        read_place_q <= read_place_q + 1'b1;
      end
      valid_q <= {valid_q[Latency-1:1], read};
    end
    read_beat_q <= read_beat + BeatBits'(read);
    beat_q[1]   <= read_beat;
    for (int unsigned s = 2; s <= ConstantRead; s++) begin
      beat_q[s] <= beat_q[s-1];
    end
    if (factor_done) begin
      total_1_q    <= factor_total_q;
      factor_1_q   <= factor;
      exponent_1_q <= exponent;
    end
    factor_2_q   <= factor_1_q;
    exponent_2_q <= exponent_1_q;
    exponent_3_q <= exponent_2_q;
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    lutra_transformer_norm_lane u_lane (
      .clk_i,
      .enable_i(work),
      .x_i(x[16*l +: 16]),
      .total_i(total_1_q),
      .width_i,
      .factor_i(factor_2_q),
      .exponent_i(exponent_3_q),
      .gain_i(constant_data_i[48*l +: 16]),
      .bias_i(constant_data_i[48*l+16 +: 32]),
      .shift_i,
      .y_o(y_data_o[8*l +: 8])
    );
  end

endmodule
