// Threads for the kernels of every library.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <functional>
#include <system_error>
#include <thread>
#include <vector>

namespace lutra {

// Calls `work` on at most `threads` threads, this one among them, and returns when all have returned.
//
// OpenMP's threads are used if the process has them, as it does with PyTorch: after each of its parallel operations
// they keep their cores busy for a while, and threads of our own would have to share these.
template <class Work>
void on_threads(int64_t threads, const Work& work) {
    if (threads <= 1) return work();
    using Parallel = void (*)(void (*)(const void*), const void*, unsigned, unsigned);  // compiled OpenMP code calls it
    if (const auto parallel = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel")))
        return parallel([](const void* data) { (*static_cast<const Work*>(data))(); }, &work, unsigned(threads), 0);
    std::vector<std::thread> others;
    try {
        for (int64_t i = 1; i < threads; i++) others.emplace_back(std::cref(work));
    } catch (const std::system_error&) {
        // No more threads to be had: those that run do all the work.
    }
    work();
    for (std::thread& other : others) other.join();
}

}  // namespace lutra
