<%inherit file="simulated.cpp.mako"/>\
<%! others = "streams" %>\
<%! unit = "sequence" %>\
<%def name="beside()">\
<% N = core.name.upper() %>\
<%include file="streams.cpp.mako"/>\
using Input = ${"std::uint16_t" if core.tokens else "std::uint8_t"};
using Output = std::int16_t;
constexpr std::size_t INPUT_WIDTH = ${"1" if core.tokens else f"{N}_HEIGHT * {N}_WIDTH * {N}_CHANNELS"}, OUTPUT_WIDTH = ${N}_LOGITS;

</%def>\
<%def name="use()">\
<% N = core.name.upper() %>\
<%include file="read_file.cpp.mako"/>\
Status prepare(const Device& device) {
    const auto image = content_of("${simulation.images[0]}");
    return ${core.name}_load(&device, image.data(), image.size());
}

% if core.tokens:
// A sequence at once, or with odd seeds in pieces: its first half, then token by token.
Status run(const Device& device, const std::vector<Vectors>& all, std::size_t i, int seed, std::vector<Found>& found) {
    static ${core.name}_packets packets;
    const Vectors& vectors = all[i];
    found.push_back(unwritten(vectors));
    std::size_t count = seed % 2 ? (vectors.count + 1) / 2 : vectors.count;
    for (std::size_t past = 0; past < vectors.count; past += count, count = 1) {
        if (const auto status = ${core.name}_feed(&device, &vectors.rows[past], count, past, &packets, &found[0].outputs[past * OUTPUT_WIDTH])) {
            return status;
        }
    }
    return ${N}_OK;
}
% else:
Status run(const Device& device, const std::vector<Vectors>& all, std::size_t i, int, std::vector<Found>& found) {
    static ${core.name}_packets packets;
    found.push_back(unwritten(all[i]));
    for (std::size_t image = 0; image < all[i].count; ++image) {
        if (const auto status = ${core.name}_run(&device, &all[i].rows[image * INPUT_WIDTH], &packets, &found[0].outputs[image * OUTPUT_WIDTH])) {
            return status;
        }
    }
    return ${N}_OK;
}
% endif
</%def>\
