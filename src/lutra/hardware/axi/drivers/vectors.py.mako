VECTORS_HEADER = struct.Struct("<8s16sIIII")


def read_vectors(path):
    """Number, rows and golden outputs of a file of vectors."""
    content = Path(path).read_bytes()
    if len(content) < VECTORS_HEADER.size:
        raise DriverError(f"{path}: not a file of vectors")
    magic, build, block, count, row_bytes, output_bytes = VECTORS_HEADER.unpack_from(content)
    if magic != b"LUTRAVEC":
        raise DriverError(f"{path}: not a file of vectors")
    if build.decode("ascii", "replace") != BUILD_HASH:
        raise DriverError(f"{path}: vectors of build {build.decode('ascii', 'replace')}, this driver is of {BUILD_HASH}")
    middle = VECTORS_HEADER.size + count * row_bytes
    if len(content) != middle + count * output_bytes:
        raise DriverError(f"{path}: {len(content)} bytes are not {count} rows and their outputs")
    rows = np.frombuffer(content[VECTORS_HEADER.size : middle], INPUT_TYPE).reshape(count, INPUT_WIDTH)
    return block, rows, np.frombuffer(content[middle:], OUTPUT_TYPE).reshape(count, OUTPUT_WIDTH)
