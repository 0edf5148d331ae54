#include "serq_network.h"

#include <string.h>

#include "serq_fixed.h"
#include "serq_kernel.h"
#include "serq_pool.h"

#if SERQ_HELIUM
#include <arm_mve.h>
#endif

enum { ACTIVATION_MAX = SERQ_ACTIVATION_MAX };

void serq_standardize(const int32_t *pooled, uint16_t count, const int32_t *center,
                      const uint16_t *scale, uint8_t *activations)
{
    for (uint16_t i = 0; i < count; i++) {
        int32_t value = SERQ_ZERO_POINT + serq_steps(pooled[i], center[i], scale[i]);
        activations[i] = pooled[i] == SERQ_MISSING ? SERQ_ZERO_POINT
                                                   : (uint8_t)serq_clamp(value, 0, ACTIVATION_MAX);
    }
}

/* 4 activations, in some order. */
static uint32_t load_four(const uint8_t *x)
{
#if defined(__GNUC__)
    x = __builtin_assume_aligned(x, 4); /* one load */
#endif
    uint32_t bytes;
    memcpy(&bytes, x, sizeof bytes);
    return bytes;
}

/* Clears the tail of the activations and returns their sum, added up in the bytes of words (2 fit)
 * and in lanes of 16 bits (1024 fit). */
static uint32_t sum_up(uint8_t *activations, uint16_t inputs)
{
    const uint32_t even = 0x00ff00ff;
    uint8_t *end = activations + serq_padded(inputs);
    for (uint8_t *tail = activations + inputs; tail != end; tail++) {
        *tail = 0;
    }
    uint32_t sum = 0;
    for (const uint8_t *x = activations; x != end;) {
        const uint8_t *stop = end - x > 1024 ? x + 1024 : end;
        uint32_t lanes = 0;
        for (; x != stop; x += SERQ_GROUP) {
            uint32_t bytes = load_four(x) + load_four(x + 4);
            lanes += (bytes & even) + (bytes >> 8 & even);
        }
        sum += (lanes & 0xffff) + (lanes >> 16);
    }
    return sum;
}

uint32_t serq_pair_up(const uint8_t *activations, uint32_t *pairs, unsigned inputs)
{
    uint32_t lanes = 0;
    for (const uint8_t *end = activations + inputs; activations != end;
         activations += 4, pairs += 2) {
        pairs[0] = (uint32_t)activations[1] << 16 | activations[0];
        pairs[1] = (uint32_t)activations[3] << 16 | activations[2];
        lanes += pairs[0] + pairs[1];
    }
    /* 256 pairs of at most 127 do not carry from lane to lane */
    return (lanes & 0xffff) + (lanes >> 16);
}

#define START(bits, type) \
    SERQ_DENSE_START(bits, type) \
    { \
        uint32_t start = (uint32_t)base + (uint32_t)factor * sum_up(activations, inputs); \
        const type *stop = bias + outputs % 4; \
        while (bias != stop) { \
            *accumulators++ = (int32_t)(start + *bias++); \
        } \
        for (stop += outputs / 4 * 4; bias != stop; bias += 4, accumulators += 4) { \
            accumulators[0] = (int32_t)(start + bias[0]); \
            accumulators[1] = (int32_t)(start + bias[1]); \
            accumulators[2] = (int32_t)(start + bias[2]); \
            accumulators[3] = (int32_t)(start + bias[3]); \
        } \
    }
START(8, uint8_t)
START(16, uint16_t)
START(32, uint32_t)

SERQ_DENSE_START(24, uint16_t)
{
    const uint16_t *end = bias + outputs;
    const uint8_t *high = (const uint8_t *)end;
    uint32_t start = (uint32_t)base + (uint32_t)factor * sum_up(activations, inputs);
    while (bias != end) {
        *accumulators++ = (int32_t)(start + (*bias++ | (uint32_t)*high++ << 16));
    }
}

#if SERQ_LONG_MULTIPLY

/* The rounded upper word of a product by the scale, 0 to 127. 0 <= scale < 2^30 */
static inline uint8_t scaled(int32_t accumulator, int32_t scale)
{
#if SERQ_DSP
    uint32_t value;
    __asm__("smmulr %0, %1, %2\n usat %0, #7, %0" : "=r"(value) : "r"(accumulator), "r"(scale));
    return (uint8_t)value;
#else
    int32_t value = ((int32_t)((int64_t)accumulator * (2 * scale) >> 32) + 1) >> 1;
    return (uint8_t)serq_clamp(value, 0, ACTIVATION_MAX);
#endif
}

#endif

/* The first `number` accumulators to activations by a function of one; all of them, 4 at a time. */
#define EACH_OF(number, one) \
    const int32_t *stop = accumulators + (number); \
    while (accumulators != stop) { \
        *activations++ = one(*accumulators++); \
    }

#define EACH(one) \
    EACH_OF(count % 4, one) \
    for (stop += count / 4 * 4; accumulators != stop; accumulators += 4, activations += 4) { \
        activations[0] = one(accumulators[0]); \
        activations[1] = one(accumulators[1]); \
        activations[2] = one(accumulators[2]); \
        activations[3] = one(accumulators[3]); \
    }

/* Products of 32 bits. limit: the first accumulator that gives 127 or more; the products of all
 * before it fit 31 bits. */
static inline uint8_t limited(int32_t accumulator, uint32_t multiplier, uint32_t half,
                              unsigned shift, uint32_t limit)
{
    uint32_t value = (uint32_t)accumulator;
    if (value < limit) {
        return (uint8_t)((value * multiplier + half) >> shift);
    }
    return (uint8_t)(~(uint32_t)(accumulator >> 31) & ACTIVATION_MAX); /* negative, or saturated */
}

void serq_requantize(const int32_t *accumulators, uint16_t count, uint32_t multiplier,
                     uint8_t shift, uint8_t *activations)
{
#if SERQ_LONG_MULTIPLY
    if (multiplier << 2 >> shift == 0) {
        int32_t scale = (int32_t)(multiplier << (32 - shift));
#define SCALED(accumulator) scaled(accumulator, scale)
#if SERQ_HELIUM
        EACH_OF(count % 4, SCALED)
        const int32x4_t most = vdupq_n_s32(ACTIVATION_MAX), least = vdupq_n_s32(0);
        for (unsigned left = count / 4U; left > 0; left--, accumulators += 4, activations += 4) {
            int32x4_t value = vrmulhq_s32(vldrwq_s32(accumulators), vdupq_n_s32(scale));
            vstrbq_s32((int8_t *)activations, vminq_s32(vmaxq_s32(value, least), most));
        }
#else
        EACH(SCALED)
#endif
        return;
    }
#endif
    uint32_t half = (uint32_t)1 << (shift - 1);
    uint32_t limit = (((uint32_t)ACTIVATION_MAX << shift) - half + multiplier - 1) / multiplier;
#define LIMITED(accumulator) limited(accumulator, multiplier, half, shift, limit)
#if SERQ_LONG_MULTIPLY
    EACH_OF(count, LIMITED) /* few layers' way: small */
#else
    EACH(LIMITED)
#endif
}

uint8_t serq_argmax(const int32_t *scores, uint8_t count)
{
    uint8_t best = 0;
    for (uint8_t i = 1; i < count; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}
