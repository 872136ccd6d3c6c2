<% N = core.name.upper() %>\
/* Registers: byte offsets, and bits of their fields. */
% for offset, register in map:
#define ${N}_${register.name.upper()} 0x${f"{offset:02x}"}u /* ${register.what} */
%     for field in register.fields:
%         if field.access == "constant":
#define ${N}_${signal_of(register, field).upper()}_VALUE 0x${f"{field.value:08x}"}u
%         elif field.name != "value":
#define ${N}_${signal_of(register, field).upper()} 0x${f"{field.mask:08x}"}u /* ${field.what} */
%         endif
%     endfor
% endfor
