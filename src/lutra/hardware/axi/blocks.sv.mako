<%
from lutra.hardware.literals import address_bits
x_bits, y_bits = core.input.lanes * core.input.type.bits, core.output.lanes * core.output.type.bits
select_bits = address_bits(len(core.members))
%>\
// ${core.name}_blocks: ${"a block" if len(core.members) == 1 else f"{len(core.members)} blocks"} between one pair of streams.
//
// Timing: block_i may change while nothing is inside; beats pass without a register.
module ${core.name}_blocks (
  input  logic clk_i,      // clock
  input  logic rst_ni,     // synchronous reset, active low
  input  logic [${select_bits - 1}:0] block_i,  // the block that rows go through
  input  logic x_valid_i,  // an input beat is offered
  output logic x_ready_o,  // it is taken
  input  logic [${x_bits - 1}:0] x_data_i,  // ${core.input.lanes} elements, the first in the lowest bits
  output logic y_valid_o,  // an output beat is offered
  input  logic y_ready_i,  // it is taken
  output logic [${y_bits - 1}:0] y_data_o  // ${core.output.lanes} elements, the first in the lowest bits
);

% for number, member in enumerate(core.members):
  logic chosen_${number}, x_ready_${number}, y_valid_${number};
  logic [${y_bits - 1}:0] y_data_${number};
  assign chosen_${number} = block_i == ${select_bits}'d${number};
  ${member.module} u_block_${number} (
    .clk_i, .rst_ni,
    .x_valid_i(x_valid_i && chosen_${number}), .x_ready_o(x_ready_${number}), .x_data_i,
    .y_valid_o(y_valid_${number}), .y_ready_i(y_ready_i && chosen_${number}), .y_data_o(y_data_${number})
  );

% endfor
  assign x_ready_o = ${" || ".join(f"(chosen_{n} && x_ready_{n})" for n in range(len(core.members)))};
  assign y_valid_o = ${" || ".join(f"(chosen_{n} && y_valid_{n})" for n in range(len(core.members)))};
  assign y_data_o = ${" | ".join(f"({{{y_bits}{{chosen_{n}}}}} & y_data_{n})" for n in range(len(core.members)))};

endmodule
