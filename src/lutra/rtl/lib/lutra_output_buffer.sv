// Holds the sums of a finished row while they leave beat by beat and the accumulators work on the next row.
//
// Timing: the sums are taken at the clock edge with capture_i; data_o shows beat beat_i combinationally.
module lutra_output_buffer #(
  parameter int unsigned Width = 1,     // sums per row
  parameter int unsigned Bits = 16,     // bits per sum
  parameter int unsigned Lanes = 1,     // sums per beat
  parameter int unsigned Beats = 1,     // beats per row; the last one may be padded with zeros
  parameter int unsigned BeatBits = 1   // bits of the beat counter
) (
  input  logic                  clk_i,      // clock
  input  logic                  capture_i,  // take sums_i
  input  logic [Width*Bits-1:0] sums_i,     // sums of the finished row, sum 0 in the lowest bits
  input  logic [BeatBits-1:0]   beat_i,     // which beat to show
  output logic [Lanes*Bits-1:0] data_o      // sums of the beat, the first in the lowest bits
);

  logic [Width*Bits-1:0] sums_q;

  always_ff @(posedge clk_i) begin
    if (capture_i) begin
      sums_q <= sums_i;
    end
  end

  if (Beats > 1) begin : gen_mux
    logic [(2**BeatBits)*Lanes*Bits-1:0] padded;
    assign padded[Width*Bits-1:0] = sums_q;
    if ((2**BeatBits)*Lanes > Width) begin : gen_padding
      assign padded[(2**BeatBits)*Lanes*Bits-1:Width*Bits] = '0;
    end
    lutra_mux #(.AddressBits(BeatBits), .Width(Lanes*Bits)) u_mux (
      .address_i(beat_i),
      .words_i(padded),
      .word_o(data_o)
    );
  end else begin : gen_single
    logic unused_beat;
    assign unused_beat = ^beat_i;
    assign data_o = sums_q;
  end

endmodule
