<% stages = sum(map(bool, lane.registers)) %>\
// ${plan.name}_lane_${number}: sums output ${number} of every beat of ${plan.graph.name | comment}, whole.
//
// Timing: sum_o belongs to the bits that were there ${stages} advances before, and to the step of ${"the advance before that" if tree.selects else "then"}.
<%
step = "step_q" if tree.selects else "step_i"
%>\
module ${plan.name}_lane_${number} (
  input  logic clk_i,      // clock
  input  logic advance_i,  // every stage passes on what it holds
  input  logic [${plan.step_bits - 1}:0] step_i,  // step of the summation, 0 to ${s.steps - 1}
  input  logic [${tree.places - 1}:0] bits_i,  // bits that the output sums
  output logic [${plan.sum_bits - 1}:0] sum_o  // sum of ${plan.sum_bits} bits, two's complement
);

% if tree.selects:
  // A register of its own: the tables of all lanes are too much for one.
  logic [${plan.step_bits - 1}:0] step_q;
  always_ff @(posedge clk_i) begin
    if (advance_i) begin
      step_q <= step_i;
    end
  end

% endif
  // Sums of ${tree.leaf_bits} bits' encoded values in each step.
% for leaf in lane.leaves:
  logic [${leaf.node.bits - 1}:0] ${leaf.node.name};
  lutra_rom #(.AddressBits(${len(leaf.places) + tree.step_address_bits}), .Width(${leaf.node.bits}), .Tables(${leaf.tables})) u_${leaf.node.name} (
    .address_i({bits_i[${leaf.places[-1]}:${leaf.places[0]}]${", " + step if tree.step_address_bits else ""}}), .word_o(${leaf.node.name})
  );
% endfor
% for level, (adders, registers) in enumerate(zip(((), *lane.levels), lane.registers)):
% if adders:

% for adder in adders:
  logic [${adder.node.bits - 1}:0] ${adder.node.name};
  assign ${adder.node.name} = ${adder.left.extended(adder.node.bits)} + ${adder.right.extended(adder.node.bits)};
% endfor
% endif
% if registers:

## What waits keeps its registers, which the proof of the netlist looks for; synthesis would make shift registers of them.
% for _, taken in registers:
<% kept = "(* keep *) " if lane.waiting and level + 1 + lane.waiting >= len(lane.registers) else "" %>\
  ${kept}logic [${taken.bits - 1}:0] ${taken.name};
% endfor
  always_ff @(posedge clk_i) begin
    if (advance_i) begin
% for node, taken in registers:
      ${taken.name} <= ${node.name};
% endfor
    end
  end
% endif
% endfor

  assign sum_o = ${lane.sum.extended(plan.sum_bits)};
% if lane.unused_places or not tree.step_address_bits:

  logic unused_inputs;
  assign unused_inputs = ^{${", ".join([f"bits_i[{place}]" for place in lane.unused_places] + ([] if tree.step_address_bits else ["step_i"]))}};
% endif

endmodule
