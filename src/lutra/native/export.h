// How a function of a library gets its name in C.
#pragma once

#define LUTRA_EXPORT extern "C" __attribute__((visibility("default")))
