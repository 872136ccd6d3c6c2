// Gives a module the jobs of a file, one after the other, and writes what it did. Usage: testbench VECTORS RESULTS
//
// Pass 0 never stalls; before pass 1 the module is reset in the middle of the first job, and pass 1 stalls sources and
// sinks at random.
#include <cstdint>
#include <cstdio>
#include <vector>
#include "Vtestbench.h"
#include "axi_memory.h"
#include "bench.h"

constexpr uint32_t never = 0xFFFFFFFFu;
constexpr uint32_t cycles_after = 8;  // in which nothing more may come out

// Never destroyed: Verilator's own statics may be gone before these.
static VerilatedContext& context = random_context();
static Vtestbench& top = *new Vtestbench{&context};

struct Job {
    uint32_t settings[${max(1, len(ports.settings))}];
    Words sources[${max(1, len(ports.sources))}], memories[${max(1, len(ports.reads))}];
    uint32_t beats[${max(1, len(ports.sinks))}];
    uint32_t axi_latency = 1, axi_gap = 1;
    Words axi_memory;
};

// A source of beats: offers one until it is taken.
struct Source {
    std::size_t words, next = 0;
    bool offered = false;
    Stalls stalls{1};
    Words taken;
};

struct Sink {
    std::size_t words;
    uint32_t unstable = never;
    Stalls stalls{1};
    Words given, beats, data, held;
};

static void tick() {
    top.clk_i = 1;
    top.eval();
    top.clk_i = 0;
    top.eval();
}

static void reset() {
% if ports.start:
    top.${ports.start} = 0;
% endif
% for port in ports.sources:
    top.${port.valid} = 0;
% endfor
% for port in ports.sinks:
    top.${port.ready} = 0;
% endfor
    top.rst_ni = 0;
    tick();
    tick();
    top.rst_ni = 1;
}

