// ${plan.name}_summation: conditional summation of ${plan.graph.name}.
//
// Every output adds ${s.bits_per_step} of the row's bits per cycle for ${s.steps} cycles: its encoded value where a bit is 1.
//
// Timing: bits_i must be stable during all steps; sums_o is combinational and complete in the last step, in which
// clear_i restarts the accumulators.
<%
summation = plan.block.summation
outputs, per_step = len(summation.bias), s.bits_per_step
groups = range(summation.groups)
%>\
module ${plan.name}_summation (
  input  logic clk_i,    // clock
  input  logic rst_ni,   // synchronous reset, active low
  input  logic [${plan.step_bits - 1}:0] step_i,  // step of the summation, 0 to ${s.steps - 1}
  input  logic add_i,    // keep the sums of this step
  input  logic clear_i,  // last step: restart the accumulators
  input  logic [${max(len(plan.registered), 1) - 1}:0] bits_i,  // bits of the row
  output logic [${outputs * plan.sum_bits - 1}:0] sums_o  // ${outputs} sums of ${plan.sum_bits} bits, two's complement, sum 0 in the lowest bits
);

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
% for output in range(outputs):
<% value_bits, words = plan.encoded(output) %>
  logic [${per_step * value_bits - 1}:0] values_${output};
% if s.steps == 1:
  assign values_${output} = ${words};
% else:
  lutra_rom #(.AddressBits(${plan.step_bits}), .Width(${per_step * value_bits}), .Tables(${words})) u_values_${output} (
    .address_i(step_i), .word_o(values_${output})
  );
% endif
  lutra_accumulator #(
    .Fold(${per_step}), .ValueBits(${value_bits}), .AccBits(${plan.sum_bits}), .Steps(${s.steps}), .Bias(${plan.bias(output)})
  ) u_sum_${output} (
    .clk_i, .rst_ni, .add_i, .clear_i,
    .bits_i(bits_${plan.group_of(output)}), .values_i(values_${output}),
    .sum_o(sums_o[${output * plan.sum_bits} +: ${plan.sum_bits}])
  );
% endfor
% if s.steps == 1 or not plan.registered:

  logic unused_inputs;
  assign unused_inputs = ^{step_i, bits_i};
% endif

endmodule
