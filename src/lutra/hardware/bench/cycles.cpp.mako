// Feeds a module without streams one word of inputs per cycle and records its outputs. Usage: testbench VECTORS RESULTS
#include <cstdio>
#include <vector>
#include "Vtestbench.h"
#include "bench.h"

constexpr std::size_t input_words = ${input_words}, output_words = ${output_words};

// Never destroyed: Verilator's own statics may be gone before this.
static Vtestbench& top = *new Vtestbench{&random_context()};

int main(int argc, char** argv) {
    if (argc != 3) return 1;
    std::FILE* vectors = std::fopen(argv[1], "rb");
    std::FILE* results = std::fopen(argv[2], "wb");
    if (!vectors || !results) return 1;
    uint32_t input[input_words], output[output_words] = {};
    while (std::fread(input, 4, input_words, vectors) == input_words) {
        put(top.inputs_i, input);
        top.clk_i = 0;
        top.eval();
        get(top.outputs_o, output, output_words);
        std::fwrite(output, 4, output_words, results);
        top.clk_i = 1;
        top.eval();
    }
    top.final();
    return std::fclose(results);
}
