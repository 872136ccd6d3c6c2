// Runs a transformer machine: takes commands from a file (or a pipe) and writes after each what the machine did.
//
// Usage: testbench VECTORS RESULTS [WAVEFORM FIRST LAST], the last three only where it is built for them: a waveform of
// those cycles of the last call. A command is 1 (load words: memory, first address, words), 2 (a call) or 0 (the end).
#include <cstdint>
#include <cstdio>
#include <vector>
#include "Vtestbench.h"
#include "bench.h"
% if waveforms:
#include "verilated_vcd_c.h"
% endif

constexpr uint32_t never = 0xFFFFFFFFu;
constexpr uint32_t load_words = ${words_of(config.load_bits)}, input_words = ${words_of(config.input_bits)};
constexpr uint32_t byte_words = ${words_of(8 * config.lanes)}, wide_words = ${words_of(16 * config.lanes)};

// Never destroyed: Verilator's own statics may be gone before these.
static VerilatedContext& context = random_context();
static Vtestbench& top = *new Vtestbench{&context};

% if waveforms:
static VerilatedVcdC& waveform = *new VerilatedVcdC;
static uint64_t first_cycle = 0, last_cycle = 0, now = 0;
static bool in_call = false;

static void dump(uint64_t half) {
    if (in_call && now >= first_cycle && now <= last_cycle) waveform.dump(now * 10 + 5 * half);
}
% endif

static void tick() {
    top.clk_i = 1;
    top.eval();
% if waveforms:
    dump(0);
% endif
    top.clk_i = 0;
    top.eval();
% if waveforms:
    dump(1);
% endif
}

static void reset() {
    top.load_i = top.start_i = top.x_valid_i = top.y_ready_i = 0;
    top.rst_ni = 0;
    tick();
    tick();
    top.rst_ni = 1;
}

static void load(std::FILE* vectors) {
    const uint32_t memory = read_word(vectors), first = read_word(vectors), count = read_word(vectors);
    const uint32_t words = read_word(vectors);  // of 32 bits, of a word of this memory
    Words data(load_words);
    top.load_i = 1;
    top.load_memory_i = memory;
    for (uint32_t i = 0; i < count; ++i) {
        for (uint32_t w = 0; w < words; ++w) data[w] = read_word(vectors);
        top.load_address_i = first + i;
        put(top.load_data_i, data.data());
        tick();
    }
    top.load_i = 0;
}

// What a unit writes: kind and step, bank and address, the word.
template <class Port>
static void record(Words& records, uint32_t kind, uint32_t bank, uint32_t address, const Port& port, uint32_t words,
                   bool of_norm = false) {
    uint32_t data[wide_words];
    get(port, data, words);
    records.push_back(kind | (of_norm ? top.norm_step_o : top.other_step_o) << 8);
    records.push_back(bank << 24 | address);
    records.insert(records.end(), data, data + words);
}

static void call(std::FILE* vectors, std::FILE* results) {
    const uint32_t rows = read_word(vectors), past = read_word(vectors), stalling = read_word(vectors);
    const uint32_t seed = read_word(vectors), limit = read_word(vectors), tapping = read_word(vectors);
    const uint32_t patience = read_word(vectors);
    Words inputs(read_word(vectors));
    for (uint32_t& word : inputs) word = read_word(vectors);
    Stalls source(2 * seed + 1, stalling ? Stalls::drawn : Stalls::none);
    Stalls sink(2 * seed + 2, stalling ? Stalls::drawn : Stalls::none);
    const uint32_t source_hold = source.hold(), sink_hold = sink.hold();
    Words starts, ends, records, data(wide_words), held;
    std::size_t next = 0;
    bool offered = false;
    uint32_t finished = never, unstable = never, source_stalled = 0, sink_stalled = 0, quiet = 0;
    top.tokens_i = rows;
    top.past_i = past;
    top.start_i = 1;
    top.eval();
    tick();
    top.start_i = 0;
    top.tokens_i = ~rows;  // only what is there with the start counts
    top.past_i = ~past;
% if waveforms:
    in_call = true;
% endif
    for (uint32_t cycle = 0; quiet < patience && (!limit || cycle < limit); ++cycle, ++quiet) {
% if waveforms:
        now = cycle;
% endif
        if (!offered && next < inputs.size()) {
            offered = source.go() && source_stalled >= source_hold;
            source_stalled += !offered;
        }
        if (offered) put(top.x_data_i, &inputs[next]);
        top.x_valid_i = offered;
        top.y_ready_i = sink.go() && sink_stalled >= sink_hold;
        top.eval();
        if (!top.busy_o) {
            finished = cycle;
            break;
        }
        if (top.taken_o) starts.push_back(cycle), quiet = 0;
        if (offered && top.x_ready_o) offered = false, next += input_words, quiet = 0;
        if (top.y_valid_o) get(top.y_data_o, data.data(), wide_words);
        if (!held.empty() && (!top.y_valid_o || data != held) && unstable == never) unstable = cycle;
        held = top.y_valid_o && !top.y_ready_i ? data : Words();
        sink_stalled += !held.empty();
        if (top.y_valid_o && top.y_ready_i) record(records, 0, 0, 0, top.y_data_o, wide_words), quiet = 0;
        if (tapping) {
            if (top.left_write_o) record(records, 1, top.left_bank_o, top.left_address_o, top.left_data_o, byte_words);
            if (top.norm_write_o)
                record(records, 1, top.norm_bank_o, top.norm_address_o, top.norm_data_o, byte_words, true);
            if (top.keys_write_o) record(records, 2, top.result_bank_o, top.result_address_o, top.narrow_o, byte_words);
            if (top.values_write_o) record(records, 3, top.result_group_o, top.result_address_o, top.narrow_o, byte_words);
            if (top.stream_write_o) record(records, 4, 0, top.stream_address_o, top.stream_data_o, wide_words);
            if (top.scores_write_o) record(records, 5, top.result_bank_o, top.result_chunk_o, top.result_o, wide_words);
            if (top.exponentials_write_o) record(records, 6, top.e_row_o, top.e_chunk_o, top.e_data_o, byte_words);
        }
        if (top.norm_done_o) ends.insert(ends.end(), {top.norm_step_o, cycle}), quiet = 0;
        if (top.other_done_o) ends.insert(ends.end(), {top.other_step_o, cycle}), quiet = 0;
        tick();
    }
% if waveforms:
    in_call = false;
% endif
    top.x_valid_i = top.y_ready_i = 0;
    if (finished == never) reset();
    if (limit) return;
    const uint32_t counts[] = {finished, unstable, source_stalled, sink_stalled};
    std::fwrite(counts, 4, 4, results);
    write_words(results, starts);
    write_words(results, ends);
    write_words(results, records);
    std::fflush(results);
}

int main(int argc, char** argv) {
    if (argc != ${6 if waveforms else 3}) return 1;
    std::FILE* vectors = std::fopen(argv[1], "rb");
    std::FILE* results = std::fopen(argv[2], "wb");
    if (!vectors || !results) return 1;
% if waveforms:
    context.traceEverOn(true);
    top.trace(&waveform, 99);
    waveform.open(argv[3]);
    first_cycle = std::strtoull(argv[4], nullptr, 10);
    last_cycle = std::strtoull(argv[5], nullptr, 10);
% endif
    reset();
    while (const uint32_t command = read_word(vectors)) {
        if (command == 1) load(vectors);
        if (command == 2) call(vectors, results);
    }
    top.final();
% if waveforms:
    waveform.close();
% endif
    return std::fclose(results);
}
