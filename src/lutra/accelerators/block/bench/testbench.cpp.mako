// Feeds every block of lutra_testbench_top from a file of input beats and writes what comes out, with cycles.
//
// Pass 0 never stalls. Before pass 1 the blocks are reset in the middle of other rows; all passes from there on stall
// source, sink or both. Usage: testbench VECTORS RESULTS [PROBES WAVEFORM PASS FIRST_CYCLE LAST_CYCLE]
<%
trace = bool(probes)
%>\
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>
#include "Vtestbench.h"
#include "bench.h"
% if trace:
#include "verilated_vcd_c.h"
% endif

struct Shape {
    uint32_t input_beats, input_words, output_beats, output_words;
};
static const Shape shapes[] = {
% for plan in plans:
    {${plan.schedule.input_beats}, ${input_words(plan)}, ${plan.schedule.output_beats}, ${output_words(plan)}},  // ${plan.name}
% endfor
};
constexpr int blocks = ${len(plans)};
constexpr uint32_t never = 0xFFFFFFFFu;

struct Pass {
    Stalls::Style source, sink;
    uint32_t most_rows;
};
static const Pass passes[] = {
% for each in passes:
    {Stalls::${each.source}, Stalls::${each.sink}, ${short_rows if each.short else "never"}},  // ${each.name}
% endfor
};

// Never destroyed: Verilator's own statics may be gone before these.
static VerilatedContext& context = random_context();
static Vtestbench& top = *new Vtestbench{&context};
static CData* const x_valid[] = {${", ".join(f"&top.x_valid_{k}_i" for k in range(len(plans)))}};
static CData* const x_ready[] = {${", ".join(f"&top.x_ready_{k}_o" for k in range(len(plans)))}};
static CData* const y_valid[] = {${", ".join(f"&top.y_valid_{k}_o" for k in range(len(plans)))}};
static CData* const y_ready[] = {${", ".join(f"&top.y_ready_{k}_i" for k in range(len(plans)))}};

static void put_x_data(int block, const uint32_t* words) {
    switch (block) {
% for k in range(len(plans)):
        case ${k}: put(top.x_data_${k}_i, words); break;
% endfor
    }
}

static void get_y_data(int block, uint32_t* words) {
    switch (block) {
% for k, plan in enumerate(plans):
        case ${k}: get(top.y_data_${k}_o, words, ${output_words(plan)}); break;
% endfor
    }
}

struct Source {
    uint32_t rows;
    Words words;
};

struct Progress {
    uint32_t sent = 0, received = 0, extra = 0, unstable_cycle = never, idle = 0;
    uint32_t source_hold = 0, sink_hold = 0, source_stalled = 0, sink_stalled = 0;
    bool offered = false, held_back = false;
    Words output, output_cycles, row_cycles, held_data;
};

% if trace:
static VerilatedVcdC& waveform = *new VerilatedVcdC;
static uint64_t trace_time = 0;
static std::FILE* probe_file = nullptr;
static bool dumping = false;

static void record_probes() {
    uint32_t words[${max(words_of(bits) for _, _, _, bits in probes)}];
% for index, (name, strobe, signal, bits) in enumerate(probes):
    if (top.${name}_strobe_o) {
        const uint32_t index = ${index};
        get(top.${name}_o, words, ${words_of(bits)});
        std::fwrite(&index, 4, 1, probe_file);
        std::fwrite(words, 4, ${words_of(bits)}, probe_file);
    }
% endfor
}
% endif

static void low_phase() {
    top.clk_i = 0;
    top.eval();
% if trace:
    if (dumping) waveform.dump(trace_time * 10);
% endif
}

static void high_phase() {
    top.clk_i = 1;
    top.eval();
% if trace:
    if (dumping) waveform.dump(trace_time * 10 + 5);
    ++trace_time;
% endif
}

static void reset() {
    for (int k = 0; k < blocks; ++k) *x_valid[k] = *y_ready[k] = 0;
    top.rst_ni = 0;
    for (int i = 0; i < 2; ++i) {
        low_phase();
        high_phase();
    }
    top.rst_ni = 1;
}

// Leaves every block in the middle of something, so that a register that the reset forgets shows up.
static void disturb(const std::vector<Source>& sources, uint32_t cycles) {
    std::vector<Random> random;
    for (const Source& source : sources) random.emplace_back(source.words.size());
    for (uint32_t cycle = 0; cycle < cycles; ++cycle) {
        for (int k = 0; k < blocks; ++k) {
            const std::size_t beats = sources[k].words.size() / shapes[k].input_words;
            *x_valid[k] = 1;
            *y_ready[k] = random[k].next() & 1;
            put_x_data(k, &sources[k].words[random[k].next() % beats * shapes[k].input_words]);
        }
        low_phase();
        high_phase();
    }
}

