// ${plan.name}_summation: conditional summation of ${plan.graph.name}, by accumulators.
//
// Every output adds ${s.bits_per_step} of the row's bits per cycle for ${s.steps} cycles: its encoded value where a bit is 1.
//
// Timing: bits_i must be stable during all steps of a row. The last step waits until the row before has left; the sums
// then leave in ${s.output_beats} beats, from the next cycle on.
<%
summation = plan.block.summation
outputs, per_step = len(summation.bias), s.bits_per_step
groups = range(summation.groups)
%>\
module ${plan.name}_summation (
  input  logic clk_i,    // clock
  input  logic rst_ni,   // synchronous reset, active low
  input  logic step_valid_i,  // there is a step to do
  input  logic [${plan.step_bits - 1}:0] step_i,  // step of the summation, 0 to ${s.steps - 1}
  output logic step_ready_o,  // it is done in this cycle
  input  logic [${max(len(plan.registered), 1) - 1}:0] bits_i,  // bits of the row
  output logic valid_o,  // a beat of sums is offered
  input  logic ready_i,  // it is taken
  output logic [${address_bits(s.output_beats) - 1}:0] beat_o,  // which beat of the row it is
  output logic [${s.output_lanes * plan.sum_bits - 1}:0] sums_o  // ${s.output_lanes} sums of ${plan.sum_bits} bits, two's complement, the first in the lowest bits
);

  logic last, add, capture, free;
  assign last = step_i == ${plan.step_bits}'d${s.steps - 1};
  assign add = step_valid_i && !last;
  assign capture = step_valid_i && last && free;
  assign step_ready_o = !last || free;

  // The bits of this step, per group of outputs.
% for group in groups:
  logic [${per_step - 1}:0] bits_${group};
% if s.steps == 1:
  assign bits_${group} = {
      ${plan.step_wires(group)}
  };
% else:
  lutra_mux #(.AddressBits(${plan.step_bits}), .Width(${per_step})) u_bits_${group} (
    .address_i(step_i),
    .words_i({
      ${plan.step_wires(group)}
    }),
    .word_o(bits_${group})
  );
% endif
% endfor

  logic [${outputs * plan.sum_bits - 1}:0] sums;
% for output in range(outputs):
<% value_bits, words = plan.encoded(output) %>\
  lutra_accumulator #(
    .Fold(${per_step}), .ValueBits(${value_bits}), .AccBits(${plan.sum_bits}), .Steps(${s.steps}), .StepBits(${plan.step_bits}),
    .Bias(${plan.bias(output)}), .Values(${words})
  ) u_sum_${output} (
    .clk_i, .rst_ni, .add_i(add), .clear_i(capture), .step_i,
    .bits_i(bits_${plan.group_of(output)}), .sum_o(sums[${output * plan.sum_bits} +: ${plan.sum_bits}])
  );
% endfor

  lutra_output_buffer #(
    .Width(${outputs}), .Bits(${plan.sum_bits}), .Lanes(${s.output_lanes}), .Beats(${s.output_beats}), .BeatBits(${address_bits(s.output_beats)})
  ) u_output_buffer (
    .clk_i, .rst_ni, .capture_i(capture), .free_o(free), .sums_i(sums),
    .valid_o, .ready_i, .beat_o, .data_o(sums_o)
  );
% if not plan.registered:

  logic unused_bits;
  assign unused_bits = ^bits_i;
% endif

endmodule
