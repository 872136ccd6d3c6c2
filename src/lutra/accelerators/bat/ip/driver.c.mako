<%inherit file="device.c.mako"/>\
<%def name="functions()">\
<%
N, image = core.name.upper(), core.image
sentences, lengths, steps, size = programs
per_layer = (steps - 1) // image.model.layers
two = len(core.config.modules) == 2
parts = [(0, attention_steps), (attention_steps, per_layer - attention_steps)] if two else [(0, per_layer)]
%>\
#define INSTRUCTION_BYTES ${size}u
#define STEPS ${steps}u       /* of a sentence: one before the layers, then those of each layer */
#define LAYER_STEPS ${per_layer}u

<%include file="image.c.mako"/>\
static const uint32_t row_places[${N}_SENTENCES] = {${", ".join(f"{image.row_addresses(s)[0]}u" for s in range(sentences))}};

enum ${core.name}_status ${core.name}_load(const struct ${core.name}_device *device, const void *weights, size_t bytes) {
    size_t size = 0;
    const uint8_t *content = inside_image(weights, bytes, &size);

    if (content == NULL || size > ${N}_MEMORY_BYTES) {
        return ${N}_OTHER_IMAGE;
    }
    memcpy(device->memory, content, size);
    return ${N}_OK;
}

/* Appends so many steps of a sentence, from the step `first` on, to a program; its new end. */
static uint8_t *append(uint8_t *end, const uint8_t *instructions, size_t first, size_t number) {
    memcpy(end, instructions + first * INSTRUCTION_BYTES, number * INSTRUCTION_BYTES);
    return end + number * INSTRUCTION_BYTES;
}

/* The instructions of a sentence in this place with so many tokens. */
static const uint8_t *of_sentence(const uint8_t *instructions, size_t place, size_t tokens) {
    return instructions + (place * ${N}_POSITIONS + tokens - 1) * STEPS * INSTRUCTION_BYTES;
}

/* Writes a module's program, in which the sentences take turns layer by layer: of each layer so many steps from `first`
   on, before them the sentences' first ones where the module is the first. */
static void put_program(uint8_t *end, const uint8_t *instructions, const struct ${core.name}_sentence *sentences, size_t count,
                        size_t first, size_t number) {
    size_t sentence, layer;

    for (sentence = 0; first == 0 && sentence < count; ++sentence) {
        end = append(end, of_sentence(instructions, sentence, sentences[sentence].tokens), 0, 1);
    }
    for (layer = 0; layer < ${N}_LAYERS; ++layer) {
        for (sentence = 0; sentence < count; ++sentence) {
            const uint8_t *from = of_sentence(instructions, sentence, sentences[sentence].tokens);

            end = append(end, from, 1 + layer * LAYER_STEPS + first, number);
        }
    }
    end[-(int)INSTRUCTION_BYTES + ${last_flag[0]}] |= ${1 << last_flag[1]}; /* the last one */
}

enum ${core.name}_status ${core.name}_run(const struct ${core.name}_device *device, const void *programs, size_t bytes,
                                  const struct ${core.name}_sentence *sentences, size_t count) {
    size_t size = 0, i, row;
    const uint8_t *instructions = inside_image(programs, bytes, &size);
    enum ${core.name}_status status;

    if (instructions == NULL || size != ${N}_SENTENCES * ${N}_POSITIONS * STEPS * INSTRUCTION_BYTES) {
        return ${N}_OTHER_IMAGE;
    }
    if (count == 0 || count > ${N}_SENTENCES) {
        return ${N}_WRONG_INPUT;
    }
    for (i = 0; i < count; ++i) {
        if (sentences[i].tokens == 0 || sentences[i].tokens > ${N}_POSITIONS) {
            return ${N}_WRONG_INPUT;
        }
    }
    for (i = 0; i < count; ++i) {
        for (row = 0; row < sentences[i].tokens; ++row) {
            uint8_t *place = device->memory + row_places[i] + row * ${N}_ROW_BYTES;

            memset(place, 0, ${N}_ROW_BYTES);
            memcpy(place, sentences[i].rows + row * ${N}_WIDTH, 2u * ${N}_WIDTH);
        }
    }
% for (first, number), address in zip(parts, image.program_addresses):
    put_program(device->memory + ${address}u, instructions, sentences, count, ${first}u, ${number}u);
% endfor
    if (device->flush != NULL) {
        device->flush(device->context);
    }
    device->write(device->context, ${N}_MEMORY, device->address);
% for address in image.program_addresses:
    device->write(device->context, ${N}_PROGRAM_${loop.index}, ${address}u);
% endfor
    status = begin(device, ${N}_CONTROL_START);
    if (status == ${N}_OK) {
        status = until_done(device);
    }
    if (status != ${N}_OK) {
        return status;
    }
    if (device->invalidate != NULL) {
        device->invalidate(device->context);
    }
    for (i = 0; i < count; ++i) {
        for (row = 0; row < sentences[i].tokens; ++row) {
            memcpy(sentences[i].outputs + row * ${N}_WIDTH, device->memory + row_places[i] + row * ${N}_ROW_BYTES, 2u * ${N}_WIDTH);
        }
    }
    return ${N}_OK;
}
</%def>\
