// Weights in one bit or two: the integers of `reference.few_bit_weight` and their scales.
//
// What decides them are means over whole matrices or rows. They are summed in float64, in a fixed order, and rounded
// once, so that instruction sets and numbers of threads agree.
#include "../block.h"
#include "../simd/bfloat16.h"
#include "export.h"

namespace lutra {

struct FewBitWeight {
    int64_t groups, size, threads;  // weights of a group share a scale
    int32_t ternary, centred;       // ternary: TWN; otherwise the sign, `centred` of weight minus mean
    int32_t scaled, bfloat16;       // whether values are multiplied with their scale; their type
    float threshold;                // TWN: of the mean magnitude
    const float* latent;
    void* values;   // (groups, size)
    float* scales;  // (groups)
};

namespace {

constexpr int64_t PIECE = 1 << 12;  // weights that a thread takes at a time
using Doubles = double __attribute__((vector_size(128)));

LUTRA_INLINE double sum_of(Doubles x) {
    double sum = 0;
    for (int lane = 0; lane < 16; ++lane) sum += x[lane];
    return sum;
}

LUTRA_INLINE Floats magnitude_of(Floats x) { return (Floats)((Ints)x & 0x7fffffff); }

// Two sums over a piece of weights.
struct Sums {
    double of_values = 0, of_ones = 0;
};

// Sums of each group over all of its pieces: terms(weights, group) returns two vectors to add up.
template <class Terms>
std::vector<Sums> sums_of_groups(const FewBitWeight& w, Terms&& terms) {
    const int64_t pieces = (w.size + PIECE - 1) / PIECE;
    std::vector<Sums> parts(w.groups * pieces), sums(w.groups);
    parallel(w.groups * pieces, w.threads, [&](int64_t part) {
        const int64_t group = part / pieces, first = part % pieces * PIECE;
        const Elements latent(w.latent + group * w.size, false);
        Doubles values = {}, ones = {};
        for (int64_t at = first; at < std::min(w.size, first + PIECE); at += 16) {
            const auto [value, one] = terms(latent.load(at, std::min<int64_t>(16, w.size - at)), group);
            values += __builtin_convertvector(value, Doubles);
            ones += __builtin_convertvector(one, Doubles);
        }
        parts[part] = {sum_of(values), sum_of(ones)};
    });
    for (int64_t part = 0; part < w.groups * pieces; ++part) {
        sums[part / pieces].of_values += parts[part].of_values;
        sums[part / pieces].of_ones += parts[part].of_ones;
    }
    return sums;
}

// integer_of(weights, group) of all weights, times the group's scale if that is wanted.
template <class Integers>
void write_values(const FewBitWeight& w, Integers&& integer_of) {
    const int64_t pieces = (w.size + PIECE - 1) / PIECE;
    parallel(w.groups * pieces, w.threads, [&](int64_t part) {
        const int64_t group = part / pieces, first = part % pieces * PIECE;
        const Elements latent(w.latent, false), values(w.values, w.bfloat16);
        const Floats factor = splat(w.scaled ? w.scales[group] : 1);
        for (int64_t i = first; i < std::min(w.size, first + PIECE); i += 16) {
            const int64_t at = group * w.size + i, lanes = std::min<int64_t>(16, w.size - i);
            values.store(at, lanes, integer_of(latent.load(at, lanes), group) * factor);
        }
    });
}

struct Terms {
    Floats value, one;
};

}  // namespace

LUTRA_EXPORT void lutra_few_bit_weight(const FewBitWeight* call) {
    const FewBitWeight& w = *call;
    const std::vector<Sums> all = sums_of_groups(w, [](Floats x, int64_t) { return Terms{magnitude_of(x), x}; });
    std::vector<float> bound(w.groups);  // of magnitudes, or of weights
    for (int64_t group = 0; group < w.groups; ++group) {
        const float mean = (float)(all[group].of_values / (double)w.size);
        w.scales[group] = mean;
        bound[group] = w.ternary ? w.threshold * mean : w.centred ? (float)(all[group].of_ones / (double)w.size) : 0;
    }
    if (!w.ternary)
        return write_values(w,
                            [&](Floats x, int64_t group) { return x >= splat(bound[group]) ? splat(1) : splat(-1); });
    const std::vector<Sums> kept = sums_of_groups(w, [&](Floats x, int64_t group) {
        const Floats magnitude = magnitude_of(x), one = magnitude > splat(bound[group]) ? splat(1) : splat(0);
        return Terms{magnitude * one, one};
    });
    for (int64_t group = 0; group < w.groups; ++group)
        w.scales[group] = (float)(kept[group].of_values / std::max(1.0, kept[group].of_ones));
    write_values(w, [&](Floats x, int64_t group) {
        const Floats bounds = splat(bound[group]);
        const Floats sign = x > splat(0) ? splat(1) : splat(-1);
        return magnitude_of(x) > bounds ? sign : splat(0);
    });
}

}  // namespace lutra
