// A shorter way in for few tokens: a function object of Python, which gets the array objects themselves and asks for
// their memory here. Going through ctypes, or asking NumPy for an address from Python, takes as long as a whole block.
#include "block.h"
#include "export.h"

namespace lutra {
namespace {

// `Py_buffer`, `PyMethodDef` and what is called below belong to Python's stable ABI since 3.11: no header is needed.
struct PyBuffer {
    void* data;
    void* owner;
    intptr_t bytes, item_bytes;
    int read_only, dimensions;
    char* format;
    intptr_t *shape, *strides, *suboffsets;
    void* internal;
};
struct PyMethod {
    const char* name;
    void* (*function)(void* self, void* const* arguments, intptr_t count);
    int flags;
    const char* documentation;
};
constexpr int READABLE = 0, WRITABLE = 1, FAST_CALL = 0x80;

}  // namespace

extern "C" {
__attribute__((weak)) int PyObject_GetBuffer(void* object, PyBuffer* buffer, int flags);
__attribute__((weak)) void PyBuffer_Release(PyBuffer* buffer);
__attribute__((weak)) long long PyLong_AsLongLong(void* number);
__attribute__((weak)) void* PyLong_FromLong(long value);
__attribute__((weak)) void* PyCFunction_NewEx(PyMethod* method, void* self, void* module);
int64_t lutra_run_block(const Block* block, int64_t isa, const int8_t* x, char* out, int64_t tokens, int64_t threads);
}

namespace {

// run_few(address of the block, instruction set, x, out, tokens): as lutra_run_block with one thread, for C-contiguous
// array objects. Called with the GIL held; an exception is set if the objects lack memory.
void* run_few(void*, void* const* arguments, intptr_t) {
    PyBuffer source, target;
    if (PyObject_GetBuffer(arguments[2], &source, READABLE)) return nullptr;
    if (PyObject_GetBuffer(arguments[3], &target, WRITABLE)) {
        PyBuffer_Release(&source);
        return nullptr;
    }
    const auto* block = reinterpret_cast<const Block*>(PyLong_AsLongLong(arguments[0]));
    const int64_t failed = lutra_run_block(block, PyLong_AsLongLong(arguments[1]), static_cast<int8_t*>(source.data),
                                           static_cast<char*>(target.data), PyLong_AsLongLong(arguments[4]), 1);
    PyBuffer_Release(&target);
    PyBuffer_Release(&source);
    return PyLong_FromLong(failed);
}

PyMethod run_few_method = {"run_few", run_few, FAST_CALL, nullptr};

}  // namespace

// Whether this Python offers what `run_few` needs.
LUTRA_EXPORT int64_t lutra_has_buffers() {
    return PyObject_GetBuffer && PyBuffer_Release && PyLong_AsLongLong && PyLong_FromLong && PyCFunction_NewEx;
}

// `run_few` as a new function object; called with the GIL held.
LUTRA_EXPORT void* lutra_few_function() { return PyCFunction_NewEx(&run_few_method, nullptr, nullptr); }

}  // namespace lutra
