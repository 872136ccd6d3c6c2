// Runs programs on BAT, sentence by sentence, beside a memory; records when steps start and end, what units hand over,
// and the rows that are in memory afterwards.
//
// Memory answers a request after a fixed latency, then a beat every few cycles; with stalls both vary at random.
// Usage: testbench VECTORS RESULTS
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>
#include "Vtestbench.h"
#include "bench.h"

constexpr uint32_t latency = ${config.memory_latency}, gap = ${config.memory_gap};
constexpr uint32_t never = 0xFFFFFFFFu;

// Never destroyed: Verilator's own statics may be gone before these.
static VerilatedContext& context = *new VerilatedContext;
static Vtestbench& top = *new Vtestbench{&context};
static Words memory;

static void tick() {
    top.clk_i = 1;
    top.eval();
    top.clk_i = 0;
    top.eval();
}

// Beats of memory, in order, for one request after the other.
struct Reader {
    uint32_t address = 0, beats = 0, wait = 0;
    Stalls stalls;
    explicit Reader(uint32_t seed) : stalls(seed) {}

    void offer(CData& valid, VlWide<4>& data, bool stalling) {
        valid = beats && !wait && (valid || !stalling || stalls.go());
        if (valid) put(data, &memory[address / 4]);
    }
    void step(bool start, uint32_t from, uint32_t count, bool valid, bool ready) {
        if (wait) --wait;
        if (valid && ready) {
            address += 16;
            --beats;
            wait = gap - 1;
        }
        if (start) {
            if (beats) std::fprintf(stderr, "a request came before the last one ended\n"), std::exit(1);
            if ((from + 16ull * count) / 4 > memory.size()) std::fprintf(stderr, "read beyond memory\n"), std::exit(1);
            address = from;
            beats = count;
            wait = latency - 1;
        }
    }
};

static void record(Words& words, bool happens, const uint32_t* data, int count) {
    if (happens) words.insert(words.end(), data, data + count);
}

int main(int argc, char** argv) {
    if (argc != 3) return 1;
    std::FILE* vectors = std::fopen(argv[1], "rb");
    std::FILE* results = std::fopen(argv[2], "wb");
    if (!vectors || !results) return 1;
    const uint32_t program = read_word(vectors), rows = read_word(vectors), patience = read_word(vectors);
    const bool tapping = read_word(vectors);
    memory.resize(read_word(vectors));
    const uint32_t image = read_word(vectors);
    if (image && std::fread(memory.data(), 4, image, vectors) != image) return 1;
    for (uint32_t cases = read_word(vectors); cases; --cases) {
        const bool stalling = read_word(vectors);
        for (const uint32_t place : {program, rows}) {
            const uint32_t count = read_word(vectors);
            if (std::fread(&memory[place / 4], 4, count, vectors) != count) return 1;
        }
        const uint32_t result = read_word(vectors), result_words = read_word(vectors);
        context.randReset(2);
        context.randSeed(1 + cases);
        top.rst_ni = 0;
        top.start_i = top.load_valid_i = top.read_valid_i = top.write_ready_i = top.write_done_i = 0;
        tick();
        tick();
        top.rst_ni = 1;
        Reader load(3 * cases), read(3 * cases + 1);
        Stalls write_stalls(3 * cases + 2);
        uint32_t write_address = 0, write_beats = 0, write_wait = 0, finished = never, quiet = 0;
        Words starts, ends;
% for name in taps:
        Words tap_${name};
% endfor
        for (uint32_t cycle = 0; finished == never && quiet < patience; ++cycle, ++quiet) {
            top.start_i = cycle == 0;
            top.program_i = program;
            load.offer(top.load_valid_i, top.load_data_i, stalling);
            read.offer(top.read_valid_i, top.read_data_i, stalling);
            top.write_ready_i = !stalling || write_stalls.go();
            top.write_done_i = write_wait == 1;
            top.eval();
            if (write_wait) --write_wait;
            if (top.write_valid_o && top.write_ready_i) {
                if (!write_beats || write_address / 4 + 4 > memory.size()) {
                    std::fprintf(stderr, "wrote where nothing was announced\n");
                    return 1;
                }
                get(top.write_data_o, &memory[write_address / 4], 4);
                write_address += 16;
                if (!--write_beats) write_wait = latency;
            }
            if (top.write_start_o) {
                write_address = top.write_address_o;
                write_beats = top.row_beats_o;
            }
            if ((top.load_valid_i && top.load_ready_o) || (top.read_valid_i && top.read_ready_o)) quiet = 0;
            if (top.step_start_o) starts.push_back(cycle);
            if (top.step_done_o) ends.push_back(cycle), quiet = 0;
            if (top.done_o) finished = cycle;
            if (tapping) {
% for name, words in taps.items():
                uint32_t data_${name}[${words}];
                if (top.${name}_o) {
                    get(top.${name}_data_o, data_${name}, ${words});
                    record(tap_${name}, true, data_${name}, ${words});
                }
% endfor
            }
            load.step(top.load_start_o, top.load_address_o, top.load_beats_o, top.load_valid_i, top.load_ready_o);
            read.step(top.read_start_o, top.read_address_o, top.row_beats_o, top.read_valid_i, top.read_ready_o);
            tick();
        }
        const uint32_t counts[] = {finished, top.errors_o};
        std::fwrite(counts, 4, 2, results);
        write_words(results, starts);
        write_words(results, ends);
% for name in taps:
        write_words(results, tap_${name});
% endfor
        std::fwrite(&memory[result / 4], 4, result_words, results);
    }
    top.final();
    return std::fclose(results);
}
