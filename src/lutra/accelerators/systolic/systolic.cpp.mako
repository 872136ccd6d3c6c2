// Feeds a systolic array with the products of a file, one after the other, and writes results and cycles.
//
// Pass 0 never stalls. Before pass 1 the array is reset in the middle of other operands; all passes from there on stall
// sources, sink or both. Usage: testbench VECTORS RESULTS
#include <cstdint>
#include <cstdio>
#include <vector>
#include "Vtestbench.h"
#include "bench.h"

constexpr uint32_t operand_words = ${operand_words}, result_words = ${result_words};
constexpr uint32_t never = 0xFFFFFFFFu;

struct Pass {
    Stalls::Style source, sink;
    bool is_short;
};
static const Pass passes[] = {
% for each in passes:
    {Stalls::${each.source}, Stalls::${each.sink}, ${"true" if each.short else "false"}},  // ${each.name}
% endfor
};

// Never destroyed: Verilator's own statics may be gone before these.
static VerilatedContext& context = random_context();
static Vtestbench& top = *new Vtestbench{&context};

struct Product {
    uint32_t inner, column_tiles, multiplier, activate, is_short, result_beats;
    Words a, b;
};

static void tick() {
    top.clk_i = 1;
    top.eval();
    top.clk_i = 0;
    top.eval();
}

static void reset() {
    top.a_valid_i = top.b_valid_i = top.y_ready_i = 0;
    top.rst_ni = 0;
    tick();
    tick();
    top.rst_ni = 1;
}

static void configure(const Product& product) {
    top.inner_i = product.inner;
    top.column_tiles_i = product.column_tiles;
    top.multiplier_i = product.multiplier;
% if activated:
    top.activate_i = product.activate;
% endif
}

// Leaves the array in the middle of something, so that a register that the reset forgets shows up.
static void disturb(const Product& product) {
    configure(product);
    Random random(product.inner);
    for (uint32_t cycle = 0; cycle < 5 * product.inner + 40; ++cycle) {
        put(top.a_data_i, &product.a[random.next() % (product.a.size() / operand_words) * operand_words]);
        put(top.b_data_i, &product.b[random.next() % (product.b.size() / operand_words) * operand_words]);
        top.a_valid_i = top.b_valid_i = 1;
        top.y_ready_i = random.next() & 1;
        top.eval();
        tick();
    }
}

// A source of operand beats: offers one until it is taken.
struct Source {
    const Words& words;
    Stalls stalls;
    uint32_t hold, stalled = 0;
    std::size_t next = 0;
    bool offered = false;

    Source(const Words& words, Stalls stalls) : words(words), stalls(stalls), hold(this->stalls.hold()) {}
    template <class Port> void offer(Port& port, CData& valid) {
        if (!offered && next < words.size()) {
            if (stalls.go() && stalled >= hold) {
                offered = true;
                put(port, &words[next]);
            } else {
                ++stalled;
            }
        }
        valid = offered;
    }
    bool taken(bool ready) {
        if (!offered || !ready) return false;
        offered = false;
        next += operand_words;
        return true;
    }
};

// Results go to `results`: cycles, first cycle with an unstable result, extra beats, stalled cycles of sources and sink,
// words.
static void run(const Product& product, uint32_t seed, int pass, std::FILE* results) {
    configure(product);
    const uint64_t own = (static_cast<uint64_t>(seed) << 40) + 4 * product.a.size() * (pass + 1);
    Source a(product.a, Stalls(own + 1, passes[pass].source)), b(product.b, Stalls(own + 2, passes[pass].source));
    Stalls sink(own + 3, passes[pass].sink);
    const uint32_t sink_hold = sink.hold();
    uint32_t sink_stalled = 0;
    const uint32_t patience = 1000 + 16 * (product.inner + ${config.size ** 2});
    uint32_t first = never, last = 0, unstable = never, extra = 0, received = 0, idle = 0, after = 0;
    Words output, data(result_words), held;
    // A few cycles after the last result show whether more come.
    for (uint32_t cycle = 0; idle < patience && after < ${4 * config.size}; ++cycle, ++idle) {
        a.offer(top.a_data_i, top.a_valid_i);
        b.offer(top.b_data_i, top.b_valid_i);
        top.y_ready_i = sink.go() && sink_stalled >= sink_hold;
        top.eval();
        const bool a_taken = a.taken(top.a_ready_o), b_taken = b.taken(top.b_ready_o);
        if ((a_taken || b_taken) && first == never) first = cycle;
        if (a_taken || b_taken) idle = 0;
        if (top.y_valid_o) get(top.y_data_o, data.data(), result_words);
        if (!held.empty() && (!top.y_valid_o || data != held) && unstable == never) unstable = cycle;
        held = top.y_valid_o && !top.y_ready_i ? data : Words();
        sink_stalled += !held.empty();
        if (top.y_valid_o && top.y_ready_i) {
            idle = 0;
            if (received == product.result_beats) {
                ++extra;
            } else {
                ++received;
                last = cycle;
                output.insert(output.end(), data.begin(), data.end());
            }
        }
        if (received == product.result_beats) ++after;
        tick();
    }
    const uint32_t cycles = first == never ? 0 : last - first + 1;
    const uint32_t counts[] = {cycles, unstable, extra, a.stalled + b.stalled, sink_stalled};
    std::fwrite(counts, 4, 5, results);
    write_words(results, output);
}

int main(int argc, char** argv) {
    if (argc != 3) return 1;
    std::FILE* vectors = std::fopen(argv[1], "rb");
    std::FILE* results = std::fopen(argv[2], "wb");
    if (!vectors || !results) return 1;
    const uint32_t seed = read_word(vectors);
    std::vector<Product> products(read_word(vectors));
    for (Product& product : products) {
        product.inner = read_word(vectors);
        product.column_tiles = read_word(vectors);
        product.multiplier = read_word(vectors);
        product.activate = read_word(vectors);
        product.is_short = read_word(vectors);
        product.result_beats = read_word(vectors);
        for (Words* words : {&product.a, &product.b}) {
            words->resize(read_word(vectors));
            for (uint32_t& word : *words) word = read_word(vectors);
        }
    }
    for (int pass = 0; pass < ${len(passes)}; ++pass) {
        reset();
        if (pass == 1) {
            disturb(products[0]);
            reset();
        }
        for (const Product& product : products) {
            if (product.is_short || !passes[pass].is_short) run(product, seed, pass, results);
        }
    }
    top.final();
    return std::fclose(results);
}
