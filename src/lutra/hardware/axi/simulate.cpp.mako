<% N = core.name.upper() %>\
// Runs the golden vectors through the RTL of ${core.name}, build ${build_hash}, with its own C driver, and with streams that
// stall at random: V${core.name} [SEEDS [FILE ...]].
#include "V${core.name}.h"
#include "verilated.h"

#include "${core.name}.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr long PATIENCE_CYCLES = ${patience_cycles};
constexpr std::size_t IN_BYTES = ${core.input.bus_bytes}, OUT_BYTES = ${core.output.bus_bytes};

// A bus of whole bytes in Verilator's words.
template <typename Bus> void put_bytes(Bus& bus, const std::uint8_t* bytes, std::size_t count, std::size_t room) {
    std::memset(&bus, 0, sizeof bus);
    std::memcpy(&bus, bytes, count < room ? count : room);
}

class Core {
public:
    Core() : top_(std::make_unique<V${core.name}>()) {
        top_->aresetn = 0;
        for (int i = 0; i < 4; ++i) cycle();
        top_->aresetn = 1;
    }

    void seed(unsigned value) {
        random_.seed(value);
        patterns_ = value > 0;
    }

    std::uint32_t read(std::uint32_t offset) {
        top_->s_axi_araddr = offset;
        top_->s_axi_arvalid = 1;
        handshake([&] { return top_->s_axi_arready; });
        top_->s_axi_arvalid = 0;
        top_->s_axi_rready = 1;
        const std::uint32_t value = handshake([&] { return top_->s_axi_rvalid; }, [&] { return top_->s_axi_rdata; });
        top_->s_axi_rready = 0;
        return value;
    }

    void write(std::uint32_t offset, std::uint32_t value) {
        top_->s_axi_awaddr = offset;
        top_->s_axi_wdata = value;
        top_->s_axi_wstrb = 15;
        top_->s_axi_awvalid = 1;
        handshake([&] { return top_->s_axi_awready; });
        top_->s_axi_awvalid = 0;
        top_->s_axi_wvalid = 1;
        handshake([&] { return top_->s_axi_wready; });
        top_->s_axi_wvalid = 0;
        top_->s_axi_bready = 1;
        handshake([&] { return top_->s_axi_bvalid; });
        top_->s_axi_bready = 0;
    }

    // 0 if as many bytes came back as were wanted, the last of them with TLAST.
    int transfer(const std::uint8_t* rows, std::size_t sent, std::uint8_t* outputs, std::size_t wanted) {
        std::size_t next = 0, received = 0;
        long quiet = 0;
        bool ended = false, offered = false;
        while (!ended && quiet < PATIENCE_CYCLES) {
            if (!offered) {
                offered = next < sent && !stall();
                const std::size_t count = sent - next < IN_BYTES ? sent - next : IN_BYTES;
                top_->s_axis_tvalid = offered;
                if (offered) {
                    put_bytes(top_->s_axis_tdata, rows + next, count, IN_BYTES);
                    std::uint8_t keep[IN_BYTES] = {};
                    for (std::size_t i = 0; i < count; ++i) keep[i / 8] = static_cast<std::uint8_t>(keep[i / 8] | 1 << i % 8);
                    put_bytes(top_->s_axis_tkeep, keep, sizeof keep, sizeof top_->s_axis_tkeep);
                    top_->s_axis_tlast = next + count == sent;
                }
            }
            top_->m_axis_tready = !stall();
            top_->eval();
            const bool in = offered && top_->s_axis_tready, out = top_->m_axis_tvalid && top_->m_axis_tready;
            if (out) {
                std::uint8_t keep[sizeof top_->m_axis_tkeep];
                std::memcpy(keep, &top_->m_axis_tkeep, sizeof keep);
                const auto* bytes = reinterpret_cast<const std::uint8_t*>(&top_->m_axis_tdata);
                for (std::size_t i = 0; i < OUT_BYTES; ++i) {
                    if (keep[i / 8] >> i % 8 & 1) {
                        if (received < wanted) outputs[received] = bytes[i];
                        ++received;
                    }
                }
                ended = top_->m_axis_tlast;
            }
            cycle();
            if (in) {
                next += IN_BYTES;
                offered = false;
            }
            quiet = in || out ? 0 : quiet + 1;
        }
        top_->s_axis_tvalid = 0;
        top_->m_axis_tready = 0;
        return ended && received == wanted && next >= sent ? 0 : 1;
    }

private:
    bool stall() { return patterns_ && (random_() >> 7 & 3) == 0; }

    void cycle() {
        top_->aclk = 0;
        top_->eval();
        top_->aclk = 1;
        top_->eval();
        top_->aclk = 0;
        top_->eval();
    }

