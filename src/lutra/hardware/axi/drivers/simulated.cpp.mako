<% N = core.name.upper() %>\
// Runs the golden vectors through the RTL of ${core.name}, build ${build_hash}, with its own C driver, and with
// ${self.attr.others} that stall at random: V${core.name} [SEEDS [FILE ...]]. The first seed stalls nothing.
#include "V${core.name}.h"
#include "verilated.h"

#include "${core.name}.h"
% for header in simulation.headers:
#include "${header}"
% endfor

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

// The core with its clock, and a master of its registers.
class Registers {
public:
    Registers() : top_(std::make_unique<V${core.name}>()) {
        top_->aresetn = 0;
        for (int i = 0; i < 4; ++i) Registers::cycle();
        top_->aresetn = 1;
    }

    virtual ~Registers() = default;

    virtual void seed(unsigned value) {
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

protected:
    bool stall() { return patterns_ && (random_() >> 7 & 3) == 0; }

    virtual void cycle() {
        top_->aclk = 0;
        top_->eval();
        top_->aclk = 1;
        top_->eval();
        top_->aclk = 0;
        top_->eval();
    }

    std::unique_ptr<V${core.name}> top_;
    std::mt19937 random_;
    bool patterns_ = false;

private:
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
};

${self.beside()}\

struct Vectors {
    std::uint32_t number = 0, count = 0;
    std::vector<Input> rows;
    std::vector<Output> golden;
};

// What the core made of the inputs of vectors.
struct Found {
    const Vectors* vectors;
    std::vector<Output> outputs;
};

bool load(const std::string& path, Vectors& vectors) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (!file) return false;
    char magic[8], build[16];
    std::uint32_t words[4];
    bool good = std::fread(magic, 8, 1, file) == 1 && std::fread(build, 16, 1, file) == 1 && std::fread(words, 4, 4, file) == 4;
    good = good && !std::memcmp(magic, "LUTRAVEC", 8) && !std::memcmp(build, ${N}_BUILD_HASH, 16);
    good = good && words[2] == INPUT_WIDTH * sizeof(Input) && words[3] == OUTPUT_WIDTH * sizeof(Output);
    if (good) {
        vectors.number = words[0];
        vectors.count = words[1];
        vectors.rows.resize(vectors.count * INPUT_WIDTH);
        vectors.golden.resize(vectors.count * OUTPUT_WIDTH);
        good = std::fread(vectors.rows.data(), sizeof(Input), vectors.rows.size(), file) == vectors.rows.size() &&
               std::fread(vectors.golden.data(), sizeof(Output), vectors.golden.size(), file) == vectors.golden.size();
    }
    std::fclose(file);
    return good;
}

// Outputs that show what was not written.
Found unwritten(const Vectors& vectors) {
    Found found{&vectors, std::vector<Output>(vectors.golden.size())};
    std::memset(found.outputs.data(), 0x5a, found.outputs.size() * sizeof(Output));
    return found;
}

bool compare(const Found& found, int seed) {
    for (std::size_t i = 0; i < found.outputs.size(); ++i) {
        if (found.outputs[i] != found.vectors->golden[i]) {
            std::fprintf(stderr, "${core.name}: ${self.attr.unit} %u, stall pattern %d: row %zu, element %zu: RTL %lld, golden %lld\n",
                         found.vectors->number, seed, i / OUTPUT_WIDTH, i % OUTPUT_WIDTH,
                         static_cast<long long>(found.outputs[i]), static_cast<long long>(found.vectors->golden[i]));
            return false;
        }
    }
    return true;
}

using Device = ${core.name}_device;
using Status = ${core.name}_status;

${self.use()}\

int failed(Status status, const char* what) {
    std::fprintf(stderr, "${core.name}: %s%s\n", what, ${core.name}_message(status));
    return 1;
}

}  // namespace

double sc_time_stamp() { return 0; }

int main(int argc, char** argv) {
    const int seeds = argc > 1 ? std::atoi(argv[1]) : 4;
    std::vector<std::string> paths(argv + (argc > 2 ? 2 : argc), argv + argc);
    if (paths.empty()) {
        paths = {${", ".join(f'"{vector}"' for vector in simulation.vectors)}};
    }
    Core core;
    Device device = {};
    device.context = &core;
    device.read = [](void* context, std::uint32_t offset) { return static_cast<Core*>(context)->read(offset); };
    device.write = [](void* context, std::uint32_t offset, std::uint32_t value) {
        static_cast<Core*>(context)->write(offset, value);
    };
    core.reach(device);
    if (const auto status = ${core.name}_open(&device)) return failed(status, "");
    if (const auto status = prepare(device)) return failed(status, "the memories: ");
    std::vector<Vectors> all(paths.size());
    for (std::size_t i = 0; i < paths.size(); ++i) {
        if (!load(paths[i], all[i])) {
            std::fprintf(stderr, "%s: no vectors of build %s\n", paths[i].c_str(), ${N}_BUILD_HASH);
            return 1;
        }
    }
    std::size_t rows = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        for (int seed = 0; seed < seeds; ++seed) {
            std::vector<Found> found;
            core.seed(static_cast<unsigned>(seed));
            if (const auto status = run(device, all, i, seed, found)) {
                const auto what = "${self.attr.unit} " + std::to_string(all[i].number) + ", stall pattern " + std::to_string(seed) + ": ";
                return failed(status, what.c_str());
            }
            for (const auto& each : found) {
                if (!compare(each, seed)) return 1;
                rows += each.outputs.size() / OUTPUT_WIDTH;
            }
        }
    }
    std::printf("${core.name}: build %s, %zu rows, 0 differ\n", ${N}_BUILD_HASH, rows);
    return 0;
}
