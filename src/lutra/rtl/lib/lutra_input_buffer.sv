// Ping-pong buffer for rows of activations: one bank is filled beat by beat while the other holds a complete row.
//
// A complete row moves from the filling bank to the holding bank at once. The banks do not swap roles, because the
// move needs no multiplexer in front of the thermometer.
//
// Timing: a beat is stored at the clock edge with load_i; row_o shows the moved row from the cycle after move_i until
// the next move. A move may coincide with the first beat of the next row.
module lutra_input_buffer #(
  parameter int unsigned Width = 1,     // activations per row
  parameter int unsigned Bits = 8,      // bits per activation
  parameter int unsigned Lanes = 1,     // activations per beat
  parameter int unsigned Beats = 1,     // beats per row; the last one may be padded
  parameter int unsigned BeatBits = 1   // bits of the beat counter
) (
  input  logic                  clk_i,   // clock
  input  logic                  load_i,  // store data_i as beat beat_i of the row being filled
  input  logic [BeatBits-1:0]   beat_i,  // beat within the row
  input  logic [Lanes*Bits-1:0] data_i,  // activations of the beat, the first in the lowest bits
  input  logic                  move_i,  // move the complete row to row_o
  output logic [Width*Bits-1:0] row_o    // the complete row, activation 0 in the lowest bits
);

  logic [Width*Bits-1:0] fill_q, row_q;

  for (genvar b = 0; b < Beats; b++) begin : gen_beat
    localparam int unsigned First = b*Lanes;
    localparam int unsigned Count = Width - First < Lanes ? Width - First : Lanes;
    localparam logic [BeatBits-1:0] Beat = BeatBits'(b);
    always_ff @(posedge clk_i) begin
      if (load_i && beat_i == Beat) begin
        fill_q[First*Bits +: Count*Bits] <= data_i[Count*Bits-1:0];
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (move_i) begin
      row_q <= fill_q;
    end
  end

  assign row_o = row_q;

endmodule
