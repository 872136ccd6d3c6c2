<%inherit file="simulated.cpp.mako"/>\
<%! others, unit = "streams", "block" %>\
<%def name="beside()">\
<%include file="streams.cpp.mako"/>\
using Input = ${core.name}_input;
using Output = ${core.name}_output;
constexpr std::size_t INPUT_WIDTH = ${core.input.width}, OUTPUT_WIDTH = ${core.output.width};
</%def>\
<%def name="use()">\
Status prepare(const Device&) { return ${core.name.upper()}_OK; }

Status run(const Device& device, const std::vector<Vectors>& all, std::size_t i, int, std::vector<Found>& found) {
    found.push_back(unwritten(all[i]));
    return ${core.name}_run(&device, all[i].number, all[i].rows.data(), found[0].outputs.data(), all[i].count);
}
</%def>\
