<% N = core.name.upper() %>\
/* Driver of the IP core ${core.name}, build ${build_hash}, written by Lutra ${version}. */
#ifndef ${N}_H
#define ${N}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ${N}_BUILD_HASH "${build_hash}"
#define ${N}_BLOCK_COUNT ${len(core.members)}u
#define ${N}_INPUT_WIDTH ${core.input.width}u
#define ${N}_OUTPUT_WIDTH ${core.output.width}u

<%include file="registers.h.mako"/>
typedef ${core.input.c_type} ${core.name}_input;   /* an element of a row */
typedef ${core.output.c_type} ${core.name}_output; /* an element of a row of outputs */

/* What the driver needs of a platform; every function gets `context`. */
struct ${core.name}_device {
    void *context;
    /* A register at a byte offset. */
    uint32_t (*read)(void *context, uint32_t offset);
    void (*write)(void *context, uint32_t offset, uint32_t value);
    /* Sends `sent` bytes as one packet and receives one of `received` bytes, with a DMA engine, say. 0 if that went well. */
    int (*transfer)(void *context, const void *rows, size_t sent, void *outputs, size_t received);
};

enum ${core.name}_status {
    ${N}_OK = 0,
    ${N}_NOT_THERE,       /* something else is at the address */
    ${N}_OTHER_MAP,       /* the hardware's register map has another version */
    ${N}_OTHER_BUILD,     /* the hardware is of another build than this driver */
    ${N}_NO_SUCH_BLOCK,   /* the block's index is too large */
    ${N}_TRANSFER_FAILED, /* the platform could not move the packets */
    ${N}_NOT_DONE,        /* the core has not finished though the packets have passed */
    ${N}_HARDWARE_ERROR   /* the core's register of errors says why */
};

/* Whether the hardware is the one that this driver was made with. */
enum ${core.name}_status ${core.name}_open(const struct ${core.name}_device *device);

/* Sends `count` rows through a block: (count, ${core.input.width}) elements, outputs (count, ${core.output.width}). */
enum ${core.name}_status ${core.name}_run(const struct ${core.name}_device *device, uint32_t block, const ${core.name}_input *rows,
                                  ${core.name}_output *outputs, size_t count);

/* Forgets everything inside the core, and its errors. */
void ${core.name}_reset(const struct ${core.name}_device *device);

/* A status in words. */
const char *${core.name}_message(enum ${core.name}_status status);

/* Registers that are memory: `context` is their address. */
uint32_t ${core.name}_read_memory(void *context, uint32_t offset);
void ${core.name}_write_memory(void *context, uint32_t offset, uint32_t value);

#ifdef __cplusplus
}
#endif

#endif
