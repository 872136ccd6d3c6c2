// Runs programs on BAT beside an external memory, one group of sentences after the other; records when steps start and
// end, what units hand over, and the rows that are in memory afterwards. Usage: testbench VECTORS RESULTS [WAVEFORM
// FIRST LAST], the last three only where it is built for them: a waveform of those cycles.
#include <cstdint>
#include <cstdio>
#include <vector>
#include "Vtestbench.h"
#include "axi_memory.h"
% if waveforms:
#include "verilated_vcd_c.h"
% endif

constexpr uint32_t latency = ${config.memory_latency}, gap = ${config.memory_gap}, beat_bytes = 16;
constexpr uint32_t never = 0xFFFFFFFFu;

// Never destroyed: Verilator's own statics may be gone before these.
static VerilatedContext& context = random_context();
static Vtestbench& top = *new Vtestbench{&context};
static Words memory;

% if waveforms:
static VerilatedVcdC& waveform = *new VerilatedVcdC;
static uint64_t first_cycle = 0, last_cycle = 0, now = 0;

static void dump(uint64_t half) {
    if (now >= first_cycle && now <= last_cycle) waveform.dump(now * 10 + 5 * half);
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

static void read_into(Words::iterator place, uint32_t count, std::FILE* vectors) {
    for (; count; --count) *place++ = read_word(vectors);
}

// Pieces of memory: address and words of each.
static void read_pieces(std::FILE* vectors) {
    for (uint32_t pieces = read_word(vectors); pieces; --pieces) {
        const uint32_t address = read_word(vectors);
        read_into(memory.begin() + address / 4, read_word(vectors), vectors);
    }
}

struct Recording {
    uint32_t finished = never;
    Words starts, ends;
% for name in taps[0]:
    Words ${name};
% endfor
};

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
    const uint32_t patience = read_word(vectors);
    const bool tapping = read_word(vectors);
% for m in modules:
    const uint32_t program_${m} = read_word(vectors);
% endfor
    memory.resize(read_word(vectors));
    read_pieces(vectors);
    for (uint32_t cases = read_word(vectors); cases; --cases) {
        const bool stalling = read_word(vectors);
        read_pieces(vectors);
        top.rst_ni = 0;
        top.start_i = 0;
% for m in modules:
        top.m${m}_load_rvalid_i = top.m${m}_rows_rvalid_i = top.m${m}_rows_bvalid_i = 0;
        top.m${m}_load_arready_i = top.m${m}_rows_arready_i = top.m${m}_rows_awready_i = top.m${m}_rows_wready_i = 0;
        top.m${m}_load_rresp_i = top.m${m}_rows_rresp_i = top.m${m}_rows_bresp_i = 0;
        top.m${m}_program_i = program_${m};
        AxiReadPort load_${m}(memory, beat_bytes, latency, gap, 7 * cases + ${m});
        AxiReadPort read_${m}(memory, beat_bytes, latency, gap, 7 * cases + ${2 + m});
        AxiWritePort write_${m}(memory, beat_bytes, latency, gap, 7 * cases + ${4 + m});
        Recording module_${m};
% endfor
        tick();
        tick();
        top.rst_ni = 1;
        uint32_t quiet = 0;
        for (uint32_t cycle = 0; (${" || ".join(f"module_{m}.finished == never" for m in modules)}) && quiet < patience;
             ++cycle, ++quiet) {
% if waveforms:
            now = cycle;
% endif
            top.start_i = cycle == 0;
% for m in modules:
            load_${m}.drive(stalling, top.m${m}_load_arready_i, top.m${m}_load_rvalid_i, top.m${m}_load_rdata_i, top.m${m}_load_rlast_i);
            read_${m}.drive(stalling, top.m${m}_rows_arready_i, top.m${m}_rows_rvalid_i, top.m${m}_rows_rdata_i, top.m${m}_rows_rlast_i);
            write_${m}.drive(stalling, top.m${m}_rows_awready_i, top.m${m}_rows_wready_i, top.m${m}_rows_bvalid_i);
% endfor
            top.eval();
% for m in modules:
            if (top.m${m}_step_start_o) module_${m}.starts.push_back(cycle);
            if (top.m${m}_step_end_o) module_${m}.ends.push_back(cycle), quiet = 0;
            if (top.m${m}_done_o) module_${m}.finished = cycle;
            if (tapping) {
% for name, words in taps[m].items():
                if (top.m${m}_${name}_o) {
                    uint32_t data[${words}];
                    get(top.m${m}_${name}_data_o, data, ${words});
                    module_${m}.${name}.insert(module_${m}.${name}.end(), data, data + ${words});
                }
% endfor
            }
            load_${m}.step(top.m${m}_load_arvalid_o, top.m${m}_load_araddr_o, top.m${m}_load_arlen_o, top.m${m}_load_arsize_o,
                           top.m${m}_load_arburst_o, top.m${m}_load_rready_o);
            read_${m}.step(top.m${m}_rows_arvalid_o, top.m${m}_rows_araddr_o, top.m${m}_rows_arlen_o, top.m${m}_rows_arsize_o,
                           top.m${m}_rows_arburst_o, top.m${m}_rows_rready_o);
            write_${m}.step(top.m${m}_rows_awvalid_o, top.m${m}_rows_awaddr_o, top.m${m}_rows_awlen_o, top.m${m}_rows_awsize_o,
                            top.m${m}_rows_awburst_o, top.m${m}_rows_wvalid_o, top.m${m}_rows_wdata_o, top.m${m}_rows_wstrb_o,
                            top.m${m}_rows_wlast_o, top.m${m}_rows_bready_o);
            for (const std::string* problem : {&load_${m}.problem, &read_${m}.problem, &write_${m}.problem}) {
                if (!problem->empty()) {
                    std::fprintf(stderr, "module ${m}, cycle %u: AXI4: %s\n", cycle, problem->c_str());
                    return 1;
                }
            }
% endfor
            tick();
        }
% for m in modules:
        const uint32_t counts_${m}[] = {module_${m}.finished, top.m${m}_errors_o};
        std::fwrite(counts_${m}, 4, 2, results);
        write_words(results, module_${m}.starts);
        write_words(results, module_${m}.ends);
% for name in taps[m]:
        write_words(results, module_${m}.${name});
% endfor
% endfor
        for (uint32_t pieces = read_word(vectors); pieces; --pieces) {
            const uint32_t address = read_word(vectors), words = read_word(vectors);
            std::fwrite(&memory[address / 4], 4, words, results);
        }
    }
    top.final();
% if waveforms:
    waveform.close();
% endif
    return std::fclose(results);
}
