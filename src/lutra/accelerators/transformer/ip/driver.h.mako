<%inherit file="device.h.mako"/>\
<%! forgotten = "Forgets everything inside the core but what its memories hold, and its errors." %>\
<%def name="constants()">\
<%
N, c = core.name.upper(), core.config
%>\
#define ${N}_LONGEST ${core.rows}u        /* rows of the longest sequence */
#define ${N}_SIZE ${c.size}u          /* rows and columns of the array */
#define ${N}_LOGITS ${core.logit_columns}u        /* of a row */
#define ${N}_LOGIT_COLUMNS ${core.logits.column_tiles * c.size}u /* of a row as a packet has it, with padding */
#define ${N}_RIGHT_IMAGE_SUM 0x${f"{image_sum:08x}"}u
% if core.tokens:
#define ${N}_TOKENS ${core.tokens}u /* that the model knows, from 0 on */
% else:
#define ${N}_HEIGHT ${core.patches.height}u
#define ${N}_WIDTH ${core.patches.width}u
#define ${N}_CHANNELS ${core.image.program.input_width}u
#define ${N}_PATCH ${core.patches.patch}u       /* pixels of a side of a patch */
#define ${N}_PATCHES ${core.input_rows}u
#define ${N}_PATCH_WIDTH ${core.row_beats * c.lanes}u /* pixels of a patch as a packet has it, with padding */
% endif
</%def>\
<%def name="types()">\
<% N, c = core.name.upper(), core.config %>\
/* Packets of a call, where the engine that moves them reaches them. */
struct ${core.name}_packets {
% if not core.tokens:
    uint${8 * core.pixel_bytes}_t patches[${N}_PATCHES * ${N}_PATCH_WIDTH];
% endif
    int16_t logits[${core.logits.rows or core.rows}u * ${N}_LOGIT_COLUMNS];
};
</%def>\
<%def name="reach()"><%include file="packets.h.mako"/></%def>\
<%def name="functions()">\
/* Fills the memories from the content of image/${core.name}.bin, which must be aligned to 4 bytes. */
enum ${core.name}_status ${core.name}_load(const struct ${core.name}_device *device, const void *content, size_t bytes);

% if core.tokens:
/* Takes the next `count` tokens of a sequence of which `past` have come before, 0 for a new one. Logits of ${"a row" if core.logits.rows == 1 else f"{core.logits.rows} rows" if core.logits.rows else "as many rows"},
   (rows, ${core.logit_columns}); a value is its integer times ${f"{core.image.program.output_type.scale:g}"}. */
enum ${core.name}_status ${core.name}_feed(const struct ${core.name}_device *device, const uint16_t *tokens, size_t count,
                                   size_t past, struct ${core.name}_packets *packets, int16_t *logits);
% else:
/* The logits (${core.logit_columns}) of an image (${core.patches.height}, ${core.patches.width}, ${core.image.program.input_width}); a value is its integer times ${f"{core.image.program.output_type.scale:g}"}. */
enum ${core.name}_status ${core.name}_run(const struct ${core.name}_device *device, const uint8_t *image,
                                  struct ${core.name}_packets *packets, int16_t *logits);
% endif
</%def>\
