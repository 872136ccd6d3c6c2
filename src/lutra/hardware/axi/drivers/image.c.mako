<% N = core.name.upper() %>\
/* The bytes behind the header of a file of this build, NULL if it is none, or not whole. */
static const uint8_t *inside_image(const void *content, size_t bytes, size_t *size) {
    const uint8_t *head = (const uint8_t *)content;
    size_t place;

    if (bytes < ${image_header} || memcmp(head, "${image_magic}", 8) != 0 || memcmp(head + 8, ${N}_BUILD_HASH, 16) != 0) {
        return NULL;
    }
    *size = 0;
    for (place = ${image_header}; place > ${image_header - 4}; --place) {
        *size = *size << 8 | head[place - 1];
    }
    return *size == bytes - ${image_header} ? head + ${image_header} : NULL;
}

