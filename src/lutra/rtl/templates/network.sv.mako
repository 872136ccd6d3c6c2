// ${plan.name}_network: thermometer and LUT layers of ${plan.graph.name}.
//
// Only the bits that the conditional summation needs exist, and only those that are not constant.
//
// Timing: combinational.
<%
graph, layers = plan.graph, plan.block.lut_layers
bits = graph.input_type.bits
%>\
module ${plan.name}_network (
  input  logic [${graph.input_width * bits - 1}:0] row_i,  // ${graph.input_width} activations of ${bits} bits, activation 0 in the lowest bits
  output logic [${max(len(plan.registered), 1) - 1}:0] bits_o  // bits that the summation reads, in its order
);
% if plan.existing(0):

  // Thermometer: u_bit_F_T compares activation F with its threshold T.
  logic [${len(plan.existing(0)) - 1}:0] layer_0;
% for place, (bit, feature, threshold) in enumerate(plan.thresholds()):
  lutra_threshold #(.Bits(${bits}), .Signed(1'b${int(graph.input_type.signed)}), .Threshold(${bits}'d${threshold})) u_bit_${feature}_${bit % plan.block.thermometer.thresholds.shape[1]} (
    .x_i(row_i[${feature * bits} +: ${bits}]), .bit_o(layer_0[${place}])
  );
% endfor
% endif
% for number, layer in enumerate(layers, start=1):
% if plan.existing(number):

  // LUT layer ${number}: tables of ${layer.connections.shape[1]} inputs.
  logic [${len(plan.existing(number)) - 1}:0] layer_${number};
% for place, bit in enumerate(plan.existing(number)):
<% address, table = plan.lut(number, bit) %>\
  lutra_lut #(.Inputs(${layer.connections.shape[1]}), .Table(${table})) u_lut_${number}_${bit} (
    .address_i(${address}),
    .bit_o(layer_${number}[${place}])
  );
% endfor
% endif
% endfor

% if plan.registered:
% for place, r in enumerate(plan.registered):
  assign bits_o[${place}] = ${plan.wire(*plan.summed[r])};
% endfor
% else:
  assign bits_o = '0;
% endif
% if plan.unused_features():

  logic unused_row;
  assign unused_row = ^{${", ".join(f"row_i[{feature * bits} +: {bits}]" for feature in plan.unused_features())}};
% endif

endmodule
