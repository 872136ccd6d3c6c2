% if tree.graphs:
// ${plan.name}_summation: conditional summation of ${plan.graph.name | comment}, by graphs and trees of adders.
//
// All ${s.output_lanes} outputs are summed in one cycle, from up to ${tree.places} bits each. Outputs that sum the same bits share a
// graph, or have a tree each.
% else:
// ${plan.name}_summation: conditional summation of ${plan.graph.name | comment}, by trees of adders.
//
// Every step sums ${s.output_lanes} outputs whole, one per lane, each from up to ${tree.places} bits.
% endif
//
// Timing: bits_i must be stable during all steps of a row. The sums of a step leave ${s.drain_cycles} cycles after it.
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

  logic advance;
  assign step_ready_o = advance;
  lutra_pipeline #(.Stages(${s.drain_cycles}), .Beats(${s.output_beats}), .BeatBits(${address_bits(s.output_beats)})) u_pipeline (
    .clk_i, .rst_ni, .valid_i(step_valid_i), .advance_o(advance), .valid_o, .ready_i, .beat_o
  );
% for number, selection in enumerate(tree.selections):

  logic [${tree.places - 1}:0] bits_${number};
% if len(selection.words) == 1:
  assign bits_${number} = {${selection.words[0]}};
% else:
  logic [${selection.address_bits - 1}:0] group_${number};
  lutra_rom #(.AddressBits(${plan.step_bits}), .Width(${selection.address_bits}), .Tables(${selection.address_tables})) u_group_${number} (
    .address_i(step_i), .word_o(group_${number})
  );
  lutra_mux #(.AddressBits(${selection.address_bits}), .Width(${tree.places})) u_bits_${number} (
    .address_i(group_${number}),
    .words_i({
% for word in selection.words[::-1]:
      ${word}${"" if loop.last else ","}
% endfor
    }),
    .word_o(bits_${number})
  );
% endif
% if tree.selects:
  logic [${tree.places - 1}:0] bits_${number}_q;
  always_ff @(posedge clk_i) begin
    if (advance) begin
      bits_${number}_q <= bits_${number};
    end
  end
% endif
% endfor

% for lane in tree.numbers:
  ${plan.name}_lane_${lane} u_lane_${lane} (
    .clk_i, .advance_i(advance), .step_i, .bits_i(bits_${tree.selection_of(lane)}${"_q" if tree.selects else ""}),
    .sum_o(sums_o[${lane * plan.sum_bits} +: ${plan.sum_bits}])
  );
% endfor
% for group in tree.graphs:
<% outputs = plan.group_outputs(group) %>\
  ${plan.name}_graph_${group} u_graph_${group} (
    .clk_i, .advance_i(advance), .bits_i(bits_${tree.selection_of(outputs.start)}),
    .sums_o(sums_o[${outputs.start * plan.sum_bits} +: ${len(outputs) * plan.sum_bits}])
  );
% endfor
% if not tree.numbers:

  logic unused_step;
  assign unused_step = ^step_i;
% endif
% if not plan.registered:

  logic unused_bits;
  assign unused_bits = ^bits_i;
% endif

endmodule
