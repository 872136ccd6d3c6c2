// ${plan.name}_summation: conditional summation of ${plan.graph.name | comment}, by accumulators.
//
// Every output adds ${s.bits_per_step} of the row's bits per cycle for ${s.steps} cycles: its encoded value where a bit is 1. The bits travel
// along the outputs, from one output beat to the next in a cycle, and with them marks of a row's first and last step.
//
// Timing: bits_i must be stable during all steps of a row. The sums of output beat k leave ${s.drain_cycles - s.output_beats + 1} + k cycles after the row's
// last step.
<%
summation = plan.block.summation
outputs, per_step, lanes, beats = len(summation.bias), s.bits_per_step, s.output_lanes, s.output_beats
groups, beat_bits, stages = range(summation.groups), address_bits(s.output_beats), len(wave.addend_levels)
%>\
module ${plan.name}_summation (
  input  logic clk_i,    // clock
  input  logic rst_ni,   // synchronous reset, active low
  input  logic step_valid_i,  // there is a step to do
  input  logic [${plan.step_bits - 1}:0] step_i,  // how many steps of the row are done, 0 to ${s.steps - 1}
  output logic step_ready_o,  // it is done in this cycle
  input  logic [${max(len(plan.registered), 1) - 1}:0] bits_i,  // bits of the row
  output logic valid_o,  // a beat of sums is offered
  input  logic ready_i,  // it is taken
  output logic [${beat_bits - 1}:0] beat_o,  // which beat of the row it is
  output logic [${lanes * plan.sum_bits - 1}:0] sums_o  // ${lanes} sums of ${plan.sum_bits} bits, two's complement, the first in the lowest bits
);

  logic first, last, choosing_q;
  assign step_ready_o = ready_i;
  assign first = step_valid_i && step_i == '0;
  assign last = step_valid_i && step_i == ${plan.step_bits}'d${s.steps - 1};

  // Marks at output beat k: at tap k the bits are, at k + ${stages} what they add, at k + ${stages + 1} the sum with it.
  logic [${beats + stages - 1}:0] first_at;
  logic [${beats + stages}:0] last_at;
  lutra_delay #(.Taps(${beats + stages})) u_first (.clk_i, .rst_ni, .enable_i(ready_i), .word_i(first), .taps_o(first_at));
  lutra_delay #(.Taps(${beats + stages + 1})) u_last (.clk_i, .rst_ni, .enable_i(ready_i), .word_i(last), .taps_o(last_at));
% if s.steps > 1:

  // The step that is looked up goes on while bits are on their way, whatever step a row begins with.
  logic [${plan.step_bits - 1}:0] step_q;
  logic move;
  assign move = ready_i && (step_valid_i || |last_at[${stages}:0] || choosing_q);
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      step_q <= '0;
    end else if (move) begin
      step_q <= step_q == ${plan.step_bits}'d${s.steps - 1} ? '0 : step_q + 1'b1;
    end
  end
  logic [${wave.segments * plan.step_bits - 1}:0] step_at;
  lutra_delay #(.Width(${plan.step_bits}), .Taps(${wave.segments})) u_step (
    .clk_i, .rst_ni, .enable_i(move), .word_i(step_q), .taps_o(step_at)
  );
% endif
% for group in groups:
<% first, seen = wave.first_beats[group], wave.taps[group] - wave.first_beats[group] %>
  // Bits of this step for group ${group}, and at which output beats some of them, or a mark, ask for work.
  logic [${per_step - 1}:0] bits_${group};
  logic [${seen * per_step - 1}:0] bits_${group}_at;
  logic [${seen - 1}:0] working_${group};
% if s.steps == 1:
  assign bits_${group} = {
      ${plan.step_wires(group)}
  };
% else:
  lutra_mux #(.AddressBits(${plan.step_bits}), .Width(${per_step})) u_bits_${group} (
    .address_i(step_q),
    .words_i({
      ${plan.step_wires(group)}
    }),
    .word_o(bits_${group})
  );
% endif
  lutra_delay #(.Width(${per_step}), .Taps(${wave.taps[group]}), .FirstTap(${first})) u_bits_${group}_at (
    .clk_i, .rst_ni, .enable_i(ready_i), .word_i(bits_${group} & {${per_step}{step_valid_i}}), .taps_o(bits_${group}_at)
  );
  for (genvar k = 0; k < ${seen}; k++) begin : gen_working_${group}
    assign working_${group}[k] = ready_i && (first_at[${first} + k] || |bits_${group}_at[k*${per_step} +: ${per_step}]);
  end
% endfor

  logic [${lanes * beats * plan.sum_bits - 1}:0] sums;
% for each in wave.accumulators:
<% tap = each.beat - wave.first_beats[each.group] %>\
  lutra_accumulator #(
    .Fold(${per_step}), .ValueBits(${each.value_bits}), .AddendBits(${each.addend_bits}), .LevelsPerStage(${levels_per_stage}), .AddendStages(${stages}),
    .SumBits(${plan.sum_bits}), .Steps(${s.steps}), .StepBits(${plan.step_bits}),
    .Bias(${plan.bias(each.output)}), .Values(${each.values})
  ) u_sum_${each.output} (
    .clk_i, .look_up_i(working_${each.group}[${tap} +: ${stages}]), .step_i(${f"step_at[{each.segment * plan.step_bits} +: {plan.step_bits}]" if s.steps > 1 else "step_i"}),
    .bits_i(bits_${each.group}_at[${tap * per_step} +: ${per_step}]), .add_i(working_${each.group}[${tap + stages}]), .restart_i(first_at[${each.beat + stages}]),
    .sum_o(sums[${(each.output % lanes * beats + each.beat) * plan.sum_bits} +: ${plan.sum_bits}])
  );
% endfor
% for place in range(lanes * beats):
% if place % beats * lanes + place // beats >= outputs:
  assign sums[${place * plan.sum_bits} +: ${plan.sum_bits}] = '0;
% endif
% endfor

  // Complete sums leave beat after beat, behind the mark of the last step.
  logic [${lanes * plan.sum_bits - 1}:0] chosen, chosen_q;
  logic [${beat_bits - 1}:0] choice_q, beat_q;
  logic valid_q;
  for (genvar l = 0; l < ${lanes}; l++) begin : gen_chosen
    lutra_select #(.Words(${beats}), .Width(${plan.sum_bits})) u_chosen (
      .select_i(last_at[${beats + stages}:${stages + 1}]), .words_i(sums[l*${beats * plan.sum_bits} +: ${beats * plan.sum_bits}]), .word_o(chosen[l*${plan.sum_bits} +: ${plan.sum_bits}])
    );
  end
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      choosing_q <= 1'b0;
      valid_q <= 1'b0;
    end else if (ready_i) begin
      choosing_q <= last_at[${stages}] || (choosing_q && choice_q != ${beat_bits}'d${beats - 1});
      valid_q <= choosing_q;
    end
    if (ready_i) begin
      choice_q <= last_at[${stages}] ? '0 : choice_q + 1'b1;
      beat_q <= choice_q;
      chosen_q <= chosen;
    end
  end
  assign valid_o = valid_q;
  assign beat_o = beat_q;
  assign sums_o = chosen_q;
% if s.steps == 1:

  logic unused_mark;
  assign unused_mark = ^last_at[${stages - 1}:0];
% endif
% if not plan.registered:

  logic unused_bits;
  assign unused_bits = ^bits_i;
% endif

endmodule
