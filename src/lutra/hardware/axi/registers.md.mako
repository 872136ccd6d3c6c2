<%
def bits(field):
    return f"{field.low}" if field.bits == 1 else f"{field.low + field.bits - 1}:{field.low}"
%>\
32 bits each; offsets in bytes. Other addresses read 0, and all are answered OKAY.

| offset | register | bits | field | access | meaning |
| --- | --- | --- | --- | --- | --- |
% for offset, register in map:
%     for field in register.fields:
| 0x${f"{offset:02x}"} | `${register.name}` | ${bits(field)} | ${f"`{field.name}`" if field.name != "value" else ""} | ${access_in_words[field.access]} | ${field.what}${f" (0x{field.value:08x})" if field.access == "constant" else ""} |
%     endfor
% endfor
