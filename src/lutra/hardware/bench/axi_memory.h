// External memory behind an AXI4 port, for test benches: fixed latency and bandwidth, or random stalls.
//
// Reads: the first beat of a burst is offered `latency` cycles after its address was taken, the next ones every `gap`
// cycles, bursts in their order. Writes: a beat is taken at most every `gap` cycles; a burst is confirmed `latency`
// cycles after its last beat. With stalls every one of these waits longer at random. In each cycle `drive` comes first,
// which sets what the memory shows, and after the design has answered `step`, which takes what it shows. What AXI4
// forbids is a problem.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>
#include "bench.h"

struct AxiBurst {
    uint64_t address;
    uint32_t left;   // beats
    uint64_t ready;  // cycle from which on the next beat can be offered
};

// What both directions check of an address.
struct AxiAddress {
    bool offered = false;
    uint64_t address = 0;
    uint32_t length = 0;

    // The first thing that is wrong with an address channel in this cycle, or nothing.
    const char* check(bool valid, uint64_t at, uint32_t len, uint32_t size, uint32_t burst, uint32_t beat_bytes,
                      std::size_t memory_bytes) {
        const char* problem = nullptr;
        if (offered && (!valid || at != address || len != length)) problem = "an address changed before it was taken";
        offered = valid;
        address = at;
        length = len;
        if (!valid) return problem;
        const uint64_t end = at + static_cast<uint64_t>(beat_bytes) * (len + 1);
        if (at % beat_bytes) problem = "an address is not aligned to a beat";
        if (at / 4096 != (end - 1) / 4096) problem = "a burst crosses 4 kB";
        if (end > memory_bytes) problem = "a burst goes beyond the memory";
        if (1u << size != beat_bytes || burst != 1) problem = "a burst has another size or type";
        return problem;
    }
};

class AxiReadPort {
public:
    AxiReadPort(const std::vector<uint32_t>& words, uint32_t beat_bytes, uint32_t latency, uint32_t gap, uint64_t seed)
        : words_(words), beat_bytes_(beat_bytes), latency_(latency), gap_(gap), stalls_(seed) {}

    std::string problem;
    std::size_t most_bursts = 0;  // that were under way at the same time

    template <class Data>
    void drive(bool stalling, uint8_t& arready, uint8_t& rvalid, Data& rdata, uint8_t& rlast) {
        arready = !stalling || stalls_.go();
        arready_ = arready;
        if (!bursts_.empty() && !valid_) valid_ = cycle_ >= bursts_.front().ready && (!stalling || stalls_.go());
        rvalid = valid_;
        rlast = valid_ && bursts_.front().left == 1;
        if (valid_) put(rdata, &words_[bursts_.front().address / 4]);
    }

    void step(bool arvalid, uint64_t address, uint32_t len, uint32_t size, uint32_t burst, bool rready) {
        const char* found = address_.check(arvalid, address, len, size, burst, beat_bytes_, 4 * words_.size());
        if (found && problem.empty()) problem = found;
        if (valid_ && rready) {
            valid_ = false;
            AxiBurst& first = bursts_.front();
            first.address += beat_bytes_;
            next_ = cycle_ + gap_;
            if (!--first.left) bursts_.pop_front();
            if (!bursts_.empty()) bursts_.front().ready = std::max(bursts_.front().ready, next_);
        }
        if (arvalid && arready_ && problem.empty()) {
            address_.offered = false;
            bursts_.push_back({address, len + 1, std::max(cycle_ + latency_, next_)});
            most_bursts = std::max(most_bursts, bursts_.size());
        }
        ++cycle_;
    }

private:
    const std::vector<uint32_t>& words_;
    uint32_t beat_bytes_, latency_, gap_;
    Stalls stalls_;
    AxiAddress address_;
    std::deque<AxiBurst> bursts_;
    bool arready_ = false, valid_ = false;
    uint64_t cycle_ = 0, next_ = 0;  // cycle from which on the port can offer a beat
};

class AxiWritePort {
public:
    AxiWritePort(std::vector<uint32_t>& words, uint32_t beat_bytes, uint32_t latency, uint32_t gap, uint64_t seed)
        : words_(words), beat_bytes_(beat_bytes), latency_(latency), gap_(gap), stalls_(seed) {}

    std::string problem;
    std::size_t most_bursts = 0;

    void drive(bool stalling, uint8_t& awready, uint8_t& wready, uint8_t& bvalid) {
        awready = awready_ = !stalling || stalls_.go();
        // A beat that comes before its address is taken would be AXI4; our designs do not send one.
        wready = wready_ = !bursts_.empty() && cycle_ >= free_ && (!stalling || stalls_.go());
        if (!confirmations_.empty() && !confirming_) {
            confirming_ = cycle_ >= confirmations_.front() && (!stalling || stalls_.go());
        }
        bvalid = confirming_;
    }

    template <class Data, class Strobe>
    void step(bool awvalid, uint64_t address, uint32_t len, uint32_t size, uint32_t burst, bool wvalid,
              const Data& wdata, const Strobe& wstrb, bool wlast, bool bready) {
        const char* found = address_.check(awvalid, address, len, size, burst, beat_bytes_, 4 * words_.size());
        if (wvalid && bursts_.empty()) found = "a beat without an address";
        if (wvalid && wready_ && problem.empty() && !found) {
            AxiBurst& first = bursts_.front();
            if (wlast != (first.left == 1)) found = "the last beat of a burst is not marked, or another is";
            uint32_t data[32], strobes[1];
            get(wdata, data, static_cast<int>(beat_bytes_ / 4));
            get(wstrb, strobes, 1);
            uint8_t* bytes = reinterpret_cast<uint8_t*>(words_.data()) + first.address;
            for (uint32_t i = 0; i < beat_bytes_; ++i) {
                if (strobes[0] >> i & 1) bytes[i] = reinterpret_cast<uint8_t*>(data)[i];
            }
            first.address += beat_bytes_;
            free_ = cycle_ + gap_;
            if (!--first.left) {
                bursts_.pop_front();
                confirmations_.push_back(cycle_ + latency_);
            }
        }
        if (found && problem.empty()) problem = found;
        if (confirming_ && bready) {
            confirming_ = false;
            confirmations_.pop_front();
        }
        if (awvalid && awready_ && problem.empty()) {
            address_.offered = false;
            bursts_.push_back({address, len + 1, 0});
            most_bursts = std::max(most_bursts, bursts_.size() + confirmations_.size());
        }
        ++cycle_;
    }

private:
    std::vector<uint32_t>& words_;
    uint32_t beat_bytes_, latency_, gap_;
    Stalls stalls_;
    AxiAddress address_;
    std::deque<AxiBurst> bursts_;
    std::deque<uint64_t> confirmations_;
    bool awready_ = false, wready_ = false, confirming_ = false;
    uint64_t cycle_ = 0, free_ = 0;
};
