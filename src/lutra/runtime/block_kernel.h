// The kernels of a block, as templates over an instruction set; included by one source per instruction set, after its
// target pragma (hence the anonymous namespace: the same template must not be shared between instruction sets).
#pragma once

#include <cstdint>
#include <cstring>

#include "block.h"

namespace lutra {
namespace {

using Plane = uint64_t __attribute__((vector_size(64)));  // 512 tokens
using Sums = int16_t __attribute__((vector_size(64)));    // 32 outputs

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

struct Workspace {
    int8_t* columns;     // (width rounded up to 64, COLUMN_STRIDE)
    Plane* planes;       // (planes)
    uint8_t* addresses;  // (groups, ADDRESS_STRIDE); 64 tokens at a time, in the order that the instruction set wants
    Sums* tables;        // (GROUPS_AT_ONCE, GROUP_ENTRIES)
    Sums* sums;          // (BLOCK_TOKENS)
    int16_t* turned[2];  // (COLUMNS, SUM_STRIDE) sums by output
    int32_t* wide;       // (BLOCK_TOKENS, COLUMNS)
    int64_t bytes;

    Workspace(const Block& block, char* base) {
        char* next = base;
        const auto take = [&](int64_t size) {
            char* taken = next;
            next += round_up(size, 64);
            return taken;
        };
        tables = reinterpret_cast<Sums*>(take(GROUPS_AT_ONCE * GROUP_ENTRIES * sizeof(Sums)));
        // Three that share memory, so that more of the workspace stays in the L2 cache: columns are done with when the
        // planes of LUT layers are made, and both are when sums by output are.
        char* const shared = next;
        for (int16_t*& sums_by_output : turned)
            sums_by_output = reinterpret_cast<int16_t*>(take(COLUMNS * SUM_STRIDE * sizeof(int16_t)));
        char* const after_turned = next;
        next = shared;
        planes = reinterpret_cast<Plane*>(take(block.planes * sizeof(Plane)));
        columns = reinterpret_cast<int8_t*>(planes + block.width * block.thermometer_bits);
        char* const after_columns =
            shared + block.width * block.thermometer_bits * sizeof(Plane) + round_up(block.width, 64) * COLUMN_STRIDE;
        if (next < after_columns) next = after_columns;
        if (next < after_turned) next = after_turned;
        addresses = reinterpret_cast<uint8_t*>(take(block.group_count * ADDRESS_STRIDE));
        sums = reinterpret_cast<Sums*>(take(BLOCK_TOKENS * sizeof(Sums)));
        wide = reinterpret_cast<int32_t*>(take(BLOCK_TOKENS * COLUMNS * sizeof(int32_t)));
        bytes = next - base;
    }
};

template <class Out>
void narrow(const int32_t* values, int64_t count, char* out) {
    for (int64_t i = 0; i < count; ++i) reinterpret_cast<Out*>(out)[i] = Out(values[i]);
}

// Outputs beside each other; they lie in the range of their type, signed or not.
inline void store_outputs(const Block& block, const int32_t* values, int64_t count, char* out) {
    switch (block.output_bytes) {
        case 1: return narrow<int8_t>(values, count, out);
        case 2: return narrow<int16_t>(values, count, out);
        default: return narrow<int32_t>(values, count, out);
    }
}

// Plain C++ for any machine; an instruction set overrides what it does better.
struct Portable {
    static Plane mux(Plane select, Plane zero, Plane one) { return zero ^ ((zero ^ one) & select); }

    // Bytes of 512 tokens, feature by feature: columns[f * COLUMN_STRIDE + t] = x[t * width + f].
    static void transpose(const int8_t* x, int64_t tokens, int64_t width, int8_t* columns) {
        for (int64_t t = 0; t < tokens; ++t)
            for (int64_t f = 0; f < width; ++f) columns[f * COLUMN_STRIDE + t] = x[t * width + f];
    }

