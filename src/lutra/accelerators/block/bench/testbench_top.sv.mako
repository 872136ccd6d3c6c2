// lutra_testbench_top: every block of one simulation side by side, each with streams of its own.
//
// Timing: that of the blocks; nothing is added.
<%
ports = ["input  logic clk_i,  // clock", "input  logic rst_ni,  // synchronous reset, active low"]
for k, plan in enumerate(plans):
    s = plan.schedule
    x_bits = s.input_lanes * plan.graph.input_type.bits
    y_bits = s.output_lanes * plan.block.requantise.type.bits
    ports += [
        f"input  logic x_valid_{k}_i,  // {plan.name}: input stream",
        f"output logic x_ready_{k}_o,",
        f"input  logic [{x_bits - 1}:0] x_data_{k}_i,",
        f"output logic y_valid_{k}_o,  // {plan.name}: output stream",
        f"input  logic y_ready_{k}_i,",
        f"output logic [{y_bits - 1}:0] y_data_{k}_o,",
    ]
for name, strobes, signal, bits in probes:
    ports += [f"output logic {name}_strobe_o,  // {signal} is valid", f"output logic [{bits - 1}:0] {name}_o,"]
last, comma, comment = ports[-1].partition(",")
ports[-1] = last + comment
%>\
module lutra_testbench_top (
% for port in ports:
  ${port}
% endfor
);

% for k, plan in enumerate(plans):
  ${plan.name} u_${plan.name} (
    .clk_i, .rst_ni,
    .x_valid_i(x_valid_${k}_i), .x_ready_o(x_ready_${k}_o), .x_data_i(x_data_${k}_i),
    .y_valid_o(y_valid_${k}_o), .y_ready_i(y_ready_${k}_i), .y_data_o(y_data_${k}_o)
  );
% endfor
% for name, strobes, signal, bits in probes:
  assign ${name}_strobe_o = ${" && ".join(f"u_{plans[0].name}.{strobe}" for strobe in strobes)};
  assign ${name}_o = u_${plans[0].name}.${signal};
% endfor

endmodule
