// ${plan.name}: weightless block ${plan.graph.name | comment}, dataflow ${s.dataflow}, fold factor ${s.fold_factor}.
//
// Rows of ${graph.input_width} activations come in and rows of ${graph.output_width} outputs go out, as streams of beats with valid and ready: a beat is
// transferred in every cycle in which both are 1, and data stays unchanged until then. Lanes of the last beat that
// are beyond the row are ignored at the input and 0 at the output.
//
// Timing: without stalls a row every ${s.interval_cycles} cycles; ${s.latency_cycles} cycles from the first input beat to the last output beat.
<%
bits, out = graph.input_type.bits, plan.block.requantise.type
sum_bits, registered, thermometer_bits = plan.sum_bits, max(len(plan.registered), 1), max(len(plan.existing(0)), 1)
varying = any(len(set(plan.lane_multipliers(lane))) > 1 for lane in range(s.output_lanes))
%>\
module ${plan.name} (
  input  logic clk_i,      // clock
  input  logic rst_ni,     // synchronous reset, active low
  input  logic x_valid_i,  // an input beat is offered
  output logic x_ready_o,  // it is taken
  input  logic [${s.input_lanes * bits - 1}:0] x_data_i,  // ${s.input_lanes} activations of ${bits} bits per beat, the first in the lowest bits; ${s.input_beats} beats per row
  output logic y_valid_o,  // an output beat is offered
  input  logic y_ready_i,  // it is taken
  output logic [${s.output_lanes * out.bits - 1}:0] y_data_o  // ${s.output_lanes} outputs of ${out.bits} bits per beat, the first in the lowest bits; ${s.output_beats} beats per row
);

  localparam int unsigned InputBeatBits = ${address_bits(s.input_beats)};
  localparam int unsigned StepBits = ${plan.step_bits};
  localparam int unsigned OutputBeatBits = ${address_bits(s.output_beats)};

  logic compared, load, take, step_valid, step_ready;
  logic [InputBeatBits-1:0] input_beat;
  logic [StepBits-1:0]      step;

  lutra_controller #(
    .InputBeats(${s.input_beats}), .InputBeatBits(InputBeatBits), .Steps(${s.steps}), .StepBits(StepBits)
  ) u_controller (
    .clk_i, .rst_ni, .x_valid_i(compared), .x_ready_o,
    .load_o(load), .input_beat_o(input_beat), .take_o(take),
    .step_valid_o(step_valid), .step_o(step), .step_ready_i(step_ready)
  );

  logic [${thermometer_bits - 1}:0] layer_0;
  ${plan.name}_thermometer u_thermometer (
    .clk_i, .rst_ni, .valid_i(x_valid_i), .advance_i(x_ready_o), .data_i(x_data_i),
    .valid_o(compared), .load_i(load), .beat_i(input_beat), .bits_o(layer_0)
  );

  logic [${registered - 1}:0] bits, bits_q;
  ${plan.name}_network u_network (.layer_0_i(layer_0), .bits_o(bits));
  always_ff @(posedge clk_i) begin
    if (take) begin
      bits_q <= bits;
    end
  end

  logic beat_valid, beat_ready;
  logic [OutputBeatBits-1:0] output_beat;
  logic [${s.output_lanes * sum_bits - 1}:0] beat_sums;
  ${plan.name}_summation u_summation (
    .clk_i, .rst_ni, .step_valid_i(step_valid), .step_i(step), .step_ready_o(step_ready), .bits_i(bits_q),
    .valid_o(beat_valid), .ready_i(beat_ready), .beat_o(output_beat), .sums_o(beat_sums)
  );

  logic [${s.output_lanes * out.bits - 1}:0] beat_data;
% for lane in range(s.output_lanes):
<% multipliers = plan.lane_multipliers(lane) %>
  logic [${plan.multiplier_bits - 1}:0] multiplier_${lane};
% if len(set(multipliers)) == 1:
  assign multiplier_${lane} = ${plan.multiplier_bits}'d${multipliers[0]};
% else:
  lutra_mux #(.AddressBits(OutputBeatBits), .Width(${plan.multiplier_bits})) u_multiplier_${lane} (
    .address_i(output_beat), .words_i(${plan.multiplier_words(lane)}), .word_o(multiplier_${lane})
  );
% endif
  logic [${plan.product_bits - 1}:0] product_${lane}, product_${lane}_q;
  lutra_product #(
    .SumBits(${sum_bits}), .MultiplierBits(${plan.multiplier_bits}), .Shift(${plan.shift}), .ProductBits(${plan.product_bits})
  ) u_product_${lane} (
    .sum_i(beat_sums[${lane * sum_bits} +: ${sum_bits}]), .multiplier_i(multiplier_${lane}), .product_o(product_${lane})
  );
  always_ff @(posedge clk_i) begin
    if (beat_ready) begin
      product_${lane}_q <= product_${lane};
    end
  end
  lutra_clamp #(
    .ProductBits(${plan.product_bits}), .Shift(${plan.shift}), .OutBits(${out.bits}), .OutSigned(1'b${int(out.signed)})
  ) u_clamp_${lane} (
    .product_i(product_${lane}_q), .y_o(beat_data[${lane * out.bits} +: ${out.bits}])
  );
% endfor

  logic data_valid;
  lutra_delay u_product_valid (
    .clk_i, .rst_ni, .enable_i(beat_ready), .word_i(beat_valid), .taps_o(data_valid)
  );
  lutra_stream_register #(.Bits(${s.output_lanes * out.bits})) u_output_register (
    .clk_i, .rst_ni,
    .valid_i(data_valid), .ready_o(beat_ready), .data_i(beat_data),
    .valid_o(y_valid_o), .ready_i(y_ready_i), .data_o(y_data_o)
  );
% if not varying:

  logic unused_output_beat;
  assign unused_output_beat = ^output_beat;
% endif

endmodule
