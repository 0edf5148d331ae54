#include "serq_network.h"

#include "serq_fixed.h"

enum { ACTIVATION_MAX = 127, ZERO_POINT = 64, GROUP = 8, TILE_GROUPS = 4, SUBSETS = 256 };

/* Deviations from the center beyond this saturate; keeps the product with an 11-bit multiplier in 32 bits. */
#define DEVIATION_MAX ((1L << 20) - 1)

static int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

void serq_standardize(const int32_t *pooled, uint16_t count, const int32_t *center, const uint16_t *multiplier, const uint8_t *shift,
                      uint8_t *activations)
{
    for (uint16_t i = 0; i < count; i++) {
        /* |center| <= 2^19, so the first clamp changes no result and keeps the difference in range */
        int32_t deviation = clamp(pooled[i], -4 * DEVIATION_MAX, 4 * DEVIATION_MAX) - center[i];
        int32_t scaled = clamp(deviation, -DEVIATION_MAX, DEVIATION_MAX) * (int32_t)multiplier[i];
        activations[i] = (uint8_t)clamp(ZERO_POINT + serq_rshift_round(scaled, shift[i]), 0, ACTIVATION_MAX);
    }
}

/* sums[b] = sum of the inputs whose bit is set in b */
static void subset_sums(const uint8_t *inputs, uint16_t *sums)
{
    sums[0] = 0;
    for (unsigned i = 0, half = 1; i < GROUP; i++, half *= 2) {
        for (unsigned b = 0; b < half; b++) {
            sums[half + b] = (uint16_t)(sums[b] + inputs[i]);
        }
    }
}

void serq_dense_planes8(const uint8_t *weights, const int32_t *bias, uint16_t inputs, uint16_t outputs, uint8_t bits, uint8_t *activations,
                        uint16_t *table, int32_t *accumulators)
{
    uint16_t padded = (uint16_t)((inputs + GROUP - 1) / GROUP * GROUP);
    int32_t sum = 0;
    for (uint16_t i = inputs; i < padded; i++) {
        activations[i] = 0;
    }
    for (uint16_t i = 0; i < inputs; i++) {
        sum += activations[i];
    }
    /* sum of (2u - (2^bits - 1)) * x + bias, the fields' part to be added plane by plane */
    int32_t offset = sum * ((1 << bits) - 1);
    for (uint16_t o = 0; o < outputs; o++) {
        accumulators[o] = bias[o] - offset;
    }
    for (uint16_t start = 0; start < padded; start = (uint16_t)(start + TILE_GROUPS * GROUP)) {
        unsigned groups = (unsigned)(padded - start) / GROUP;
        groups = groups < TILE_GROUPS ? groups : TILE_GROUPS;
        for (unsigned g = 0; g < groups; g++) {
            subset_sums(activations + start + g * GROUP, table + g * SUBSETS);
        }
        for (uint16_t o = 0; o < outputs; o++) {
            int32_t total = 0;
            for (unsigned plane = 1; plane <= bits; plane++) {
                int32_t part = 0;
                const uint16_t *sums = table;
                for (unsigned g = 0; g < groups; g++, sums += SUBSETS) {
                    part += sums[*weights++];
                }
                total += part << plane; /* 2 * 2^(plane - 1) */
            }
            accumulators[o] += total;
        }
    }
}

void serq_requantize(const int32_t *accumulators, uint16_t count, uint32_t multiplier, uint8_t shift, uint8_t *activations)
{
    uint32_t half = (uint32_t)1 << (shift - 1);
    /* the first accumulator that gives 127; its product fits 31 bits, and so does every smaller one */
    uint32_t limit = (((uint32_t)ACTIVATION_MAX << shift) - half + multiplier - 1) / multiplier;
    for (uint16_t i = 0; i < count; i++) {
        uint32_t value = accumulators[i] > 0 ? (uint32_t)accumulators[i] : 0;
        value = value < limit ? value : limit;
        uint32_t scaled = (value * multiplier + half) >> shift;
        activations[i] = (uint8_t)(scaled < ACTIVATION_MAX ? scaled : ACTIVATION_MAX);
    }
}

uint8_t serq_argmax(const int32_t *scores, uint8_t count)
{
    uint8_t best = 0;
    for (uint8_t i = 1; i < count; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}
