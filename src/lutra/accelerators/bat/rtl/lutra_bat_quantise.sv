// Quantisation unit: rows of binary16 numbers become rows of codes (elastic quantisation: a bias, a step, clipping).
//
// Up to four bits a code is the number of thresholds that are not above x + bias; Scale asks for the paper's form with a
// multiplier instead, which eight bits need. A row consists of up to three segments with a quantiser each: query, key
// and value. Rows of contexts come head by head, and every head has biases of its own.
//
// Codes wait in a memory of a few beats, so that no gap opens behind one that is taken late.
//
// Timing: a beat per cycle; its codes are offered four cycles after it was taken, in the form with a multiplier six.
// The fields and tables stay the same during a step.
module lutra_bat_quantise #(
  parameter int unsigned Lanes = 4,                     // elements of a beat
  parameter int unsigned Bits = 4,                      // of a code
  parameter bit          Scale = 0,                     // multiply by the step's reciprocal; needed for more than 4 bits
  parameter int unsigned BeatBits = 5,                  // of a number of beats, of all heads together
  parameter int unsigned RowBits = 14,                  // of a number of rows
  parameter int unsigned LaneBits = 3,                  // of a number of lanes
  parameter int unsigned TableBits = Scale ? 16 : (2 ** Bits - 1) * 16  // of a quantiser: keep the default
) (
  input  logic                   clk_i,           // clock
  input  logic                   rst_ni,          // synchronous reset, active low
  input  logic                   start_i,         // a step begins
  input  logic                   by_head_i,       // after rows_i rows the biases are those of the next head
  input  logic [RowBits-1:0]     rows_i,          // rows of a head
  input  logic [1:0]             segments_i,      // segments of a row: 1 to 3
  input  logic [BeatBits-1:0]    beats_i,         // beats of a segment
  input  logic [LaneBits-1:0]    last_lanes_i,    // elements of a segment's last beat, 1 to Lanes
  input  logic                   signed_i,        // codes are two's complement
  input  logic                   use_bias_i,      // add the bias
  input  logic [3*TableBits-1:0] tables_i,        // per segment: thresholds as rising keys, or the step's reciprocal
  output logic [BeatBits-1:0]    bias_address_o,  // beat, counted over all heads
  input  logic [Lanes*16-1:0]    bias_i,          // the biases there, in the same cycle
  input  logic                   valid_i,         // a beat of numbers is offered
  output logic                   ready_o,         // it is taken
  input  logic [Lanes*16-1:0]    data_i,          // binary16 numbers
  output logic                   valid_o,         // a beat of codes is offered
  input  logic                   ready_i,         // it is taken
  output logic [Lanes*Bits-1:0]  codes_o,         // codes of Bits bits
  output logic                   error_o          // since the reset x + bias left the range of binary16
);

  localparam int unsigned Latency = Scale ? 5 : 3;
  localparam int unsigned Table = 2;      // the stage of the tables
  localparam int unsigned WaitingBits = 4;  // more beats than are under way

  if (Bits > 4 && !Scale) begin : gen_check
    $error("lutra_bat_quantise: more than 4 bits need Scale");
  end

  logic [1:0]          segment_q;
  logic [BeatBits-1:0] beat_q, head_beat_q;
  logic [RowBits-1:0]  row_q;
  logic                take, work, last, row_last;
  logic [Latency:1]    valid_q, last_q;
  logic [1:0]          segments_q [1:Table];

  assign take           = valid_i && ready_o;
  assign work           = take || valid_q != '0;
  assign last           = beat_q == beats_i - 1'b1;
  assign row_last       = last && segment_q == segments_i - 1'b1;
  assign bias_address_o = head_beat_q + beat_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      segment_q <= '0;
      beat_q    <= '0;
      valid_q   <= '0;
    end else begin
      if (take) begin
        beat_q <= last ? '0 : beat_q + 1'b1;
        if (last) begin
          segment_q <= row_last ? '0 : segment_q + 1'b1;
        end
      end
      valid_q <= {valid_q[Latency-1:1], take};
    end
    if (start_i) begin
      row_q       <= '0;
      head_beat_q <= '0;
    end else if (take && row_last && by_head_i) begin
      row_q <= row_q == rows_i - 1'b1 ? '0 : row_q + 1'b1;
      if (row_q == rows_i - 1'b1) begin
        head_beat_q <= head_beat_q + beats_i;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (work) begin
      last_q        <= {last_q[Latency-1:1], last};
      segments_q[1] <= segment_q;
      for (int unsigned s = 2; s <= Table; s++) begin
        segments_q[s] <= segments_q[s-1];
      end
    end
  end

  logic [TableBits-1:0]  tables;
  logic [Lanes*Bits-1:0] codes;
  logic [Lanes-1:0]      overflow, counted;

  lutra_fifo #(.Bits(Lanes * Bits), .AddressBits(WaitingBits)) u_waiting (
    .clk_i, .rst_ni, .room_o(ready_o), .reserve_i(take), .write_i(valid_q[Latency]), .data_i(codes),
    .valid_o, .read_i(valid_o && ready_i), .data_o(codes_o)
  );

  assign tables = segments_q[Table] == 2'd0 ? tables_i[0 +: TableBits] :
                  segments_q[Table] == 2'd1 ? tables_i[TableBits +: TableBits] : tables_i[2*TableBits +: TableBits];

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [15:0] bias;

    assign bias       = use_bias_i ? bias_i[l*16 +: 16] : 16'h8000;
    assign counted[l] = !last_q[Latency] || LaneBits'(l) < last_lanes_i;

    if (Scale) begin : gen_scale
      lutra_bat_scale_lane #(.Bits(Bits)) u_lane (
        .clk_i,
        .enable_i(work),
        .x_i(data_i[l*16 +: 16]),
        .bias_i(bias),
        .inverse_step_i(tables),
        .signed_i,
        .code_o(codes[l*Bits +: Bits]),
        .overflow_o(overflow[l])
      );
    end else begin : gen_thresholds
      lutra_bat_quantise_lane #(.Bits(Bits)) u_lane (
        .clk_i,
        .enable_i(work),
        .x_i(data_i[l*16 +: 16]),
        .bias_i(bias),
        .thresholds_i(tables),
        .signed_i,
        .code_o(codes[l*Bits +: Bits]),
        .overflow_o(overflow[l])
      );
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      error_o <= 1'b0;
    end else if (valid_q[Latency] && (overflow & counted) != '0) begin
      error_o <= 1'b1;
    end
  end

endmodule
