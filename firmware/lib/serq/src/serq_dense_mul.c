/* Layouts mul4, mul8: two products a multiplication on cores without DSP instructions (SPEC.md section 4). */
#include "serq_kernel.h"

#if SERQ_THUMB

#define rows8 serq_thumb_mul8

#else

/* sum += the upper half of the product of two words of lanes, modulo 2^32: w1 * x0 stays below 2^16, w0 * x0 + w1' * x1 is above it */
#define UPPER(sum, w, x)                                                                                                                             \
    sum += (uint32_t)((w) * (x)) >> 16;                                                                                                              \
    SERQ_KEEP(sum)

/* Sums of 4 rows of 8 bits, two words for each pair of inputs; the lanes of the weights are in the other order than those of the pair. */
static const uint32_t *rows8(const uint32_t *weights, const uint32_t *pairs, const uint32_t *end, uint32_t *sums)
{
    const uint32_t mask = 0x00ff00ff;
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (; pairs != end; pairs += 4, weights += 8) {
#define STEP(i)                                                                                                                                      \
    UPPER(s0, weights[2 * (i)] & mask, pairs[i]);                                                                                                    \
    UPPER(s1, weights[2 * (i)] >> 8 & mask, pairs[i]);                                                                                               \
    UPPER(s2, weights[2 * (i) + 1] & mask, pairs[i]);                                                                                                \
    UPPER(s3, weights[2 * (i) + 1] >> 8 & mask, pairs[i])
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
#undef STEP
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    return weights;
}

#endif

SERQ_DENSE(mul8, uint32_t)
{
    for (unsigned left = serq_padded(inputs), block; left > 0; left -= block, activations += block) {
        block = left < SERQ_BLOCK ? left : SERQ_BLOCK;
        (void)serq_pair_up(activations, table->words, block);
        for (int32_t *row = accumulators; row < accumulators + outputs; row += 4) {
            uint32_t sums[4];
            weights = rows8(weights, table->words, table->words + block / 2, sums);
            for (unsigned i = 0; i < 4; i++) {
                serq_add(row + i, sums[i] << 1);
            }
        }
    }
    (void)first; /* 0: there are no fields of more than 8 bits */
}

/* sum += product of two lanes with x */
#define BOTH(sum, w, x)                                                                                                                              \
    sum += (w) * (x);                                                                                                                                \
    SERQ_KEEP(sum)

/* The same of lanes (w >> n) & 0x000f000f, given w, where a mask and the upper word of a long product are less than shift, mask and product. */
#if defined(__riscv_mul)
#define SHIFTED(sum, w, n, x)                                                                                                                        \
    sum += (uint32_t)((uint64_t)((w)&0x000f000fU << (n)) * ((uint32_t)(x) << (32 - (n))) >> 32);                                                     \
    SERQ_KEEP(sum)
#else
#define SHIFTED(sum, w, n, x) BOTH(sum, (w) >> (n)&0x000f000fU, x)
#endif

/* 8 rows of 4 bits, row j in nibble j of a word for each input. Two lanes of 16 bits hold the sums of 32 inputs: 32 * 127 * 15 < 2^16;
 * the lanes of nibbles 0 and 4 are what the sum of unmasked words leaves. */
SERQ_INLINE const uint32_t *rows4(const uint32_t *weights, const uint8_t *x, const uint8_t *end, unsigned shift, int32_t *accumulators)
{
    const uint32_t low = 0xffff;
    do {
        const uint8_t *stop = end - x > 32 ? x + 32 : end;
        uint32_t all = 0, s0, s1 = 0, s2 = 0, s3 = 0;
        for (; x != stop; x += 4, weights += 4) {
#define STEP(i)                                                                                                                                      \
    BOTH(s1, weights[i] >> 4 & 0x000f000f, x[i]);                                                                                                    \
    SHIFTED(s2, weights[i], 8, x[i]);                                                                                                                \
    SHIFTED(s3, weights[i], 12, x[i]);                                                                                                               \
    BOTH(all, weights[i], x[i])
            STEP(0);
            STEP(1);
            STEP(2);
            STEP(3);
#undef STEP
        }
        s0 = all - (s1 << 4) - (s2 << 8) - (s3 << 12);
        serq_add(accumulators, (s0 & low) << shift);
        serq_add(accumulators + 1, (s1 & low) << shift);
        serq_add(accumulators + 2, (s2 & low) << shift);
        serq_add(accumulators + 3, (s3 & low) << shift);
        serq_add(accumulators + 4, s0 >> 16 << shift);
        serq_add(accumulators + 5, s1 >> 16 << shift);
        serq_add(accumulators + 6, s2 >> 16 << shift);
        serq_add(accumulators + 7, s3 >> 16 << shift);
    } while (x != end);
    return weights;
}

SERQ_DENSE(mul4, uint32_t)
{
    const uint8_t *end = activations + serq_padded(inputs);
    for (int32_t *row = accumulators; row < accumulators + outputs; row += 8) {
        weights = rows4(weights, activations, end, first + 1U, row);
    }
    (void)table;
}
