<% N = core.name.upper() %>\
/* Driver of the IP core ${core.name}, build ${build_hash}, written by Lutra ${version}.
 *
 * Numbers lie in memory as the core has them: the platform must be little endian. */
#ifndef ${N}_H
#define ${N}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ${N}_BUILD_HASH "${build_hash}"
${self.constants()}\

<%include file="registers.h.mako"/>
${self.types()}\

/* What the driver needs of a platform; every function gets `context`. */
struct ${core.name}_device {
    void *context;
    /* A register at a byte offset. */
    uint32_t (*read)(void *context, uint32_t offset);
    void (*write)(void *context, uint32_t offset, uint32_t value);
${self.reach()}\
};

enum ${core.name}_status {
% for status in statuses:
    ${N}_${status.name}${"" if loop.last else ","} /* ${status.what} */
% endfor
};

/* Whether the hardware is the one that this driver was made with. */
enum ${core.name}_status ${core.name}_open(const struct ${core.name}_device *device);

${self.functions()}\

/* ${self.attr.forgotten} */
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
