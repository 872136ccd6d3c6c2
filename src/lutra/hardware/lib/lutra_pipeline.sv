// Control of a pipeline that takes one step per cycle and gives one beat of sums per step, Stages cycles later.
//
// All stages advance together while the last one can pass its beat on; the data registers use advance_o as their enable.
//
// Timing: a step offered with valid_i is taken in a cycle with advance_o, which depends on ready_i alone.
module lutra_pipeline #(
  parameter int unsigned Stages = 1,   // registers between a step and its sums, at least 1
  parameter int unsigned Beats = 1,    // beats per row
  parameter int unsigned BeatBits = 1  // bits of the beat counter
) (
  input  logic                clk_i,      // clock
  input  logic                rst_ni,     // synchronous reset, active low
  input  logic                valid_i,    // a step is offered
  output logic                advance_o,  // it is taken, and every stage passes on what it holds
  output logic                valid_o,    // the last stage holds a beat of sums
  input  logic                ready_i,    // it is taken
  output logic [BeatBits-1:0] beat_o      // which beat of the row it is
);

  if (Stages < 1 || Beats < 1 || BeatBits < 1 || 2**BeatBits < Beats) begin : gen_wrong
    $error("Stages, Beats and BeatBits must be at least 1, and BeatBits must count all Beats");
  end

  localparam logic [BeatBits-1:0] LastBeat = BeatBits'(Beats - 1);

  logic [Stages-1:0]   valid_q;
  logic [BeatBits-1:0] beat_q;

  assign advance_o = ready_i;
  assign valid_o = valid_q[Stages-1];
  assign beat_o = beat_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= '0;
      beat_q <= '0;
    end else if (ready_i) begin
      valid_q <= (valid_q << 1) | Stages'(valid_i);
      if (valid_o) begin
        beat_q <= beat_q == LastBeat ? '0 : beat_q + 1'b1;
      end
    end
  end

endmodule
