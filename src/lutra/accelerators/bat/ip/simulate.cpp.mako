<%inherit file="simulated.cpp.mako"/>\
<%! others = "registers and memory" %>\
<%! unit = "sentence" %>\
<%def name="beside()">\
<%
N, modules = core.name.upper(), range(len(core.config.modules))
address = ("addr", "len", "size", "burst")
%>\
using Input = std::uint16_t;   // bits of binary16
using Output = std::uint16_t;
constexpr std::size_t INPUT_WIDTH = ${N}_WIDTH, OUTPUT_WIDTH = ${N}_WIDTH;
constexpr std::uint32_t ADDRESS = 0x3000, BEAT_BYTES = ${core.interfaces[0].bits // 8}, LATENCY = ${core.config.memory_latency};

// The core beside a memory, which all of its masters reach.
class Core : public Registers {
public:
    Core() : words_((ADDRESS + ${N}_MEMORY_BYTES + 3) / 4) { seed(0); }

    void reach(${core.name}_device& device) {
        device.memory = reinterpret_cast<std::uint8_t*>(words_.data()) + ADDRESS;
        device.address = ADDRESS;
    }

    void seed(unsigned value) override {
        Registers::seed(value);
        std::uint64_t each = 16 * value;
% for m in modules:
        load_${m}_ = std::make_unique<AxiReadPort>(words_, BEAT_BYTES, LATENCY, 1, ++each);
        read_${m}_ = std::make_unique<AxiReadPort>(words_, BEAT_BYTES, LATENCY, 1, ++each);
        write_${m}_ = std::make_unique<AxiWritePort>(words_, BEAT_BYTES, LATENCY, 1, ++each);
% endfor
    }

protected:
    void cycle() override {
        auto& top = *top_;
% for m in modules:
%     for port, bus in (("load", f"m_axi_load_{m}"), ("read", f"m_axi_rows_{m}")):
        ${port}_${m}_->drive(patterns_, top.${bus}_arready, top.${bus}_rvalid, top.${bus}_rdata, top.${bus}_rlast);
%     endfor
<% bus = f"m_axi_rows_{m}" %>\
        write_${m}_->drive(patterns_, top.${bus}_awready, top.${bus}_wready, top.${bus}_bvalid);
% endfor
        top.eval();
% for m in modules:
%     for port, bus in (("load", f"m_axi_load_{m}"), ("read", f"m_axi_rows_{m}")):
        ${port}_${m}_->step(top.${bus}_arvalid, ${", ".join(f"top.{bus}_ar{each}" for each in address)}, top.${bus}_rready);
        check(${port}_${m}_->problem);
%     endfor
<% bus = f"m_axi_rows_{m}" %>\
        write_${m}_->step(top.${bus}_awvalid, ${", ".join(f"top.{bus}_aw{each}" for each in address)}, top.${bus}_wvalid,
                      top.${bus}_wdata, top.${bus}_wstrb, top.${bus}_wlast, top.${bus}_bready);
        check(write_${m}_->problem);
% endfor
        Registers::cycle();
    }

private:
    static void check(const std::string& problem) {
        if (problem.empty()) return;
        std::fprintf(stderr, "${core.name}: AXI: %s\n", problem.c_str());
        std::exit(1);
    }

    std::vector<std::uint32_t> words_;
% for m in modules:
    std::unique_ptr<AxiReadPort> load_${m}_, read_${m}_;
    std::unique_ptr<AxiWritePort> write_${m}_;
% endfor
};

</%def>\
<%def name="use()">\
<%
N = core.name.upper()
weights, programs = simulation.images
%>\
<%include file="read_file.cpp.mako"/>\
Status prepare(const Device& device) {
    const auto weights = content_of("${weights}");
    return ${core.name}_load(&device, weights.data(), weights.size());
}

// A sentence with those that follow it, as many as run at the same time.
Status run(const Device& device, const std::vector<Vectors>& all, std::size_t i, int, std::vector<Found>& found) {
    static const auto programs = content_of("${programs}");
    std::vector<${core.name}_sentence> sentences;
    for (std::size_t place = 0; place < ${N}_SENTENCES; ++place) {
        const Vectors& vectors = all[(i + place) % all.size()];
        found.push_back(unwritten(vectors));
        sentences.push_back({vectors.count, vectors.rows.data(), found.back().outputs.data()});
    }
    return ${core.name}_run(&device, programs.data(), programs.size(), sentences.data(), sentences.size());
}
</%def>\
