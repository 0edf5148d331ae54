#include "serq_network.h"

#include "serq_kernel.h"
#include "serq_fixed.h"

enum { ACTIVATION_MAX = 127, ZERO_POINT = 64, GROUP = 8 };

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

void serq_dense_start(const int32_t *bias, int32_t factor, uint16_t inputs, uint16_t outputs, uint8_t *activations, int32_t *accumulators)
{
    uint32_t sum = 0;
    for (const uint8_t *end = activations + inputs; activations != end; activations++) {
        sum += *activations;
    }
    for (unsigned tail = (0U - inputs) % GROUP; tail > 0; tail--) {
        *activations++ = 0;
    }
    sum *= (uint32_t)factor;
    for (const int32_t *end = bias + outputs; bias != end; bias++) {
        *accumulators++ = (int32_t)((uint32_t)*bias + sum);
    }
}

void serq_requantize(const int32_t *accumulators, uint16_t count, uint32_t multiplier, uint8_t shift, uint8_t *activations)
{
    uint32_t half = (uint32_t)1 << (shift - 1);
    /* the first accumulator that gives 127 or more; the products of all before it fit 31 bits */
    uint32_t limit = (((uint32_t)ACTIVATION_MAX << shift) - half + multiplier - 1) / multiplier;
    for (const int32_t *end = accumulators + count; accumulators != end; accumulators++) {
        uint32_t value = (uint32_t)*accumulators; /* a negative one is beyond the limit */
        *activations++ = value < limit ? (uint8_t)((value * multiplier + half) >> shift) : (uint8_t)(~(*accumulators >> 31) & ACTIVATION_MAX);
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
