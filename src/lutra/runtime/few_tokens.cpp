// A shorter way in for few tokens: ctypes passes the array objects themselves, and their memory is asked for here.
// Asking NumPy for an address from Python takes longer (2 us) than the whole block. Called with the GIL held.
#include "block.h"
#include "memory.h"

namespace {

// `Py_buffer` and `PyObject_GetBuffer` belong to Python's stable ABI since 3.11; no Python headers are needed.
struct PyBuffer {
    void* data;
    void* owner;
    intptr_t bytes, item_bytes;
    int read_only, dimensions;
    char* format;
    intptr_t *shape, *strides, *suboffsets;
    void* internal;
};
constexpr int kReadable = 0, kWritable = 1;

}  // namespace

extern "C" {
__attribute__((weak)) int PyObject_GetBuffer(void* object, PyBuffer* buffer, int flags);
__attribute__((weak)) void PyBuffer_Release(PyBuffer* buffer);
int64_t lutra_run_block(const Block* block, int64_t isa, const int8_t* x, char* out, int64_t tokens,
                        int64_t threads);
}

// Whether this Python offers what `lutra_run_few` needs.
LUTRA_EXPORT int64_t lutra_has_buffers() { return PyObject_GetBuffer && PyBuffer_Release; }

// As lutra_run_block with one thread, for C-contiguous array objects; -1 with a Python exception set if they lack memory.
LUTRA_EXPORT int64_t lutra_run_few(const Block* block, int64_t isa, void* x, void* out, int64_t tokens) {
    PyBuffer source, target;
    if (PyObject_GetBuffer(x, &source, kReadable)) return -1;
    if (PyObject_GetBuffer(out, &target, kWritable)) {
        PyBuffer_Release(&source);
        return -1;
    }
    const int64_t failed = lutra_run_block(block, isa, static_cast<const int8_t*>(source.data),
                                           static_cast<char*>(target.data), tokens, 1);
    PyBuffer_Release(&target);
    PyBuffer_Release(&source);
    return failed;
}
