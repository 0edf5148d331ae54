/* The network: standardised inputs, dense layers on packed weights, requantization (SPEC.md
 * sections 3 and 4). All integers; no heap, float, recursion or variable-length array. Sizes and
 * tables are the caller's (generated).
 *
 * A dense layer is serq_dense_start…(), then one kernel for each part of its weight fields (often
 * one part), which adds 2 * 2^(first bit) * sum of the part's fields times activations to the
 * accumulators. Which kernels is chosen at export; each is C that any core can run, and faster on
 * the cores that it was written for. */
#ifndef SERQ_NETWORK_H
#define SERQ_NETWORK_H

#include <stdint.h>

#include "serq_fixed.h"

/* Work area of a kernel: 1024 sums of 16 bits, or 512 words. Little-endian, as all cores are. */
typedef union {
    uint32_t words[512];
    uint16_t halves[1024];
} serq_table;

#define SERQ_ACTIVATION_MAX 127
#define SERQ_ZERO_POINT 64 /* of the network's inputs */

/* Deviations from the center beyond this saturate; keeps the product with an 11-bit multiplier in
 * 32 bits. */
#define SERQ_DEVIATION_MAX ((1 << 20) - 1)

/* How far a pooled feature is from the training clips' mean, in steps of 1/16 of their standard
 * deviation. scale: multiplier * 32 + shift; |center| <= 2^19. */
static inline int32_t serq_steps(int32_t pooled, int32_t center, uint16_t scale)
{
    /* the first clamp changes no result, and the difference fits */
    int32_t deviation =
        serq_clamp(pooled, -4 * SERQ_DEVIATION_MAX, 4 * SERQ_DEVIATION_MAX) - center;
    deviation = serq_clamp(deviation, -SERQ_DEVIATION_MAX, SERQ_DEVIATION_MAX);
    return serq_rshift_round(deviation * (scale >> 5), scale & 31);
}

/* Pooled features to activations 0..127 with zero point 64. scale: multiplier * 32 + shift. */
void serq_standardize(const int32_t *pooled, uint16_t count, const int32_t *center,
                      const uint16_t *scale, uint8_t *activations);

/* accumulators = base + bias + factor * sum of activations: the constant part of the layer's
 * weights (SPEC.md section 4), for biases of 8, 16, 24 (low halves, then high bytes, two a
 * halfword) or 32 bits. activations: at an address divisible by 4, `inputs` rounded up to a
 * multiple of 8; the tail beyond `inputs` is written with zeros. */
#define SERQ_DENSE_START(bits, type) \
    void serq_dense_start##bits(const type *bias, int32_t base, int32_t factor, uint16_t inputs, \
                                uint16_t outputs, uint8_t *activations, int32_t *accumulators)
SERQ_DENSE_START(8, uint8_t);
SERQ_DENSE_START(16, uint16_t);
SERQ_DENSE_START(24, uint16_t);
SERQ_DENSE_START(32, uint32_t);

/* accumulators += 2 * 2^first * sum of fields * activations, for weights in the layout that names
 * the function (dsp1: and a constant that serq_dense_start…() was given to take off). activations:
 * as serq_dense_start…() left them, at an address divisible by 4. accumulators: `outputs` rounded
 * up to a multiple of 8; those beyond `outputs` are overwritten. */
#define SERQ_DENSE(layout, word) \
    void serq_dense_##layout(const word *weights, uint16_t inputs, uint16_t outputs, \
                             uint8_t first, const uint8_t *activations, serq_table *table, \
                             int32_t *accumulators)
SERQ_DENSE(planes8_1, uint8_t);
SERQ_DENSE(planes8_2, uint8_t);
SERQ_DENSE(planes8_3, uint8_t);
SERQ_DENSE(planes8_4, uint8_t);
SERQ_DENSE(dsp1, uint32_t);
SERQ_DENSE(dsp2, uint32_t);
SERQ_DENSE(dsp4, uint32_t);
SERQ_DENSE(dsp8, uint32_t);
SERQ_DENSE(mul4, uint32_t);
SERQ_DENSE(mul8, uint32_t);
SERQ_DENSE(vec1, uint32_t);
SERQ_DENSE(vec2, uint32_t);
SERQ_DENSE(vec4, uint32_t);
SERQ_DENSE(vec8, uint32_t);

/* ReLU, rounding shift and saturation of accumulators to activations 0..127. */
void serq_requantize(const int32_t *accumulators, uint16_t count, uint32_t multiplier,
                     uint8_t shift, uint8_t *activations);

/* Index of the largest score, the lowest among equals. */
uint8_t serq_argmax(const int32_t *scores, uint8_t count);

#endif