// Runs until every block delivered its rows, or `patience` cycles passed without a transfer at a block.
static std::vector<Progress> run(const std::vector<Source>& sources, int pass, uint32_t seed, uint32_t patience,
                                 uint32_t first_dump, uint32_t last_dump) {
    std::vector<Progress> all(blocks);
    std::vector<Stalls> source_stalls, sink_stalls;
    std::vector<uint32_t> rows;
    for (int k = 0; k < blocks; ++k) {
        // Seeded by the block's own rows, so that a block stalls the same way when it runs alone.
        const uint64_t own = (static_cast<uint64_t>(seed) << 40) + 2 * sources[k].words.size() * (pass + 1);
        source_stalls.emplace_back(own + 1, passes[pass].source);
        sink_stalls.emplace_back(own + 2, passes[pass].sink);
        all[k].source_hold = source_stalls[k].hold();
        all[k].sink_hold = sink_stalls[k].hold();
        all[k].held_data.resize(shapes[k].output_words);
        rows.push_back(std::min(sources[k].rows, passes[pass].most_rows));
    }
    Words data;
    uint32_t after = 0;
    for (uint32_t cycle = 0; after < patience; ++cycle) {
        bool working = false;
        for (int k = 0; k < blocks; ++k) {
            Progress& p = all[k];
            const uint32_t to_send = rows[k] * shapes[k].input_beats;
            if (!p.offered && p.sent < to_send) {
                if (source_stalls[k].go() && p.source_stalled >= p.source_hold) {
                    p.offered = true;
                    put_x_data(k, &sources[k].words[p.sent * static_cast<std::size_t>(shapes[k].input_words)]);
                } else {
                    ++p.source_stalled;
                }
            }
            *x_valid[k] = p.offered;
            *y_ready[k] = sink_stalls[k].go() && p.sink_stalled >= p.sink_hold;
        }
% if trace:
        dumping = cycle >= first_dump && cycle <= last_dump;
% endif
        low_phase();
% if trace:
        record_probes();
% endif
        for (int k = 0; k < blocks; ++k) {
            Progress& p = all[k];
            const Shape& shape = shapes[k];
            ++p.idle;
            if (p.offered && *x_ready[k]) {
                if (p.sent % shape.input_beats == 0) p.row_cycles.push_back(cycle);
                ++p.sent;
                p.offered = false;
                p.idle = 0;
            }
            if (*y_valid[k] || p.held_back) {
                data.resize(shape.output_words);
                get_y_data(k, data.data());
                if (p.held_back && (!*y_valid[k] || data != p.held_data) && p.unstable_cycle == never) {
                    p.unstable_cycle = cycle;
                }
                p.held_data = data;
            }
            p.held_back = *y_valid[k] && !*y_ready[k];
            p.sink_stalled += p.held_back;
            if (*y_valid[k] && *y_ready[k]) {
                p.idle = 0;
                if (p.received == rows[k] * shape.output_beats) {
                    ++p.extra;
                } else {
                    ++p.received;
                    p.output.insert(p.output.end(), data.begin(), data.end());
                    p.output_cycles.push_back(cycle);
                }
            }
            working |= p.received < rows[k] * shape.output_beats && p.idle < patience;
        }
        high_phase();
        after = working ? 0 : after + 1;
    }
    return all;
}

int main(int argc, char** argv) {
    std::FILE* vectors = std::fopen(argv[1], "rb");
    std::FILE* results = std::fopen(argv[2], "wb");
    if (argc < 3 || !vectors || !results) return 1;
    const uint32_t patience = read_word(vectors), seed = read_word(vectors);
    std::vector<Source> sources;
    for (int k = 0; k < blocks; ++k) {
        Source source{read_word(vectors), {}};
        source.words.resize(static_cast<std::size_t>(source.rows) * shapes[k].input_beats * shapes[k].input_words);
        for (uint32_t& word : source.words) word = read_word(vectors);
        sources.push_back(source);
    }
    int only_pass = -1;
    uint32_t first_dump = never, last_dump = 0;
% if trace:
    probe_file = std::fopen(argv[3], "wb");
    only_pass = std::atoi(argv[5]);
    first_dump = static_cast<uint32_t>(std::strtoul(argv[6], nullptr, 10));
    last_dump = static_cast<uint32_t>(std::strtoul(argv[7], nullptr, 10));
    context.traceEverOn(true);
    top.trace(&waveform, 99);
    waveform.open(argv[4]);
% endif
    for (int pass = 0; pass < ${len(passes)}; ++pass) {
        if (only_pass >= 0 && pass != only_pass) continue;
        if (pass == 1) {
            reset();
            disturb(sources, patience / 8);
        }
        reset();
        for (const Progress& p : run(sources, pass, seed, patience, first_dump, last_dump)) {
            const uint32_t counts[] = {p.extra, p.unstable_cycle, p.source_stalled, p.sink_stalled};
            std::fwrite(counts, 4, 4, results);
            write_words(results, p.row_cycles);
            write_words(results, p.output_cycles);
            write_words(results, p.output);
        }
    }
% if trace:
    waveform.close();
    std::fclose(probe_file);
% endif
    top.final();
    return std::fclose(results);
}
