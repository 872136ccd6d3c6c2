<% N = core.name.upper() %>\
/* Driver of the IP core ${core.name}, build ${build_hash}, written by Lutra ${version}. */
#include "${core.name}.h"

/* How often the end of a packet is asked for after the packets have passed. */
#define POLLS 1000000

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

enum ${core.name}_status ${core.name}_run(const struct ${core.name}_device *device, uint32_t block, const ${core.name}_input *rows,
                                  ${core.name}_output *outputs, size_t count) {
    const size_t sent = count * ${N}_INPUT_WIDTH * sizeof *rows;
    const size_t received = count * ${N}_OUTPUT_WIDTH * sizeof *outputs;
    long polls = 0;

    if (block >= ${N}_BLOCK_COUNT) {
        return ${N}_NO_SUCH_BLOCK;
    }
    if (count == 0) {
        return ${N}_OK;
    }
    device->write(device->context, ${N}_BLOCK, block);
    device->write(device->context, ${N}_CONTROL, ${N}_CONTROL_START);
    if (device->read(device->context, ${N}_ERRORS) != 0) {
        return ${N}_HARDWARE_ERROR;
    }
    if (device->transfer(device->context, rows, sent, outputs, received) != 0) {
        return ${N}_TRANSFER_FAILED;
    }
    while ((device->read(device->context, ${N}_STATUS) & ${N}_STATUS_DONE) == 0) {
        if (++polls == POLLS) {
            return ${N}_NOT_DONE;
        }
    }
    if (device->read(device->context, ${N}_ERRORS) != 0 || device->read(device->context, ${N}_ROWS) != count) {
        return ${N}_HARDWARE_ERROR;
    }
    return ${N}_OK;
}

void ${core.name}_reset(const struct ${core.name}_device *device) {
    device->write(device->context, ${N}_CONTROL, ${N}_CONTROL_RESET);
    device->write(device->context, ${N}_ERRORS, 0xffffffffu);
}

const char *${core.name}_message(enum ${core.name}_status status) {
    switch (status) {
    case ${N}_OK:
        return "it went well";
    case ${N}_NOT_THERE:
        return "no accelerator of Lutra at this address";
    case ${N}_OTHER_MAP:
        return "the hardware's register map has another version than this driver's";
    case ${N}_OTHER_BUILD:
        return "the hardware is of another build than this driver, ${build_hash}; take the driver that came with it";
    case ${N}_NO_SUCH_BLOCK:
        return "there is no such block";
    case ${N}_TRANSFER_FAILED:
        return "the packets could not be moved";
    case ${N}_NOT_DONE:
        return "not done though the packets have passed; reset it";
    case ${N}_HARDWARE_ERROR:
        return "the core's register of errors, or of rows, says what went wrong";
    }
    return "unknown status";
}
