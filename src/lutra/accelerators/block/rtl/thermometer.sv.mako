// ${plan.name}_thermometer: thermometer of ${plan.graph.name | comment}, at the input.
//
// Activations are compared as they come, with the thresholds of their beat, and only the bits are kept: those that a
// table or the summation reads, and that are not constant.
//
% if s.input_stages:
// Timing: a beat that is offered in a cycle with advance_i is offered to the controller ${s.input_stages} such cycles later: first its
// thresholds are looked up, then it is compared with them. Its bits are stored at the clock edge with load_i.
% else:
// Timing: a beat's bits are stored at the clock edge with load_i.
% endif
<%
bits, lanes = graph.input_type.bits, plan.thermometer_lanes()
beat_bits, count = address_bits(s.input_beats), len(plan.existing(0))
unused = [lane for lane, what in enumerate(lanes) if not what.slots]
registers = "_q" if s.input_stages else ""
looked_up = "looked_up_q" if s.input_stages else "beat_i"
%>\
module ${plan.name}_thermometer (
  input  logic clk_i,   // clock
  input  logic rst_ni,  // synchronous reset, active low
  input  logic valid_i,    // a beat is offered
  input  logic advance_i,  // it is taken, and every stage passes on what it holds
  input  logic [${s.input_lanes * bits - 1}:0] data_i,  // ${s.input_lanes} activations of ${bits} bits, the first in the lowest bits
  output logic valid_o,  // a compared beat is offered
  input  logic load_i,   // store the compared beat
  input  logic [${beat_bits - 1}:0] beat_i,  // which beat of the row it is, 0 to ${s.input_beats - 1}
  output logic [${max(count, 1) - 1}:0] bits_o  // thermometer bits that exist, activation by activation
);

  logic [${max(count, 1) - 1}:0] bits_q;
  assign bits_o = bits_q;
% if not count:
  assign bits_q = '0;
% endif
% if s.input_stages:

  logic valid_q, compared_q;
  assign valid_o = compared_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= 1'b0;
      compared_q <= 1'b0;
    end else if (advance_i) begin
      valid_q <= valid_i;
      compared_q <= valid_q;
    end
  end
  logic [${s.input_lanes * bits - 1}:0] data_q;
  always_ff @(posedge clk_i) begin
    if (advance_i) begin
      data_q <= data_i;
    end
  end
% if s.input_beats > 1:
  logic [${beat_bits - 1}:0] looked_up_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      looked_up_q <= '0;
    end else if (advance_i && valid_i) begin
      looked_up_q <= looked_up_q == ${beat_bits}'d${s.input_beats - 1} ? '0 : looked_up_q + 1'b1;
    end
  end
% endif
% else:
  assign valid_o = valid_i;
% endif
% if count and s.input_beats > 1:

  logic [${s.input_beats - 1}:0] turn;
  lutra_turns #(.Beats(${s.input_beats}), .BeatBits(${beat_bits})) u_turns (
    .clk_i, .rst_ni, .next_i(load_i), .beat_i, .turn_o(turn)
  );
  logic unused_turn;
  assign unused_turn = ^turn;
% endif
% for lane, what in enumerate(lanes):
% if what.slots:

  logic [${what.slots * bits - 1}:0] thresholds_${lane};
  logic [${what.slots - 1}:0] reached_${lane};
% if s.input_beats == 1:
  assign thresholds_${lane} = ${what.thresholds};
% else:
  lutra_rom #(.AddressBits(${beat_bits}), .Width(${what.slots * bits}), .Tables(${what.thresholds})) u_thresholds_${lane} (
    .address_i(${looked_up}), .word_o(thresholds_${lane})
  );
% endif
% if s.input_stages:
  logic [${what.slots * bits - 1}:0] thresholds_${lane}_q;
  logic [${what.slots - 1}:0] reached_${lane}_q;
  always_ff @(posedge clk_i) begin
    if (advance_i) begin
      thresholds_${lane}_q <= thresholds_${lane};
      reached_${lane}_q <= reached_${lane};
    end
  end
% endif
  for (genvar k = 0; k < ${what.slots}; k++) begin : gen_reached_${lane}
    lutra_threshold #(.Bits(${bits}), .Signed(1'b${int(graph.input_type.signed)})) u_threshold (
      .x_i(data${registers or "_i"}[${lane * bits} +: ${bits}]), .threshold_i(thresholds_${lane}${registers}[k*${bits} +: ${bits}]), .bit_o(reached_${lane}[k])
    );
  end
  always_ff @(posedge clk_i) begin
% for field in what.fields:
    if (load_i${f" && turn[{field.beat}]" if s.input_beats > 1 else ""}) begin
      bits_q[${field.first} +: ${field.count}] <= reached_${lane}${registers}[${field.count - 1}:0];
    end
% endfor
  end
% endif
% endfor
<%
data = f"data{registers or '_i'}"
idle = [f"{data}[{lane * bits} +: {bits}]" for lane in unused]
idle += [] if count else ["clk_i", "load_i"]
idle += [] if count and s.input_beats > 1 else ["beat_i"]
idle += [] if s.input_stages else ["rst_ni", "advance_i"]
%>\
% if idle:

  logic unused_inputs;
  assign unused_inputs = ^{${", ".join(idle)}};
% endif

endmodule
