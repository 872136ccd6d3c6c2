// Moves rows through the stages of a weightless block: fill, sum, drain. All stages work at the same time.
//
// Timing: without stalls a row takes InputBeats cycles to fill, one through the tables into the bit register, and Steps
// to be summed. The tables' bits are taken in the cycle in which the bit register becomes free, and the first beat of
// the next row may come in that same cycle, so rows follow each other every Steps cycles (InputBeats does not exceed
// Steps). Input registers need no second bank for that: only the bits of a row must stay while it is summed.
module lutra_controller #(
  parameter int unsigned InputBeats = 1,     // beats per input row
  parameter int unsigned InputBeatBits = 1,  // bits of the counter of input beats
  parameter int unsigned Steps = 1,          // steps of the summation per row
  parameter int unsigned StepBits = 1        // bits of the counter of steps
) (
  input  logic                     clk_i,         // clock
  input  logic                     rst_ni,        // synchronous reset, active low
  input  logic                     x_valid_i,     // an input beat is offered
  output logic                     x_ready_o,     // it is taken if offered
  output logic                     load_o,        // store the input beat
  output logic [InputBeatBits-1:0] input_beat_o,  // which beat of the row it is
  output logic                     take_o,        // take the tables' bits of the complete row
  output logic                     step_valid_o,  // there is a step to do
  output logic [StepBits-1:0]      step_o,        // which step of the summation it is
  input  logic                     step_ready_i   // it is done in this cycle
);

  if (InputBeats < 1 || InputBeats > Steps || InputBeatBits < 1 || 2**InputBeatBits < InputBeats || StepBits < 1 ||
      2**StepBits < Steps) begin : gen_wrong
    $error("InputBeats must be 1 to Steps, and InputBeatBits and StepBits from 1 and enough for them");
  end

  localparam logic [InputBeatBits-1:0] LastInputBeat = InputBeatBits'(InputBeats - 1);
  localparam logic [StepBits-1:0]      LastStep = StepBits'(Steps - 1);

  logic [InputBeatBits-1:0] input_beat_q;
  logic [StepBits-1:0]      step_q;
  logic filled_q, summing_q;
  logic filled, last, summed;

  // A stage passes its row on if the next stage is free or becomes free in this cycle.
  assign summed       = summing_q && step_ready_i && last;
  assign take_o       = filled_q && (!summing_q || summed);
  assign x_ready_o    = !filled_q || take_o;
  assign load_o       = x_valid_i && x_ready_o;
  assign filled       = load_o && input_beat_q == LastInputBeat;
  assign input_beat_o = input_beat_q;
  assign step_valid_o = summing_q;
  assign step_o       = step_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      filled_q <= 1'b0;
      summing_q <= 1'b0;
    end else begin
      filled_q <= filled || (filled_q && !take_o);
      summing_q <= take_o || (summing_q && !summed);
    end
  end

`ifdef LUTRA_ECP5
  // Known a step before: what follows from it reaches every register of a row.
  logic last_q;
  assign last = last_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni || summed) begin
      last_q <= LastStep == '0;
    end else if (summing_q && step_ready_i) begin
      last_q <= step_q == LastStep - 1'b1;
    end
  end
`else
  assign last = step_q == LastStep;
`endif

  always_ff @(posedge clk_i) begin
    if (!rst_ni || filled) begin
      input_beat_q <= '0;
    end else if (load_o) begin
      input_beat_q <= input_beat_q + 1'b1;
    end
    if (!rst_ni || summed) begin
      step_q <= '0;
    end else if (summing_q && step_ready_i) begin
      step_q <= step_q + 1'b1;
    end
  end

endmodule
