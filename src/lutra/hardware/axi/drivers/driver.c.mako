<%inherit file="device.c.mako"/>\
<%def name="functions()">\
<% N = core.name.upper() %>\
enum ${core.name}_status ${core.name}_run(const struct ${core.name}_device *device, uint32_t block, const ${core.name}_input *rows,
                                  ${core.name}_output *outputs, size_t count) {
    const size_t sent = count * ${N}_INPUT_WIDTH * sizeof *rows;
    const size_t received = count * ${N}_OUTPUT_WIDTH * sizeof *outputs;
    enum ${core.name}_status status;

    if (block >= ${N}_BLOCK_COUNT) {
        return ${N}_NO_SUCH_BLOCK;
    }
    if (count == 0) {
        return ${N}_OK;
    }
    device->write(device->context, ${N}_BLOCK, block);
    status = begin(device, ${N}_CONTROL_START);
    if (status != ${N}_OK) {
        return status;
    }
    if (device->transfer(device->context, rows, sent, outputs, received) != 0) {
        return ${N}_TRANSFER_FAILED;
    }
    status = until_done(device);
    if (status == ${N}_OK && device->read(device->context, ${N}_ROWS) != count) {
        return ${N}_HARDWARE_ERROR;
    }
    return status;
}
</%def>\