    template <typename Ready> std::uint32_t handshake(Ready ready) {
        return handshake(ready, [] { return 0u; });
    }

    template <typename Ready, typename Value> std::uint32_t handshake(Ready ready, Value value) {
        for (long i = 0; i < PATIENCE_CYCLES; ++i) {
            top_->eval();
            const bool there = ready();
            const std::uint32_t seen = value();
            cycle();
            if (there) return seen;
        }
        std::fprintf(stderr, "${core.name}: the registers do not answer\n");
        std::exit(1);
    }

    std::unique_ptr<V${core.name}> top_;
    std::mt19937 random_;
    bool patterns_ = false;
};

struct Vectors {
    std::uint32_t block, count;
    std::vector<${core.name}_input> rows;
    std::vector<${core.name}_output> golden;
};

bool load(const std::string& path, Vectors& vectors) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) return false;
    char magic[8], build[16];
    std::uint32_t words[4];
    bool good = std::fread(magic, 8, 1, file) == 1 && std::fread(build, 16, 1, file) == 1 && std::fread(words, 4, 4, file) == 4;
    good = good && !std::memcmp(magic, "LUTRAVEC", 8) && !std::memcmp(build, ${N}_BUILD_HASH, 16);
    if (good) {
        vectors.block = words[0];
        vectors.count = words[1];
        vectors.rows.resize(std::size_t(vectors.count) * ${N}_INPUT_WIDTH);
        vectors.golden.resize(std::size_t(vectors.count) * ${N}_OUTPUT_WIDTH);
        good = std::fread(vectors.rows.data(), sizeof vectors.rows[0], vectors.rows.size(), file) == vectors.rows.size() &&
               std::fread(vectors.golden.data(), sizeof vectors.golden[0], vectors.golden.size(), file) == vectors.golden.size();
    }
    std::fclose(file);
    return good;
}

}  // namespace

double sc_time_stamp() { return 0; }

int main(int argc, char** argv) {
    const int seeds = argc > 1 ? std::atoi(argv[1]) : 4;
    std::vector<std::string> paths(argv + (argc > 2 ? 2 : argc), argv + argc);
    if (paths.empty()) {
        paths = {${", ".join(f'"{vector}"' for vector in vectors)}};
    }
    Core core;
    ${core.name}_device device = {
        &core,
        [](void* context, std::uint32_t offset) { return static_cast<Core*>(context)->read(offset); },
        [](void* context, std::uint32_t offset, std::uint32_t value) { static_cast<Core*>(context)->write(offset, value); },
        [](void* context, const void* rows, std::size_t sent, void* outputs, std::size_t received) {
            return static_cast<Core*>(context)->transfer(static_cast<const std::uint8_t*>(rows), sent,
                                                         static_cast<std::uint8_t*>(outputs), received);
        }};
    const auto opened = ${core.name}_open(&device);
    if (opened != ${N}_OK) {
        std::fprintf(stderr, "${core.name}: %s\n", ${core.name}_message(opened));
        return 1;
    }
    std::size_t rows = 0;
    for (const auto& path : paths) {
        Vectors vectors;
        if (!load(path, vectors)) {
            std::fprintf(stderr, "%s: no vectors of build %s\n", path.c_str(), ${N}_BUILD_HASH);
            return 1;
        }
        std::vector<${core.name}_output> outputs(vectors.golden.size());
        for (int seed = 0; seed < seeds; ++seed) {
            core.seed(static_cast<unsigned>(seed));
            std::memset(outputs.data(), 0x5a, outputs.size() * sizeof outputs[0]);
            const auto status = ${core.name}_run(&device, vectors.block, vectors.rows.data(), outputs.data(), vectors.count);
            if (status != ${N}_OK) {
                std::fprintf(stderr, "${core.name}: block %u, stall pattern %d: %s\n", vectors.block, seed, ${core.name}_message(status));
                return 1;
            }
            for (std::size_t i = 0; i < outputs.size(); ++i) {
                if (outputs[i] != vectors.golden[i]) {
                    std::fprintf(stderr, "${core.name}: block %u, stall pattern %d: row %zu, element %zu: RTL %lld, golden %lld\n",
                                 vectors.block, seed, i / ${N}_OUTPUT_WIDTH, i % ${N}_OUTPUT_WIDTH,
                                 static_cast<long long>(outputs[i]), static_cast<long long>(vectors.golden[i]));
                    return 1;
                }
            }
            rows += vectors.count;
        }
    }
    std::printf("${core.name}: build %s, %zu rows, 0 differ\n", ${N}_BUILD_HASH, rows);
    return 0;
}
