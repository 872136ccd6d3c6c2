// ${plan.name}_thermometer: thermometer of ${plan.graph.name}, at the input.
//
// Activations are compared as they come, with the thresholds of their beat, and only the bits are kept: those that a
// table or the summation reads, and that are not constant.
//
// Timing: a beat's bits are stored at the clock edge with load_i.
<%
bits, lanes = graph.input_type.bits, plan.thermometer_lanes()
beat_bits, count = address_bits(s.input_beats), len(plan.existing(0))
unused = [lane for lane, what in enumerate(lanes) if not what.slots]
%>\
module ${plan.name}_thermometer (
  input  logic clk_i,   // clock
  input  logic load_i,  // store the beat
  input  logic [${beat_bits - 1}:0] beat_i,  // which beat of the row it is, 0 to ${s.input_beats - 1}
  input  logic [${s.input_lanes * bits - 1}:0] data_i,  // ${s.input_lanes} activations of ${bits} bits, the first in the lowest bits
  output logic [${max(count, 1) - 1}:0] bits_o  // thermometer bits that exist, activation by activation
);

  logic [${max(count, 1) - 1}:0] bits_q;
  assign bits_o = bits_q;
% if not count:
  assign bits_q = '0;
% endif
% for lane, what in enumerate(lanes):
% if what.slots:

  logic [${what.slots * bits - 1}:0] thresholds_${lane};
  logic [${what.slots - 1}:0] reached_${lane};
% if s.input_beats == 1:
  assign thresholds_${lane} = ${what.thresholds};
% else:
  lutra_rom #(.AddressBits(${beat_bits}), .Width(${what.slots * bits}), .Tables(${what.thresholds})) u_thresholds_${lane} (
    .address_i(beat_i), .word_o(thresholds_${lane})
  );
% endif
  for (genvar k = 0; k < ${what.slots}; k++) begin : gen_reached_${lane}
    lutra_threshold #(.Bits(${bits}), .Signed(1'b${int(graph.input_type.signed)})) u_threshold (
      .x_i(data_i[${lane * bits} +: ${bits}]), .threshold_i(thresholds_${lane}[k*${bits} +: ${bits}]), .bit_o(reached_${lane}[k])
    );
  end
  always_ff @(posedge clk_i) begin
% for field in what.fields:
    if (load_i && beat_i == ${beat_bits}'d${field.beat}) begin
      bits_q[${field.first} +: ${field.count}] <= reached_${lane}[${field.count - 1}:0];
    end
% endfor
  end
% endif
% endfor
% if unused or not count:

  logic unused_data;
  assign unused_data = ^{${", ".join([f"data_i[{lane * bits} +: {bits}]" for lane in unused] + ([] if count else ["clk_i", "load_i", "beat_i"]))}};
% endif

endmodule