// With `limit` the job is broken off after so many cycles and nothing is written.
static void run(const Job& job, bool stalling, uint32_t patience, uint32_t limit, std::FILE* results) {
    static uint32_t seed = 0;
    seed += 16;
    Stalls starting(seed + 15);
% for i, name in enumerate(ports.settings):
    top.${name} = job.settings[${i}];
% endfor
    Source sources[${max(1, len(ports.sources))}];
    Sink sinks[${max(1, len(ports.sinks))}];
    Words writes[${max(1, len(ports.writes))}];
% for i, port in enumerate(ports.sources):
    sources[${i}].words = ${words_of(port.bits)};
    sources[${i}].stalls = Stalls(seed + ${i});
% endfor
% for i, port in enumerate(ports.sinks):
    sinks[${i}].words = ${words_of(port.bits)};
    sinks[${i}].stalls = Stalls(seed + 8 + ${i});
    sinks[${i}].data.resize(${words_of(port.bits)});
% endfor
% for i, port in enumerate(ports.reads):
    Words answer_${i}(${words_of(port.bits)});
% endfor
    Words axi_memory = job.axi_memory;
% for i, port in enumerate(ports.axi):
    ${"AxiWritePort" if port.writes else "AxiReadPort"} axi_${i}(
        axi_memory, ${port.beat_bytes}, job.axi_latency, job.axi_gap, seed + 12 + ${i});
% endfor
    bool done = ${"false" if ports.done else "true"}, moved = false;
    uint32_t dones = 0, over = never, idle = 0, cycle = 0, started = ${"never" if ports.start else "0"};
    for (; cycle < limit && idle < patience && (over == never || cycle <= over + cycles_after); ++cycle, ++idle) {
% if ports.start:
        const bool starts = started == never && (!stalling || starting.go());
        if (starts) started = cycle;
        top.${ports.start} = starts;
% else:
        constexpr bool starts = false;
% endif
% for i, port in enumerate(ports.sources):
        if (started != never && !starts && !sources[${i}].offered && sources[${i}].next < job.sources[${i}].size() &&
            (!stalling || sources[${i}].stalls.go())) {
            sources[${i}].offered = true;
            put(top.${port.data}, &job.sources[${i}][sources[${i}].next]);
        }
        top.${port.valid} = sources[${i}].offered;
% endfor
% for i, port in enumerate(ports.sinks):
        top.${port.ready} = !stalling || sinks[${i}].stalls.go();
% endfor
% for i, port in enumerate(ports.axi):
% if port.writes:
        axi_${i}.drive(stalling, top.${port.prefix}awready_i, top.${port.prefix}wready_i, top.${port.prefix}bvalid_i);
        top.${port.prefix}bresp_i = 0;
% else:
        axi_${i}.drive(stalling, top.${port.prefix}arready_i, top.${port.prefix}rvalid_i, top.${port.prefix}rdata_i,
                       top.${port.prefix}rlast_i);
        top.${port.prefix}rresp_i = 0;
% endif
% endfor
        top.eval();
        moved = false;
% for i, port in enumerate(ports.sources):
        if (sources[${i}].offered && top.${port.ready}) {
            sources[${i}].offered = false;
            sources[${i}].next += sources[${i}].words;
            sources[${i}].taken.push_back(cycle - started);
            moved = true;
        }
% endfor
% for i, port in enumerate(ports.sinks):
        if (top.${port.valid}) get(top.${port.data}, sinks[${i}].data.data(), ${words_of(port.bits)});
        if (!sinks[${i}].held.empty() && sinks[${i}].unstable == never &&
            (!top.${port.valid} || sinks[${i}].data != sinks[${i}].held)) {
            sinks[${i}].unstable = cycle;
        }
        sinks[${i}].held = top.${port.valid} && !top.${port.ready} ? sinks[${i}].data : Words();
        if (top.${port.valid} && top.${port.ready}) {
            sinks[${i}].given.push_back(cycle - started);
            sinks[${i}].beats.insert(sinks[${i}].beats.end(), sinks[${i}].data.begin(), sinks[${i}].data.end());
            moved |= sinks[${i}].given.size() <= job.beats[${i}];  // a module that never stops gets nowhere
        }
% endfor
% for i, port in enumerate(ports.writes):
        {
            Words word(${words_of(port.write_bits) + 1 + words_of(port.bits)});
            get(top.${port.write}, &word[0], ${words_of(port.write_bits)});
            bool any = false;
            for (int place = 0; place < ${words_of(port.write_bits)}; ++place) any |= word[place] != 0;
            if (any) {
                word[${words_of(port.write_bits)}] = top.${port.address};
                get(top.${port.data}, &word[${words_of(port.write_bits) + 1}], ${words_of(port.bits)});
                writes[${i}].insert(writes[${i}].end(), word.begin(), word.end());
            }
        }
% endfor
% if ports.done:
        if (top.${ports.done}) ++dones;
        done = dones > 0;
% endif
        bool all = done;
% for i, port in enumerate(ports.sources):
        all &= sources[${i}].next == job.sources[${i}].size();
% endfor
% for i, port in enumerate(ports.sinks):
        all &= sinks[${i}].given.size() >= job.beats[${i}];
% endfor
        if (all && over == never) over = cycle;
        if (moved) idle = 0;
% for i, port in enumerate(ports.axi):
<% p = "top." + port.prefix %>\
% if port.writes:
        axi_${i}.step(${p}awvalid_o, ${p}awaddr_o, ${p}awlen_o, ${p}awsize_o, ${p}awburst_o, ${p}wvalid_o, ${p}wdata_o,
                      ${p}wstrb_o, ${p}wlast_o, ${p}bready_o);
% else:
        axi_${i}.step(${p}arvalid_o, ${p}araddr_o, ${p}arlen_o, ${p}arsize_o, ${p}arburst_o, ${p}rready_o);
% endif
% endfor
        // Memories answer after the clock edge; an address beyond them reads ones.
% for i, port in enumerate(ports.reads):
        bool read_${i} = top.${port.read};
        if (read_${i}) {
            const std::size_t place = static_cast<std::size_t>(top.${port.address}) * ${words_of(port.bits)};
            for (std::size_t word = 0; word < ${words_of(port.bits)}; ++word) {
                answer_${i}[word] = place < job.memories[${i}].size() ? job.memories[${i}][place + word] : never;
            }
        }
% endfor
        top.clk_i = 1;
        top.eval();
% for i, port in enumerate(ports.reads):
        if (read_${i}) put(top.${port.data}, answer_${i}.data());
% endfor
        top.clk_i = 0;
        top.eval();
    }
    if (limit != never) return;
    const uint32_t counts[] = {over == never ? cycle : over - started, over == never, dones};
    std::fwrite(counts, 4, 3, results);
% for i, port in enumerate(ports.sources):
    write_words(results, sources[${i}].taken);
% endfor
% for i, port in enumerate(ports.sinks):
    std::fwrite(&sinks[${i}].unstable, 4, 1, results);
    write_words(results, sinks[${i}].given);
    write_words(results, sinks[${i}].beats);
% endfor
% for i, port in enumerate(ports.writes):
    write_words(results, writes[${i}]);
% endfor
% for i, port in enumerate(ports.axi):
    write_words(results, Words(axi_${i}.problem.begin(), axi_${i}.problem.end()));
    const uint32_t most_${i} = static_cast<uint32_t>(axi_${i}.most_bursts);
    std::fwrite(&most_${i}, 4, 1, results);
% endfor
% if ports.axi:
    write_words(results, axi_memory);
% endif
}

int main(int argc, char** argv) {
    if (argc != 3) return 1;
    std::FILE* vectors = std::fopen(argv[1], "rb");
    std::FILE* results = std::fopen(argv[2], "wb");
    if (!vectors || !results) return 1;
    std::vector<Job> jobs(read_word(vectors));
    const uint32_t patience = read_word(vectors);
    for (Job& job : jobs) {
% for i, name in enumerate(ports.settings):
        job.settings[${i}] = read_word(vectors);
% endfor
% for kind, listed in (("sources", ports.sources), ("memories", ports.reads)):
% for i, port in enumerate(listed):
        job.${kind}[${i}].resize(read_word(vectors));
        for (uint32_t& word : job.${kind}[${i}]) word = read_word(vectors);
% endfor
% endfor
% for i, port in enumerate(ports.sinks):
        job.beats[${i}] = read_word(vectors);
% endfor
% if ports.axi:
        job.axi_latency = read_word(vectors);
        job.axi_gap = read_word(vectors);
        job.axi_memory.resize(read_word(vectors));
        for (uint32_t& word : job.axi_memory) word = read_word(vectors);
% endif
    }
    for (bool stalling : {false, true}) {
        if (stalling) run(jobs[0], false, patience, 40, results);
        reset();
        for (const Job& job : jobs) run(job, stalling, patience, never, results);
    }
    top.final();
    return std::fclose(results);
}
