<% N = core.name.upper() %>\
/* The bytes behind the header of a file of this build, NULL if it is none, or not whole. */
static const uint8_t *inside_image(const void *content, size_t bytes, size_t *size) {
    const uint8_t *head = (const uint8_t *)content;

    if (bytes < ${image_header} || memcmp(head, "${image_magic}", 8) != 0 || memcmp(head + 8, ${N}_BUILD_HASH, 16) != 0) {
        return NULL;
    }
    *size = head[24] | (size_t)head[25] << 8 | (size_t)head[26] << 16 | (size_t)head[27] << 24;
    return *size == bytes - ${image_header} ? head + ${image_header} : NULL;
}

