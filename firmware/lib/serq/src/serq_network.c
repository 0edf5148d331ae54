#include "serq_network.h"

#include "serq_kernel.h"
#include "serq_fixed.h"

enum { ACTIVATION_MAX = 127, ZERO_POINT = 64 };

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
    uint8_t *end = activations + serq_padded(inputs);
    for (uint8_t *tail = activations + inputs; tail != end; tail++) {
        *tail = 0;
    }
    uint32_t sum = 0;
    for (const uint8_t *x = activations; x != end; x += SERQ_GROUP) {
        sum += (uint32_t)x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + x[6] + x[7];
    }
    sum *= (uint32_t)factor;
    const int32_t *stop = bias + outputs % 4;
    for (; bias != stop; bias++) {
        *accumulators++ = (int32_t)((uint32_t)*bias + sum);
    }
    for (stop += outputs / 4 * 4; bias != stop; bias += 4, accumulators += 4) {
        accumulators[0] = (int32_t)((uint32_t)bias[0] + sum);
        accumulators[1] = (int32_t)((uint32_t)bias[1] + sum);
        accumulators[2] = (int32_t)((uint32_t)bias[2] + sum);
        accumulators[3] = (int32_t)((uint32_t)bias[3] + sum);
    }
}

void serq_requantize(const int32_t *accumulators, uint16_t count, uint32_t multiplier, uint8_t shift, uint8_t *activations)
{
    uint32_t half = (uint32_t)1 << (shift - 1);
    /* the first accumulator that gives 127 or more; the products of all before it fit 31 bits */
    uint32_t limit = (((uint32_t)ACTIVATION_MAX << shift) - half + multiplier - 1) / multiplier;
    const int32_t *end = accumulators + count;
    do {
        uint32_t value = (uint32_t)*accumulators++;
        if (value < limit) {
            value = (value * multiplier + half) >> shift;
        } else { /* saturated, or negative */
            value = ~(uint32_t)((int32_t)value >> 31) & ACTIVATION_MAX;
        }
        *activations++ = (uint8_t)value;
    } while (accumulators != end);
}

uint8_t serq_argmax(const int32_t *scores, uint8_t count)
{
    uint8_t best = 0;
    for (uint8_t i = 1; i < count; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}
