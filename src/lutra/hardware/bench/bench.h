// What every generated test bench needs: ports of any width as 32-bit words, stalls, and the files of words.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>
#include "verilated.h"

using Words = std::vector<uint32_t>;

// Registers and memories start with random values: they are drawn when `top` is made, from the context of that moment,
// which nothing that is said to it afterwards can change.
inline VerilatedContext& random_context() {
    VerilatedContext& context = *new VerilatedContext;
    context.randReset(2);
    context.randSeed(1);
    Verilated::threadContextp(&context);
    return context;
}

static void put(CData& port, const uint32_t* words) { port = static_cast<CData>(words[0]); }
static void put(SData& port, const uint32_t* words) { port = static_cast<SData>(words[0]); }
static void put(IData& port, const uint32_t* words) { port = words[0]; }
static void put(QData& port, const uint32_t* words) { port = words[0] | static_cast<QData>(words[1]) << 32; }
template <std::size_t N>
static void put(VlWide<N>& port, const uint32_t* words) {
    for (std::size_t i = 0; i < N; ++i) port[i] = words[i];
}
static void get(QData port, uint32_t* words, int count) {
    for (int i = 0; i < count; ++i) words[i] = static_cast<uint32_t>(port >> (32 * i));
}
template <std::size_t N>
static void get(const VlWide<N>& port, uint32_t* words, int count) {
    for (int i = 0; i < count; ++i) words[i] = port[i];
}

struct Random {  // xorshift64*
    uint64_t state;
    explicit Random(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15u + 1) {}
    uint32_t next() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return static_cast<uint32_t>((state * 0x2545F4914F6CDD1Du) >> 32);
    }
};

// When one side of a stream is ready. The rate is drawn in the first cycle, never as all of them, and anew after at
// most 32 cycles; in bursts the side is ready always and never by turns; a slow one is ready in a cycle of eight.
struct Stalls {
    enum Style { none, drawn, bursts, slow };
    Random random;
    Style style;
    uint32_t eighths = 8, left = 0;
    bool first = true;
    explicit Stalls(uint64_t seed, Style style = drawn) : random(seed), style(style) {}
    bool go() {
        if (style == none) return true;
        if (left == 0) draw();
        --left;
        return random.next() % 8 < eighths;
    }
    // For how many cycles the side holds back its first beat, whatever the rate: at least once, unless it never stalls.
    uint32_t hold() { return style == none ? 0 : 1 + random.next() % 8; }

private:
    void draw() {
        static const uint32_t rates[] = {1, 4, 7, 8};
        const uint32_t again = random.next() % (first ? 3 : 4);
        eighths = style == drawn ? rates[again] : style == slow ? 1 : eighths ? 0 : 8;
        left = 1 + random.next() % 32;
        first = false;
    }
};

static void write_words(std::FILE* file, const Words& words) {
    const uint32_t count = static_cast<uint32_t>(words.size());
    std::fwrite(&count, 4, 1, file);
    if (count) std::fwrite(words.data(), 4, count, file);
}

static uint32_t read_word(std::FILE* file) {
    uint32_t word;
    if (std::fread(&word, 4, 1, file) != 1) {
        std::fprintf(stderr, "the vectors end too early\n");
        std::exit(1);
    }
    return word;
}
