<%
word_bits = (len(map.registers) - 1).bit_length()
address_bits = map.address_bits - 2
settings, commands, statuses, stickies = (map.signals(each) for each in ("setting", "command", "status", "sticky"))
def width(field):
    return f"[{field.bits - 1}:0] " if field.bits > 1 else ""
%>\
// ${name}_registers: the registers of ${name}, as its register map says.
//
// Timing: a write counts from the next cycle on; commands are 1 for the cycle of the write. Reading is combinational.
module ${name}_registers (
  input  logic clk_i,   // clock
  input  logic rst_ni,  // synchronous reset, active low
  input  logic write_i,  // write a register
  input  logic [${address_bits - 1}:0] write_address_i,  // which one, counted in words
  input  logic [31:0] write_data_i,  // what
  input  logic [3:0] write_strobe_i,  // which of its bytes
  input  logic [${address_bits - 1}:0] read_address_i,  // the register to read, counted in words
  output logic [31:0] read_data_o,  // its value
% for signal, field in statuses:
  input  logic ${width(field)}${signal}_i,  // ${field.what | comment}
% endfor
% for signal, field in stickies:
  input  logic ${signal}_set_i,  // set: ${field.what | comment}
%     if field.followed:
  input  logic ${signal}_clear_i,  // clear it
  output logic ${signal}_o,  // its value
%     endif
% endfor
% for signal, field in commands:
  output logic ${signal}_o,  // ${field.what | comment}
% endfor
% for position, (signal, field) in enumerate(settings):
  output logic ${width(field)}${signal}_o${"," if position < len(settings) - 1 else ""}  // ${field.what | comment}
% endfor
);

% for signal, field in commands + settings + stickies:
<%
    place = next(offset // 4 for offset, register in map for each in register.fields if each is field)
    low, high = field.low, field.low + field.bits - 1
%>\
  logic writes_${signal};
  assign writes_${signal} = write_i && write_address_i == ${address_bits}'d${place};
% endfor

% for signal, field in commands:
  assign ${signal}_o = writes_${signal} && write_strobe_i[${field.low // 8}] && write_data_i[${field.low}];
% endfor
% for signal, field in settings:

  logic [${field.bits - 1}:0] ${signal}_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ${signal}_q <= ${field.bits}'d${field.value};
    end else if (writes_${signal}) begin
%     for byte in range(field.low // 8, (field.low + field.bits - 1) // 8 + 1):
<%
        first, last = max(field.low, 8 * byte), min(field.low + field.bits - 1, 8 * byte + 7)
        here = lambda base: f"[{last - base}:{first - base}]" if last > first else f"[{first - base}]"
%>\
      if (write_strobe_i[${byte}]) begin
        ${signal}_q${here(field.low)} <= write_data_i${here(0)};
      end
%     endfor
    end
  end
  assign ${signal}_o = ${signal}_q${"" if field.bits > 1 else "[0]"};
% endfor
% for signal, field in stickies:

  logic ${signal}_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ${signal}_q <= 1'b0;
    end else if (${signal}_set_i) begin
      ${signal}_q <= 1'b1;
    end else if (${f"{signal}_clear_i || " if field.followed else ""}(writes_${signal} && write_strobe_i[${field.low // 8}] && write_data_i[${field.low}])) begin
      ${signal}_q <= 1'b0;
    end
  end
%     if field.followed:
  assign ${signal}_o = ${signal}_q;
%     endif
% endfor

  always_comb begin
    case (read_address_i)
% for offset, register in map:
<%
    parts, top = [], 32
    for field in sorted(register.fields, key=lambda each: -each.low):
        if top > field.low + field.bits:
            parts.append(f"{top - field.low - field.bits}'d0")
        signal = signal_of(register, field)
        parts.append({
            "constant": f"{field.bits}'h{field.value:0{-(-field.bits // 4)}x}", "status": f"{signal}_i", "command": f"{field.bits}'d0",
            "setting": f"{signal}_q", "sticky": f"{signal}_q",
        }[field.access])
        top = field.low
    if top:
        parts.append(f"{top}'d0")
%>\
      ${address_bits}'d${offset // 4}: read_data_o = ${parts[0] if len(parts) == 1 else "{" + ", ".join(parts) + "}"};  // ${register.name}
% endfor
      default: read_data_o = '0;
    endcase
  end

  // Bits of a write that no register has.
  logic unused_bits;
  assign unused_bits = ^{write_data_i, write_strobe_i};

endmodule
