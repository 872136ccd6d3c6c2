<%inherit file="device.h.mako"/>\
<%! forgotten = "Stops the core at once, even within a burst: the other ends of the memory's buses must be reset, too." %>\
<%def name="constants()">\
<%
N, image = core.name.upper(), core.image
%>\
#define ${N}_MODULES ${len(core.config.modules)}u
#define ${N}_SENTENCES ${image.sentences}u /* that run at the same time */
#define ${N}_POSITIONS ${core.positions}u /* tokens of the longest sentence */
#define ${N}_LAYERS ${image.model.layers}u
#define ${N}_WIDTH ${image.model.width}u /* binary16 numbers of a row */
#define ${N}_ROW_BYTES ${row_bytes}u
#define ${N}_MEMORY_BYTES ${image.bytes_of_memory}u
</%def>\
<%def name="types()">\
/* A sentence: embedded rows (tokens, ${core.image.model.width}) as the bits of binary16 numbers, and where those of the last layer go. */
struct ${core.name}_sentence {
    size_t tokens;
    const uint16_t *rows;
    uint16_t *outputs;
};
</%def>\
<%def name="reach()">\
    /* ${core.name.upper()}_MEMORY_BYTES that the core sees at `address`, a multiple of 4096 below 4 GiB. */
    uint8_t *memory;
    uint32_t address;
    /* Called before and after a run where caches lie between memory and the core; NULL where none do. */
    void (*flush)(void *context);
    void (*invalidate)(void *context);
</%def>\
<%def name="functions()">\
/* Puts weights into memory: the content of image/${core.name}_weights.bin. */
enum ${core.name}_status ${core.name}_load(const struct ${core.name}_device *device, const void *weights, size_t bytes);

/* Runs up to ${core.name.upper()}_SENTENCES sentences; `programs` is the content of image/${core.name}_programs.bin. */
enum ${core.name}_status ${core.name}_run(const struct ${core.name}_device *device, const void *programs, size_t bytes,
                                  const struct ${core.name}_sentence *sentences, size_t count);
</%def>\
