// ${plan.name}_network: LUT layers of ${plan.graph.name | comment}.
//
// Only the bits that the conditional summation needs exist, and only those that are not constant.
//
// Timing: combinational.
<%
layers = plan.block.lut_layers
%>\
module ${plan.name}_network (
  input  logic [${max(len(plan.existing(0)), 1) - 1}:0] layer_0_i,  // thermometer bits that exist
  output logic [${max(len(plan.registered), 1) - 1}:0] bits_o  // bits that the summation reads, in its order
);
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
% if not plan.existing(0):

  logic unused_bit;
  assign unused_bit = ^layer_0_i;
% endif

endmodule