    static uint64_t at_least(const int8_t* values, int8_t threshold) {
        uint64_t bits = 0;
        for (int64_t part = 0; part < 8; ++part) {
            uint64_t flags = 0;  // eight bytes of 0 or 1
            for (int64_t i = 0; i < 8; ++i) flags |= uint64_t(values[8 * part + i] >= threshold) << (8 * i);
            bits |= (flags * 0x0102040810204080u >> 56) << (8 * part);
        }
        return bits;
    }

    static void thermometer(const int8_t* column, int64_t words, const int8_t* thresholds, int64_t count,
                            uint64_t* planes);

    // Of the first 64 * `words` tokens at least.
    static void lut_layer(const LutLayer& layer, Plane* planes, int64_t words);

    // Addresses of 64 tokens from one word of six planes.
    static void addresses(const uint64_t* word, uint8_t* out) {
        for (int64_t part = 0; part < 8; ++part) {
            uint64_t bytes = 0;
            for (int64_t i = 0; i < GROUP_BITS; ++i) {
                const uint64_t bits = word[i] >> (8 * part) & 0xff;
                // Bit j to byte j: copy the byte eight times, keep bit j in byte j, move it to the lowest place.
                const uint64_t spread = bits * 0x0101010101010101u & 0x8040201008040201u;
                bytes |= ((spread + 0x00406070787c7e7fu) >> 7 & 0x0101010101010101u) << i;
            }
            memcpy(out + 8 * part, &bytes, 8);
        }
    }

    // 32 outputs from their sums, by doubles: exact, since every product is below 2^52.
    static void requantise(const int32_t* sums, const double* scale, const double* offset, double low, double high,
                           int32_t* out) {
        for (int64_t i = 0; i < COLUMNS; ++i) {
            double value = double(sums[i]) * scale[i] + offset[i];
            value = value < low ? low : value;
            value = value > high ? high : value;
            out[i] = int32_t(__builtin_floor(value));
        }
    }

    // Writes blocks of 32 outputs that are exact in int32 and have one segment.
    struct Writer {
        const Block& block;
        const int64_t tokens;
        const Workspace& space;
        char* const out;

        Writer(const Block& b, int64_t t, const Workspace& s, char* o, bool /*past_cache*/, const int8_t* /*next_x*/)
            : block(b), tokens(t), space(s), out(o) {}

        // The outputs from `column` on, of which the sums have just been made.
        void write(int64_t column) const {
            const auto low = int32_t(block.low), high = int32_t(block.high);
            const int32_t* offset = block.int32_offset + column;
            for (int64_t t = 0; t < tokens; ++t) {
                int32_t values[COLUMNS];
                for (int64_t i = 0; i < COLUMNS; ++i) {
                    const auto product = uint32_t(space.sums[t][i]) * uint32_t(block.int32_multiplier[column + i]);
                    const int32_t value = int32_t(product + uint32_t(offset[i])) >> block.int32_shift[column + i];
                    values[i] = value < low ? low : value > high ? high : value;
                }
                store_outputs(block, values, COLUMNS, out + (t * block.output_width + column) * block.output_bytes);
            }
        }

        void finish() const {}
    };

    // The int16 sums of one segment, minus its centre, of 32 outputs, as the writer wants them.
    static void sum_segment(const Block& block, int64_t segment, int64_t tokens, const Workspace& space, const Writer&);

    // Makes `sums` of what sum_segment left: token by token.
    static void turn_sums(int64_t, const Workspace&, const Writer&) {}

