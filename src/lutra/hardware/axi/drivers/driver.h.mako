<%inherit file="device.h.mako"/>\
<%! forgotten = "Forgets everything inside the core, and its errors." %>\
<%def name="constants()">\
<% N = core.name.upper() %>\
#define ${N}_BLOCK_COUNT ${len(core.members)}u
#define ${N}_INPUT_WIDTH ${core.input.width}u
#define ${N}_OUTPUT_WIDTH ${core.output.width}u
</%def>\
<%def name="types()">\
typedef ${core.input.c_type} ${core.name}_input;   /* an element of a row */
typedef ${core.output.c_type} ${core.name}_output; /* an element of a row of outputs */
</%def>\
<%def name="reach()"><%include file="packets.h.mako"/></%def>\
<%def name="functions()">\
/* Sends `count` rows through a block: (count, ${core.input.width}) elements, outputs (count, ${core.output.width}). */
enum ${core.name}_status ${core.name}_run(const struct ${core.name}_device *device, uint32_t block, const ${core.name}_input *rows,
                                  ${core.name}_output *outputs, size_t count);
</%def>\
