<%
def term(operand, bits):
    """A number in its places, inverted or not, among zeros."""
    name = f"~{operand.number.name}" if operand.inverted else operand.number.name
    parts = [f"{bits - operand.top}'d0"] if bits > operand.top else []
    parts += [name if operand.top <= bits else f"{name}[{bits - operand.shift - 1}:0]"]
    parts += [f"{operand.shift}'d0"] if operand.shift else []
    return f"{{{', '.join(parts)}}}"

def sum_of(name, operands, constant, bits):
    """A sum of up to three terms: an adder of three from the place on in which two of them meet, and below it the one."""
    terms = [term(operand, bits) for operand in operands] + ([f"{bits}'d{constant}"] if constant else [])
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
// Timing: combinational.
module ${name} (
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

  // Sums that several outputs, or several of their parts, need.
% for adder in graph.adders:
  logic [${adder.number.bits - 1}:0] ${adder.number.name};
${sum_of(adder.number.name, adder.operands, 0, adder.number.bits)}
% endfor

% for index, output in enumerate(graph.outputs):
  logic [${graph.bits - 1}:0] output_${index};
${sum_of(f"output_{index}", output.operands, output.constant, graph.bits)}
  assign sums_o[${index * graph.bits} +: ${graph.bits}] = output_${index};
% endfor
% if unused:

  logic unused_bits;
  assign unused_bits = ^{${", ".join(f"bits_i[{place}]" for place in unused)}};
% endif

endmodule