    static void widen(Sums sums, int32_t* out) {
        for (int64_t i = 0; i < COLUMNS; ++i) out[i] = sums[i];
    }
};

template <class Isa>
void thermometer_words(const int8_t* column, int64_t words, const int8_t* thresholds, int64_t count, uint64_t* planes) {
    for (int64_t t = 0; t < count; ++t)
        for (int64_t w = 0; w < words; ++w) planes[t * WORDS + w] = Isa::at_least(column + 64 * w, thresholds[t]);
}

inline void Portable::thermometer(const int8_t* column, int64_t words, const int8_t* thresholds, int64_t count,
                                  uint64_t* planes) {
    thermometer_words<Portable>(column, words, thresholds, count, planes);
}

// ---- LUT layers: Shannon expansion of 512 tokens at once --------------------------------------------------------
// All sixteen functions of the first two inputs are computed once; the table, cut into nibbles, picks among them; the
// remaining inputs select in a tree.

template <class Isa, int inputs>
inline Plane select_tree(const Plane* functions, const Plane* x, const uint8_t* nibbles) {
    if constexpr (inputs == 2) {
        return functions[*nibbles];
    } else {
        const Plane zero = select_tree<Isa, inputs - 1>(functions, x, nibbles);
        const Plane one = select_tree<Isa, inputs - 1>(functions, x, nibbles + (1 << (inputs - 3)));
        return Isa::mux(x[inputs - 1], zero, one);
    }
}

template <class Isa, int inputs>
void select_layer(const LutLayer& layer, Plane* planes) {
    Plane functions[16];
    functions[0] = Plane{};
    functions[15] = ~Plane{};
    for (int64_t l = 0; l < layer.luts; ++l) {
        const int32_t* connections = layer.connections + l * inputs;
        Plane x[inputs];
        for (int i = 0; i < inputs; ++i) x[i] = planes[connections[i]];
        const Plane a = x[0], b = x[1];
        // Entry k of a nibble belongs to (b, a) = k.
        functions[1] = ~(a | b), functions[2] = a & ~b, functions[3] = ~b, functions[4] = ~a & b;
        functions[5] = ~a, functions[6] = a ^ b, functions[7] = ~(a & b), functions[8] = a & b;
        functions[9] = ~(a ^ b), functions[10] = a, functions[11] = a | ~b, functions[12] = b;
        functions[13] = ~a | b, functions[14] = a | b;
        const uint8_t* nibbles = layer.nibbles + l * ((1 << inputs) / 4);
        planes[layer.first_plane + l] = select_tree<Isa, inputs>(functions, x, nibbles);
    }
}

template <class Isa>
void select_layer(const LutLayer& layer, Plane* planes) {
    switch (layer.inputs) {
        case 2: return select_layer<Isa, 2>(layer, planes);
        case 3: return select_layer<Isa, 3>(layer, planes);
        case 4: return select_layer<Isa, 4>(layer, planes);
        case 5: return select_layer<Isa, 5>(layer, planes);
        case 6: return select_layer<Isa, 6>(layer, planes);
        case 7: return select_layer<Isa, 7>(layer, planes);
        default: return select_layer<Isa, 8>(layer, planes);
    }
}

inline void Portable::lut_layer(const LutLayer& layer, Plane* planes, int64_t) {
    select_layer<Portable>(layer, planes);
}

// ---- Conditional sum --------------------------------------------------------------------------------------------

inline void build_table(const int16_t* pairs, Sums* table) {
    table[0] = Sums{};
    for (int bit = 0; bit < GROUP_BITS; ++bit) {
        Sums row;
        memcpy(&row, pairs + bit / 2 * COLUMNS, sizeof row);
        row = (bit % 2 ? row : row << 8) >> 8;
        for (int i = 0; i < 1 << bit; ++i) table[(1 << bit) + i] = table[i] + row;
    }
}

// Adds `groups` tables to the int16 sums of all tokens. Sums may wrap on the way; the last one fits (segment_start).
template <int groups>
void add_tables(const Sums* tables, const uint8_t* const* addresses, int64_t tokens, const Sums* start, Sums* sums) {
    const uint8_t* rows[groups];
    for (int g = 0; g < groups; ++g) rows[g] = addresses[g];
    for (int64_t t = 0; t < tokens; ++t) {
        Sums sum = start ? *start : sums[t];
        for (int g = 0; g < groups; ++g) sum += tables[g * GROUP_ENTRIES + rows[g][t]];
        sums[t] = sum;
    }
}

using AddTables = void (*)(const Sums*, const uint8_t* const*, int64_t, const Sums*, Sums*);
constexpr AddTables ADD_TABLES[] = {nullptr,       add_tables<1>, add_tables<2>, add_tables<3>, add_tables<4>,
                                    add_tables<5>, add_tables<6>, add_tables<7>, add_tables<8>};

inline void Portable::sum_segment(const Block& block, int64_t segment, int64_t tokens, const Workspace& space,
                                  const Writer&) {
    Sums start_value;
    memcpy(&start_value, block.segment_start + segment * COLUMNS, sizeof start_value);
    const Sums* start = &start_value;
    const int64_t end = block.segment_tables[segment + 1];
    for (int64_t table = block.segment_tables[segment]; table < end; table += GROUPS_AT_ONCE) {
        const int64_t groups = end - table < GROUPS_AT_ONCE ? end - table : GROUPS_AT_ONCE;
        const uint8_t* addresses[GROUPS_AT_ONCE];
        for (int64_t g = 0; g < groups; ++g) {
            build_table(block.table_pairs + (table + g) * 3 * COLUMNS, space.tables + g * GROUP_ENTRIES);
            addresses[g] = space.addresses + block.table_group[table + g] * ADDRESS_STRIDE;
        }
        ADD_TABLES[groups](space.tables, addresses, tokens, start, space.sums);
        start = nullptr;
    }
}

// The outputs from `column` on, 32 or as many as there are; `row` is that of their token.
template <class Isa>
void requantise(const Block& block, int64_t column, const int32_t* sums, bool centred, char* row) {
    int32_t values[COLUMNS];
    if (block.exact_in_double) {
        const double* offset = (centred ? block.offset : block.token_offset) + column;
        Isa::requantise(sums, block.scale + column, offset, double(block.low), double(block.high), values);
    } else {
        for (int64_t i = 0; i < COLUMNS; ++i) {
            const int64_t shift = block.shift[column + i];
            const int64_t sum = sums[i] + (centred ? block.constant : block.bias)[column + i];
            const int64_t half = shift > 0 ? int64_t(1) << (shift - 1) : 0;
            const int64_t value = (sum * block.multiplier[column + i] + half) >> shift;
            values[i] = int32_t(value < block.low ? block.low : value > block.high ? block.high : value);
        }
    }
    const int64_t left = block.output_width - column;
    store_outputs(block, values, left < COLUMNS ? left : COLUMNS, row + column * block.output_bytes);
}

// ---- Many tokens ------------------------------------------------------------------------------------------------

template <class Isa>
void compute_addresses(const Block& block, const int8_t* x, int64_t tokens, const Workspace& space, int64_t first) {
    const int64_t words = (tokens + 63) / 64;
    Isa::transpose(x, tokens, block.width, space.columns);
    uint64_t* thermometer = reinterpret_cast<uint64_t*>(space.planes);
    for (int64_t f = 0; f < block.width; ++f)
        Isa::thermometer(space.columns + f * COLUMN_STRIDE, words, block.thresholds + f * block.thermometer_bits,
                         block.thermometer_bits, thermometer + f * block.thermometer_bits * WORDS);
    for (int64_t i = 0; i < block.dead_count; ++i) space.planes[block.dead[i]] = Plane{};
    for (int64_t k = 0; k < block.layer_count; ++k) Isa::lut_layer(block.layers[k], space.planes, words);
    for (int64_t g = 0; g < block.group_count; ++g) {
        const int32_t* planes = block.group_planes + g * GROUP_BITS;
        for (int64_t w = 0; w < words; ++w) {
            uint64_t word[GROUP_BITS];
            for (int64_t i = 0; i < GROUP_BITS; ++i) word[i] = space.planes[planes[i]][w];
            Isa::addresses(word, space.addresses + g * ADDRESS_STRIDE + first + 64 * w);
        }
    }
}

template <class Isa>
void run_block(const Block& block, const int8_t* x, int64_t tokens, char* out, bool past_cache, char* memory) {
    const Workspace space(block, memory);
    const int64_t row_bytes = block.output_width * block.output_bytes;
    for (int64_t first = 0; first < tokens; first += TOKENS) {
        const int64_t count = tokens - first < TOKENS ? tokens - first : TOKENS;
        compute_addresses<Isa>(block, x + first * block.width, count, space, first);
    }
    typename Isa::Writer writer(block, tokens, space, out, past_cache, x + tokens * block.width);
    for (int64_t c = 0; c < block.column_blocks; ++c) {
        const int64_t column = c * COLUMNS, first = block.column_segments[c], end = block.column_segments[c + 1];
        if (end - first == 1 && block.exact_in_int32 && column + COLUMNS <= block.output_width) {
            Isa::sum_segment(block, first, tokens, space, writer);
            writer.write(column);
            continue;
        }
        for (int64_t segment = first; segment < end; ++segment) {
            Isa::sum_segment(block, segment, tokens, space, writer);
            Isa::turn_sums(tokens, space, writer);
            for (int64_t t = 0; t < tokens; ++t) {
                int32_t wide[COLUMNS];
                Isa::widen(space.sums[t], wide);
                for (int64_t i = 0; i < COLUMNS; ++i)
                    space.wide[t * COLUMNS + i] = wide[i] + (segment == first ? 0 : space.wide[t * COLUMNS + i]);
            }
        }
        for (int64_t t = 0; t < tokens; ++t)
            requantise<Isa>(block, column, space.wide + t * COLUMNS, true, out + t * row_bytes);
    }
    writer.finish();
}

// ---- One token --------------------------------------------------------------------------------------------------

template <class Isa>
void run_token(const Block& block, const int8_t* x, char* out, char* memory) {
    uint8_t* bits = reinterpret_cast<uint8_t*>(memory);  // one byte per plane
    const int64_t count = block.thermometer_bits;
    for (int64_t f = 0; f < block.width; ++f)
        for (int64_t t = 0; t < count; ++t) bits[f * count + t] = x[f] >= block.thresholds[f * count + t];
    for (int64_t i = 0; i < block.dead_count; ++i) bits[block.dead[i]] = 0;
    for (int64_t k = 0; k < block.layer_count; ++k) {
        const LutLayer& layer = block.layers[k];
        for (int64_t l = 0; l < layer.luts; ++l) {
            int64_t address = 0;
            for (int64_t i = 0; i < layer.inputs; ++i)
                address |= int64_t(bits[layer.connections[l * layer.inputs + i]]) << i;
            const uint8_t nibble = layer.nibbles[(l << layer.inputs >> 2) + (address >> 2)];
            bits[layer.first_plane + l] = nibble >> (address & 3) & 1;
        }
    }
    const int64_t columns = block.column_blocks * COLUMNS;
    int32_t* sums = reinterpret_cast<int32_t*>(memory + round_up(block.planes, 64));
    memset(sums, 0, columns * sizeof *sums);
    for (int64_t r = 0; r < block.sum_rows; ++r) {
        if (!bits[block.sum_planes[r]]) continue;
        const int8_t* row = block.encoded + r * columns;
        for (int64_t d = 0; d < columns; ++d) sums[d] += row[d];
    }
    for (int64_t column = 0; column < columns; column += COLUMNS)
        requantise<Isa>(block, column, sums + column, false, out);
}

inline int64_t workspace_bytes(const Block& block) {
    const int64_t one_token =
        block.planes + block.sum_rows + block.column_blocks * COLUMNS * 4 + block.width + block.packed_words * 8 + 4096;
    const int64_t many = Workspace(block, nullptr).bytes;
    return many > one_token ? many : one_token;
}

}  // namespace
}  // namespace lutra
