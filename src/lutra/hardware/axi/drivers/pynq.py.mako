def on_pynq(overlay, ip=f"{NAME}_0", dma="axi_dma_0", seconds=10.0):
    """The accelerator in a loaded overlay of PYNQ, behind its DMA engine; the names are those of the block design.

    A packet may take so many seconds.
    """
    from pynq import MMIO, allocate

    if ip not in overlay.ip_dict:
        raise DriverError(f"{NAME}: no {ip} in this overlay; it has {', '.join(sorted(overlay.ip_dict))}")
    place = overlay.ip_dict[ip]
    engine = getattr(overlay, dma)

    def transfer(rows, outputs):
        sent = allocate(rows.shape, rows.dtype)
        received = None if outputs is None else allocate(outputs.shape, outputs.dtype)
        try:
            sent[:] = rows
            if received is not None:
                engine.recvchannel.transfer(received)
            engine.sendchannel.transfer(sent)
            engine.sendchannel.wait()
            if received is not None:
                engine.recvchannel.wait()
                outputs[:] = received
        finally:
            sent.freebuffer()
            if received is not None:
                received.freebuffer()

    return Accelerator(MMIO(place["phys_addr"], place["addr_range"]), transfer, seconds)
