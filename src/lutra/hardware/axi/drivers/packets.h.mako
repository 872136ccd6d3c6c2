    /* Sends `sent` bytes as one packet and receives one of `received` bytes, unless that is 0, with a DMA engine, say.
       0 if that went well. */
    int (*transfer)(void *context, const void *rows, size_t sent, void *outputs, size_t received);
