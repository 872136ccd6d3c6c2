<%
def term(operand, bits, stage):
    """A number in its places, inverted or not, among zeros."""
    word = pipeline.word(operand.number.name, stage)
    shown = f"~{word}" if operand.inverted else word
    parts = [f"{bits - operand.top}'d0"] if bits > operand.top else []
    parts += [shown if operand.top <= bits else f"{shown}[{bits - operand.shift - 1}:0]"]
    parts += [f"{operand.shift}'d0"] if operand.shift else []
    return f"{{{', '.join(parts)}}}"

def sum_of(name, operands, constant, bits):
    """A sum of up to three terms: an adder of three from the place on in which two of them meet, and below it the one."""
    terms = [term(operand, bits, pipeline.made[name]) for operand in operands] + ([f"{bits}'d{constant}"] if constant else [])
    if len(terms) < 3:
        return f"  assign {name} = {' + '.join(terms) or f'{bits}' + chr(39) + 'd0'};"
    first = 0 if constant else sorted(operand.shift for operand in operands)[1]
    tops = sorted((bits if constant else 0, *(operand.top for operand in operands)))
    carries = min(tops[-2], bits - 1) - first
    ports = ", ".join(f".{port}_i({value})" for port, value in zip("xyz", (f"{name}_{port}[{bits - 1}:{first}]" for port in "xyz")))
    lines = [f"  logic [{bits - 1}:0] " + ", ".join(f"{name}_{port}" for port in "xyz") + ";"]
    lines += [f"  assign {name}_{port} = {value};" for port, value in zip("xyz", terms)]
    if first:
        lines.append(f"  assign {name}[{first - 1}:0] = {' | '.join(f'{name}_{port}[{first - 1}:0]' for port in 'xyz')};")
    lines.append(f"  lutra_ternary_add #(.Bits({bits - first}), .CarryBits({carries})) u_{name} ({ports}, .sum_o({name}[{bits - 1}:{first}]));")
    return "\n".join(lines)
%>\
// ${name}: ${len(graph.outputs)} sums of encoded values of ${graph.places} bits, by tables and adders that they share.
//
// Timing: sums_o belongs to the bits that were there ${pipeline.stages} advances before.
module ${name} (
  input  logic clk_i,      // clock
  input  logic advance_i,  // every stage passes on what it holds
  input  logic [${graph.places - 1}:0] bits_i,  // bits of a row
  output logic [${len(graph.outputs) * graph.bits - 1}:0] sums_o  // ${len(graph.outputs)} sums of ${graph.bits} bits, two's complement, the first in the lowest bits
);

  // How many of up to six bits are 1.
% for count in graph.counts:
  logic [${count.number.bits - 1}:0] ${count.number.name};
% if len(count.places) == 1:
  assign ${count.number.name} = ${"~" if count.inverted else ""}bits_i[${count.places[0]}];
% else:
  lutra_rom #(.AddressBits(${len(count.places)}), .Width(${count.number.bits}), .Tables(${tables(count)})) u_${count.number.name} (
    .address_i({${", ".join(f"bits_i[{place}]" for place in count.places[::-1])}}), .word_o(${count.number.name})
  );
% endif
% endfor
% for stage in range(pipeline.stages + 1):
% if stage:

  // Stage ${stage}. Its names are kept for the proof of the netlist.
% for register in pipeline.registers(stage):
  (* keep *) logic [${register.bits - 1}:0] ${register.name};
% endfor
  always_ff @(posedge clk_i) begin
    if (advance_i) begin
% for register in pipeline.registers(stage):
      ${register.name} <= ${register.taken};
% endfor
    end
  end
% endif
% for adder in graph.adders:
% if pipeline.made[adder.number.name] == stage:
  logic [${adder.number.bits - 1}:0] ${adder.number.name};
${sum_of(adder.number.name, adder.operands, 0, adder.number.bits)}
% endif
% endfor
% for index, output in enumerate(graph.outputs):
% if pipeline.made[output_name(index)] == stage:
  logic [${graph.bits - 1}:0] ${output_name(index)};
${sum_of(output_name(index), output.operands, output.constant, graph.bits)}
% endif
% endfor
% endfor

% for index in range(len(graph.outputs)):
  assign sums_o[${index * graph.bits} +: ${graph.bits}] = ${pipeline.word(output_name(index), pipeline.stages)};
% endfor
% if unused:

  logic unused_bits;
  assign unused_bits = ^{${", ".join(f"bits_i[{place}]" for place in unused)}};
% endif

endmodule
