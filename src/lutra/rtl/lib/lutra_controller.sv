// Moves rows through the stages of a weightless block: fill, hold, sum, unload. All stages work at the same time.
//
// Timing: without stalls a row takes InputBeats cycles to fill, one to move into the holding bank, one through the
// tables into the bit register, Steps to be summed, and OutputBeats to unload. A stage hands its row on in the cycle
// in which the stage after it becomes free, so rows follow each other every Steps cycles (no count of beats exceeds
// Steps). ready_o of the input depends on registers and on y_ready_i only.
module lutra_controller #(
  parameter int unsigned InputBeats = 1,      // beats per input row
  parameter int unsigned InputBeatBits = 1,   // bits of the counter of input beats
  parameter int unsigned Steps = 1,           // steps of the summation per row
  parameter int unsigned StepBits = 1,        // bits of the counter of steps
  parameter int unsigned OutputBeats = 1,     // beats per output row
  parameter int unsigned OutputBeatBits = 1   // bits of the counter of output beats
) (
  input  logic                      clk_i,          // clock
  input  logic                      rst_ni,         // synchronous reset, active low
  input  logic                      x_valid_i,      // an input beat is offered
  output logic                      x_ready_o,      // it is taken if offered
  output logic                      load_o,         // store the input beat
  output logic [InputBeatBits-1:0]  input_beat_o,   // which beat of the row it is
  output logic                      move_o,         // move the complete row to the holding bank
  output logic                      take_o,         // take the tables' bits of the held row
  output logic [StepBits-1:0]       step_o,         // step of the summation
  output logic                      add_o,          // keep the sums of this step
  output logic                      capture_o,      // last step: capture the sums and restart the accumulators
  output logic [OutputBeatBits-1:0] output_beat_o,  // beat of the captured sums to unload
  output logic                      y_valid_o,      // that beat is there
  input  logic                      y_ready_i       // it is taken if there
);

  localparam logic [InputBeatBits-1:0]  LastInputBeat = InputBeatBits'(InputBeats - 1);
  localparam logic [StepBits-1:0]       LastStep = StepBits'(Steps - 1);
  localparam logic [OutputBeatBits-1:0] LastOutputBeat = OutputBeatBits'(OutputBeats - 1);

  logic [InputBeatBits-1:0]  input_beat_q;
  logic [StepBits-1:0]       step_q;
  logic [OutputBeatBits-1:0] output_beat_q;
  logic filled_q, held_q, summing_q, unloading_q;
  logic filled, last_step, emptied;

  // A stage passes its row on if the next stage is free or becomes free in this cycle.
  assign emptied   = y_valid_o && y_ready_i && output_beat_q == LastOutputBeat;
  assign last_step = step_q == LastStep;
  assign capture_o = summing_q && last_step && (!unloading_q || emptied);
  assign add_o     = summing_q && !last_step;
  assign take_o    = held_q && (!summing_q || capture_o);
  assign move_o    = filled_q && (!held_q || take_o);
  assign x_ready_o = !filled_q || move_o;
  assign load_o    = x_valid_i && x_ready_o;
  assign filled    = load_o && input_beat_q == LastInputBeat;
  assign y_valid_o = unloading_q;

  assign input_beat_o  = input_beat_q;
  assign step_o        = step_q;
  assign output_beat_o = output_beat_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      filled_q <= 1'b0;
      held_q <= 1'b0;
      summing_q <= 1'b0;
      unloading_q <= 1'b0;
    end else begin
      filled_q <= filled || (filled_q && !move_o);
      held_q <= move_o || (held_q && !take_o);
      summing_q <= take_o || (summing_q && !capture_o);
      unloading_q <= capture_o || (unloading_q && !emptied);
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || filled) begin
      input_beat_q <= '0;
    end else if (load_o) begin
      input_beat_q <= input_beat_q + 1'b1;
    end
    if (!rst_ni || capture_o) begin
      step_q <= '0;
    end else if (add_o) begin
      step_q <= step_q + 1'b1;
    end
    if (!rst_ni || emptied) begin
      output_beat_q <= '0;
    end else if (y_valid_o && y_ready_i) begin
      output_beat_q <= output_beat_q + 1'b1;
    end
  end

endmodule
