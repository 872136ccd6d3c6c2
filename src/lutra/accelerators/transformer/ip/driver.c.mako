<%inherit file="device.c.mako"/>\
<%def name="functions()">\
<%
N, c = core.name.upper(), core.config
whole = not core.tokens
%>\
<%include file="image.c.mako"/>\
enum ${core.name}_status ${core.name}_load(const struct ${core.name}_device *device, const void *content, size_t bytes) {
    size_t size = 0;
    const uint8_t *words = inside_image(content, bytes, &size);
    enum ${core.name}_status status;

    if (words == NULL) {
        return ${N}_OTHER_IMAGE;
    }
    status = begin(device, ${N}_CONTROL_LOAD);
    if (status != ${N}_OK) {
        return status;
    }
    if (device->transfer(device->context, words, size, NULL, 0) != 0) {
        return ${N}_TRANSFER_FAILED;
    }
    status = until_done(device);
    if (status == ${N}_OK && ((device->read(device->context, ${N}_STATUS) & ${N}_STATUS_LOADED) == 0 ||
                          device->read(device->context, ${N}_IMAGE_SUM) != ${N}_RIGHT_IMAGE_SUM)) {
        return ${N}_NOT_LOADED;
    }
    return status;
}

/* Sends the input of a call of so many rows, and puts its logits in order: they come row tile by row tile, in it columns
   of the array after columns of the array, in them row by row. */
static enum ${core.name}_status call(const struct ${core.name}_device *device, const void *input, size_t bytes, size_t rows,
                             size_t logit_rows, int16_t *packet, int16_t *logits) {
    enum ${core.name}_status status = begin(device, ${N}_CONTROL_START);
    size_t first, row, column;

    if (status != ${N}_OK) {
        return status;
    }
    if (device->transfer(device->context, input, bytes, packet, logit_rows * ${N}_LOGIT_COLUMNS * sizeof *packet) != 0) {
        return ${N}_TRANSFER_FAILED;
    }
    status = until_done(device);
    if (status != ${N}_OK) {
        return status;
    }
    if (device->read(device->context, ${N}_ROWS) != rows) {
        return ${N}_HARDWARE_ERROR;
    }
    for (first = 0; first < logit_rows; first += ${N}_SIZE) {
        const int16_t *tile = packet + first * ${N}_LOGIT_COLUMNS;
        const size_t height = logit_rows - first < ${N}_SIZE ? logit_rows - first : ${N}_SIZE;

        for (row = 0; row < height; ++row) {
            for (column = 0; column < ${N}_LOGITS; ++column) {
                logits[(first + row) * ${N}_LOGITS + column] =
                    tile[(column / ${N}_SIZE * height + row) * ${N}_SIZE + column % ${N}_SIZE];
            }
        }
    }
    return ${N}_OK;
}

% if core.tokens:
enum ${core.name}_status ${core.name}_feed(const struct ${core.name}_device *device, const uint16_t *tokens, size_t count,
                                   size_t past, struct ${core.name}_packets *packets, int16_t *logits) {
    size_t i;

    if (count == 0 || count > ${N}_LONGEST || past > ${N}_LONGEST - count) {
        return ${N}_WRONG_INPUT;
    }
    for (i = 0; i < count; ++i) {
        if (tokens[i] >= ${N}_TOKENS) {
            return ${N}_WRONG_INPUT;
        }
    }
    device->write(device->context, ${N}_CALL, (uint32_t)count | (uint32_t)past << 16);
    return call(device, tokens, count * sizeof *tokens, count, ${f"{core.logits.rows}u" if core.logits.rows else "count"}, packets->logits, logits);
}
% else:
enum ${core.name}_status ${core.name}_run(const struct ${core.name}_device *device, const uint8_t *image,
                                  struct ${core.name}_packets *packets, int16_t *logits) {
    const size_t columns = ${N}_WIDTH / ${N}_PATCH;
    size_t patch, channel, y, x;

    memset(packets->patches, 0, sizeof packets->patches);
    for (patch = 0; patch < ${N}_PATCHES; ++patch) {
        const size_t top = patch / columns * ${N}_PATCH, left = patch % columns * ${N}_PATCH;

        for (channel = 0; channel < ${N}_CHANNELS; ++channel) {
            for (y = 0; y < ${N}_PATCH; ++y) {
                for (x = 0; x < ${N}_PATCH; ++x) {
                    packets->patches[patch * ${N}_PATCH_WIDTH + (channel * ${N}_PATCH + y) * ${N}_PATCH + x] =
                        image[((top + y) * ${N}_WIDTH + left + x) * ${N}_CHANNELS + channel];
                }
            }
        }
    }
    return call(device, packets->patches, sizeof packets->patches, ${N}_PATCHES, ${core.logits.rows or core.rows}u, packets->logits, logits);
}
% endif
</%def>\
