// Threads for the kernels of every library.
#pragma once

#include <dlfcn.h>
#include <pthread.h>

#include <cstdint>
#include <functional>
#include <system_error>
#include <thread>
#include <vector>

namespace lutra {

// A child of fork has none of the threads that OpenMP keeps for the next time, and would wait for them for ever.
inline bool forked = false;
inline const int watching_forks = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// Calls `work` on at most `threads` threads, this one among them, and returns when all have returned.
//
// OpenMP's threads are used if the process has them, as it does with PyTorch: after each of its parallel operations
// they keep their cores busy for a while, and threads of our own would have to share these. Not in a child of fork.
template <class Work>
void on_threads(int64_t threads, const Work& work) {
    if (threads <= 1) return work();
    using Parallel = void (*)(void (*)(const void*), const void*, unsigned, unsigned);  // compiled OpenMP code calls it
    const auto parallel = forked ? nullptr : reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    if (parallel != nullptr)
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

// For a library that is loaded in a child of fork, whose parent may have used OpenMP.
extern "C" inline __attribute__((visibility("default"), used)) void lutra_in_forked_child() { lutra::forked = true; }
