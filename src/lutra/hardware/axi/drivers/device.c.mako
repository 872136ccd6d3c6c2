<% N = core.name.upper() %>\
/* Driver of the IP core ${core.name}, build ${build_hash}, written by Lutra ${version}. */
#include "${core.name}.h"

#include <string.h>

/* How often the core is asked whether it is done. */
#define POLLS ${polls}

uint32_t ${core.name}_read_memory(void *context, uint32_t offset) {
    return ((volatile uint32_t *)context)[offset / 4u];
}

void ${core.name}_write_memory(void *context, uint32_t offset, uint32_t value) {
    ((volatile uint32_t *)context)[offset / 4u] = value;
}

enum ${core.name}_status ${core.name}_open(const struct ${core.name}_device *device) {
    if (device->read(device->context, ${N}_IDENTITY) != ${N}_IDENTITY_VALUE) {
        return ${N}_NOT_THERE;
    }
    if (device->read(device->context, ${N}_MAP_VERSION) != ${N}_MAP_VERSION_VALUE) {
        return ${N}_OTHER_MAP;
    }
    if (device->read(device->context, ${N}_BUILD_HASH_HIGH) != ${N}_BUILD_HASH_HIGH_VALUE ||
        device->read(device->context, ${N}_BUILD_HASH_LOW) != ${N}_BUILD_HASH_LOW_VALUE) {
        return ${N}_OTHER_BUILD;
    }
    return ${N}_OK;
}

/* Gives a command; what it refuses is an error at once. */
static enum ${core.name}_status begin(const struct ${core.name}_device *device, uint32_t command) {
    device->write(device->context, ${N}_CONTROL, command);
    return device->read(device->context, ${N}_ERRORS) == 0 ? ${N}_OK : ${N}_HARDWARE_ERROR;
}

static enum ${core.name}_status until_done(const struct ${core.name}_device *device) {
    long polls = 0;

    while ((device->read(device->context, ${N}_STATUS) & ${N}_STATUS_DONE) == 0) {
        if (++polls == POLLS) {
            return ${N}_NOT_DONE;
        }
    }
    return device->read(device->context, ${N}_ERRORS) == 0 ? ${N}_OK : ${N}_HARDWARE_ERROR;
}

${self.functions()}\

void ${core.name}_reset(const struct ${core.name}_device *device) {
    device->write(device->context, ${N}_CONTROL, ${N}_CONTROL_RESET);
    device->write(device->context, ${N}_ERRORS, 0xffffffffu);
}

const char *${core.name}_message(enum ${core.name}_status status) {
    switch (status) {
% for status in statuses:
    case ${N}_${status.name}:
        return "${status.what}";
% endfor
    }
    return "unknown status";
}
