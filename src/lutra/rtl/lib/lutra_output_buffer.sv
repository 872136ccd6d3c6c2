// Holds the sums of a finished row while they leave beat by beat and the accumulators work on the next row.
//
// Timing: the sums are taken at the clock edge with capture_i, which is allowed while free_o is 1; that includes the
// cycle in which the last beat of the row before leaves. Beats follow each other every cycle in which ready_i is 1.
module lutra_output_buffer #(
  parameter int unsigned Width = 1,     // sums per row
  parameter int unsigned Bits = 16,     // bits per sum
  parameter int unsigned Lanes = 1,     // sums per beat
  parameter int unsigned Beats = 1,     // beats per row; the last one may be padded with zeros
  parameter int unsigned BeatBits = 1   // bits of the beat counter
) (
  input  logic                  clk_i,      // clock
  input  logic                  rst_ni,     // synchronous reset, active low
  input  logic                  capture_i,  // take sums_i
  output logic                  free_o,     // sums can be taken
  input  logic [Width*Bits-1:0] sums_i,     // sums of the finished row, sum 0 in the lowest bits
  output logic                  valid_o,    // a beat is offered
  input  logic                  ready_i,    // it is taken
  output logic [BeatBits-1:0]   beat_o,     // which beat it is
  output logic [Lanes*Bits-1:0] data_o      // sums of the beat, the first in the lowest bits
);

  localparam logic [BeatBits-1:0] LastBeat = BeatBits'(Beats - 1);

  logic [Width*Bits-1:0] sums_q;
  logic [BeatBits-1:0]   beat_q;
  logic                  valid_q, emptied;

  assign emptied = valid_q && ready_i && beat_q == LastBeat;
  assign free_o = !valid_q || emptied;
  assign valid_o = valid_q;
  assign beat_o = beat_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= 1'b0;
    end else begin
      valid_q <= capture_i || (valid_q && !emptied);
    end
    if (!rst_ni || emptied) begin
      beat_q <= '0;
    end else if (valid_q && ready_i) begin
      beat_q <= beat_q + 1'b1;
    end
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
      .address_i(beat_q),
      .words_i(padded),
      .word_o(data_o)
    );
  end else begin : gen_single
    assign data_o = sums_q;
  end

endmodule
