// Whose turn it is: a bit for each of several beats that come one after the other.
//
// With LUTRA_ECP5 every bit is a register of its own, which is early; a decoder of the beat's number behind everything
// that decides whether a beat is taken is the longest path of a block there.
//
// Timing: turn_o goes with beat_i, which counts the cycles with next_i, from 0 after a reset, and begins anew after Beats.
module lutra_turns #(
  parameter int unsigned Beats = 2,    // from 2
  parameter int unsigned BeatBits = 1  // bits of a beat's number
) (
  input  logic                clk_i,   // clock
  input  logic                rst_ni,  // synchronous reset, active low
  input  logic                next_i,  // the turn of the next beat comes
  input  logic [BeatBits-1:0] beat_i,  // which beat's turn it is
  output logic [Beats-1:0]    turn_o   // bit k: it is that of beat k
);

  if (Beats < 2 || 2**BeatBits < Beats) begin : gen_wrong
    $error("Beats must be at least 2, and BeatBits enough for them");
  end

`ifdef LUTRA_ECP5
  logic [Beats-1:0] turn_q;
  logic             unused_beat;
  assign turn_o = turn_q;
  assign unused_beat = ^beat_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      turn_q <= Beats'(1);
    end else if (next_i) begin
      turn_q <= {turn_q[Beats-2:0], turn_q[Beats-1]};
    end
  end
`else
  logic unused_inputs;
  assign unused_inputs = ^{clk_i, rst_ni, next_i};
  for (genvar k = 0; k < Beats; k++) begin : gen_turn
    assign turn_o[k] = beat_i == BeatBits'(k);
  end
`endif

endmodule
