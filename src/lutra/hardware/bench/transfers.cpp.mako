// Feeds a module with valid/ready streams, case by case, and records what leaves and when.
//
// Pass 0 never stalls; pass 1, after another reset, stalls all sources and sinks at random. Usage: testbench VECTORS
// RESULTS. Fields are set between cases, when nothing is under way.
#include <cstdint>
#include <cstdio>
#include <vector>
#include "Vtestbench.h"
#include "bench.h"

constexpr uint32_t never = 0xFFFFFFFFu;

// Never destroyed: Verilator's own statics may be gone before these.
static VerilatedContext& context = random_context();
static Vtestbench& top = *new Vtestbench{&context};

struct Case {
    uint32_t reset;  // before it
    Words fields;
    std::vector<Words> inputs;
    Words outputs;  // beats expected of each
};

static void tick() {
    top.clk_i = 1;
    top.eval();
    top.clk_i = 0;
    top.eval();
}

static void idle() {
% for name in inputs:
    top.${name}_valid_i = 0;
% endfor
% for name in outputs:
    top.${name}_ready_i = 0;
% endfor
}

static void reset() {
    idle();
    top.rst_ni = 0;
    tick();
    tick();
    top.rst_ni = 1;
}

struct Source {
    const Words& words;
    uint32_t beat_words;
    Stalls stalls;
    std::size_t next = 0;
    bool offered = false;
    Words cycles;

    template <class Port> void offer(Port& port, CData& valid, bool stalling) {
        if (!offered && next < words.size() && (!stalling || stalls.go())) offered = true;
        if (offered) put(port, &words[next]);
        valid = offered;
    }
    void taken(bool ready, uint32_t cycle) {
        if (!offered || !ready) return;
        offered = false;
        next += beat_words;
        cycles.push_back(cycle);
    }
};

struct Sink {
    uint32_t beats, beat_words;
    Stalls stalls;
    uint32_t received = 0, extra = 0, unstable = never;
    Words cycles, words, held;

    template <class Port> void look(const Port& port, bool valid, bool ready, uint32_t cycle) {
        Words data(beat_words);
        if (valid) get(port, data.data(), beat_words);
        if (!held.empty() && (!valid || data != held) && unstable == never) unstable = cycle;
        held = valid && !ready ? data : Words();
        if (!valid || !ready) return;
        if (received == beats) {
            ++extra;
            return;
        }
        ++received;
        cycles.push_back(cycle);
        words.insert(words.end(), data.begin(), data.end());
    }
};

static void run(const Case& given, bool stalling, std::FILE* results) {
    put(top.fields_i, given.fields.data());
% for index, name in enumerate(inputs):
    Source source_${name}{given.inputs[${index}], ${words(inputs[name])}, Stalls(${index + 1} + given.inputs[${index}].size())};
% endfor
% for index, name in enumerate(outputs):
    Sink sink_${name}{given.outputs[${index}], ${words(outputs[name])}, Stalls(${index + 77} + given.outputs[${index}])};
% endfor
    uint32_t quiet = 0, after = 0;
    for (uint32_t cycle = 0; quiet < ${patience} && after < ${patience_after}; ++cycle, ++quiet) {
% for name in inputs:
        source_${name}.offer(top.${name}_data_i, top.${name}_valid_i, stalling);
% endfor
% for name in outputs:
        top.${name}_ready_i = !stalling || sink_${name}.stalls.go();
% endfor
        top.eval();
% for name in inputs:
        if (top.${name}_valid_i && top.${name}_ready_o) quiet = 0;
        source_${name}.taken(top.${name}_ready_o, cycle);
% endfor
% for name in outputs:
        if (top.${name}_valid_o && top.${name}_ready_i) quiet = 0;
        sink_${name}.look(top.${name}_data_o, top.${name}_valid_o, top.${name}_ready_i, cycle);
% endfor
        if (${" && ".join(f"sink_{name}.received == sink_{name}.beats" for name in outputs)}) ++after;
        tick();
    }
    idle();
    top.eval();
    const uint32_t flags = top.flags_o;
    std::fwrite(&flags, 4, 1, results);
% for name in inputs:
    write_words(results, source_${name}.cycles);
% endfor
% for name in outputs:
    const uint32_t counts_${name}[] = {sink_${name}.extra, sink_${name}.unstable};
    std::fwrite(counts_${name}, 4, 2, results);
    write_words(results, sink_${name}.cycles);
    write_words(results, sink_${name}.words);
% endfor
}

int main(int argc, char** argv) {
    if (argc != 3) return 1;
    std::FILE* vectors = std::fopen(argv[1], "rb");
    std::FILE* results = std::fopen(argv[2], "wb");
    if (!vectors || !results) return 1;
    std::vector<Case> cases(read_word(vectors));
    for (Case& each : cases) {
        each.reset = read_word(vectors);
        each.fields.resize(${field_words});
        for (uint32_t& word : each.fields) word = read_word(vectors);
        each.inputs.resize(${len(inputs)});
        for (Words& words : each.inputs) {
            words.resize(read_word(vectors));
            for (uint32_t& word : words) word = read_word(vectors);
        }
        each.outputs.resize(${len(outputs)});
        for (uint32_t& beats : each.outputs) beats = read_word(vectors);
    }
    for (const bool stalling : {false, true}) {
        reset();
        for (const Case& each : cases) {
            if (each.reset) reset();
            run(each, stalling, results);
        }
    }
    top.final();
    return std::fclose(results);
}
