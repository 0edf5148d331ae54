/* Layouts mul4, mul8: two products a multiplication on cores without DSP instructions (SPEC.md
 * section 4). */
#include "serq_kernel.h"

/* RISC-V has the registers for two blocks of rows at a time, which share the loads of the
 * activations. */
#if defined(__riscv) && !defined(__riscv_32e)
#define TWO_BLOCKS 1
#define INPUTS_A_TURN 1 /* of the last block, where it is alone */
#else
#define TWO_BLOCKS 0
#define INPUTS_A_TURN 4
#endif

/* sum += the upper half of the product of two words of lanes, modulo 2^32: w1 * x0 stays below
 * 2^16, w0 * x0 + w1 * x1 is above it */
#define UPPER(sum, w, x) \
    sum += (uint32_t)((w) * (x)) >> 16; \
    SERQ_KEEP(sum)

/* The same for weights 8 bits further up. Where a product has an upper word, that of both factors 8
 * bits further up takes no shift: it is w1 * x0 >> 16 = 0 and the sum wanted, with w0 * x1 above.
 */
#if defined(__riscv_mul)
#define UPPER8(sum, w, x) \
    sum += (uint32_t)((uint64_t)((w)&0xff00ff00U) * ((x) << 8) >> 32) & 0xffffU; \
    SERQ_KEEP(sum)
#else
#define UPPER8(sum, w, x) UPPER(sum, (w) >> 8 & 0x00ff00ffU, x)
#endif

/* A pair of inputs and 4 rows of 8 bits, two words; the lanes of the weights are in the other order
 * than those of the pair. */
#define FOUR_ROWS(s, weights, i) \
    UPPER(s##0, (weights)[2 * (i)] & 0x00ff00ffU, pairs[i]); \
    UPPER8(s##1, (weights)[2 * (i)], pairs[i]); \
    UPPER(s##2, (weights)[2 * (i) + 1] & 0x00ff00ffU, pairs[i]); \
    UPPER8(s##3, (weights)[2 * (i) + 1], pairs[i])

#if !SERQ_THUMB

/* Sums of 4 rows. */
SERQ_INLINE const uint32_t *mul8_rows4(const uint32_t *weights, const uint32_t *pairs,
                                       const uint32_t *end, uint32_t *sums)
{
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (; pairs != end; pairs += 4, weights += 8) {
        FOUR_ROWS(s, weights, 0);
        FOUR_ROWS(s, weights, 1);
        FOUR_ROWS(s, weights, 2);
        FOUR_ROWS(s, weights, 3);
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    return weights;
}

/* Sums of 8 rows. */
SERQ_INLINE const uint32_t *mul8_rows8(const uint32_t *weights, const uint32_t *pairs,
                                       const uint32_t *end, uint32_t *sums)
{
    const uint32_t *others = weights + 2 * (end - pairs);
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0;
    for (; pairs != end; pairs += 4, weights += 8, others += 8) {
        FOUR_ROWS(s, weights, 0);
        FOUR_ROWS(t, others, 0);
        FOUR_ROWS(s, weights, 1);
        FOUR_ROWS(t, others, 1);
        FOUR_ROWS(s, weights, 2);
        FOUR_ROWS(t, others, 2);
        FOUR_ROWS(s, weights, 3);
        FOUR_ROWS(t, others, 3);
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    sums[4] = t0, sums[5] = t1, sums[6] = t2, sums[7] = t3;
    return others;
}

#else
#define mul8_rows4 serq_thumb_mul8
#define mul8_rows8 serq_thumb_mul8
#endif

SERQ_DENSE(mul8, uint32_t)
{
    const int32_t *stop = accumulators + outputs,
                  *twice = accumulators + (TWO_BLOCKS ? (outputs + 3) / 8 * 8 : 0);
    for (unsigned left = serq_padded(inputs), block; left > 0;
         left -= block, activations += block) {
        block = left < SERQ_BLOCK ? left : SERQ_BLOCK;
        const uint32_t *pairs = table->words, *end = pairs + block / 2;
        (void)serq_pair_up(activations, table->words, block);
        int32_t *row = accumulators;
        for (; row < twice; row += 8) {
            uint32_t sums[8];
            weights = mul8_rows8(weights, pairs, end, sums);
            serq_add(row, sums[0] << 1), serq_add(row + 1, sums[1] << 1),
                serq_add(row + 2, sums[2] << 1), serq_add(row + 3, sums[3] << 1);
            serq_add(row + 4, sums[4] << 1), serq_add(row + 5, sums[5] << 1),
                serq_add(row + 6, sums[6] << 1), serq_add(row + 7, sums[7] << 1);
        }
        for (; row < stop; row += 4) {
            uint32_t sums[4];
            weights = mul8_rows4(weights, pairs, end, sums);
            serq_add(row, sums[0] << 1), serq_add(row + 1, sums[1] << 1),
                serq_add(row + 2, sums[2] << 1), serq_add(row + 3, sums[3] << 1);
        }
    }
    (void)first; /* 0: there are no fields of more than 8 bits */
}

#if !SERQ_THUMB

/* sum += product of two lanes with x */
#define BOTH(sum, w, x) \
    sum += (w) * (x); \
    SERQ_KEEP(sum)

/* The same of lanes (w >> n) & 0x000f000f: where a product has an upper word, a mask and that are
 * less than a shift, a mask and a product. */
#if defined(__riscv_mul)
#define SHIFTED(sum, w, n, x) BOTH_UPPER(sum, (w)&0x000f000fU << (n), (uint32_t)(x) << (32 - (n)))
#define BOTH_UPPER(sum, w, x) \
    sum += (uint32_t)((uint64_t)(w) * (x) >> 32); \
    SERQ_KEEP(sum)
#else
#define SHIFTED(sum, w, n, x) BOTH(sum, (w) >> (n)&0x000f000fU, x)
#endif

/* An input and 8 rows of 4 bits, row j in nibble j. */
#define EIGHT_ROWS(s, weights, i) \
    BOTH(s##1, (weights)[i] >> 4 & 0x000f000fU, x[i]); \
    SHIFTED(s##2, (weights)[i], 8, x[i]); \
    SHIFTED(s##3, (weights)[i], 12, x[i]); \
    BOTH(s##0, (weights)[i], x[i])

/* Two lanes of 16 bits hold the sums of 32 inputs: 32 * 127 * 15 < 2^16. Those of nibbles 0 and 4
 * are what the sum s0 of whole words leaves. */
SERQ_INLINE void drain(uint32_t s0, uint32_t s1, uint32_t s2, uint32_t s3, int32_t *row)
{
    const uint32_t low = 0xffff;
    s0 -= (s1 << 4) + (s2 << 8) + (s3 << 12);
    serq_add(row, (s0 & low) << 1), serq_add(row + 1, (s1 & low) << 1),
        serq_add(row + 2, (s2 & low) << 1), serq_add(row + 3, (s3 & low) << 1);
    serq_add(row + 4, s0 >> 16 << 1), serq_add(row + 5, s1 >> 16 << 1),
        serq_add(row + 6, s2 >> 16 << 1), serq_add(row + 7, s3 >> 16 << 1);
}

static const uint32_t *mul4_rows8(const uint32_t *weights, const uint8_t *x, const uint8_t *end,
                                  int32_t *row)
{
    do {
        const uint8_t *stop = end - x > 32 ? x + 32 : end;
        uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (; x != stop; x += INPUTS_A_TURN, weights += INPUTS_A_TURN) {
            EIGHT_ROWS(s, weights, 0);
#if INPUTS_A_TURN > 1
            EIGHT_ROWS(s, weights, 1);
            EIGHT_ROWS(s, weights, 2);
            EIGHT_ROWS(s, weights, 3);
#endif
        }
        drain(s0, s1, s2, s3, row);
    } while (x != end);
    return weights;
}

SERQ_INLINE const uint32_t *mul4_rows16(const uint32_t *weights, const uint8_t *x,
                                        const uint8_t *end, int32_t *row)
{
    const uint32_t *others = weights + (end - x);
    do {
        const uint8_t *stop = end - x > 32 ? x + 32 : end;
        uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0;
        for (; x != stop; x += 4, weights += 4, others += 4) {
            EIGHT_ROWS(s, weights, 0);
            EIGHT_ROWS(t, others, 0);
            EIGHT_ROWS(s, weights, 1);
            EIGHT_ROWS(t, others, 1);
            EIGHT_ROWS(s, weights, 2);
            EIGHT_ROWS(t, others, 2);
            EIGHT_ROWS(s, weights, 3);
            EIGHT_ROWS(t, others, 3);
        }
        drain(s0, s1, s2, s3, row);
        drain(t0, t1, t2, t3, row + 8);
    } while (x != end);
    return others;
}

#else
#define mul4_rows8 serq_thumb_mul4
#define mul4_rows16 serq_thumb_mul4
#endif

SERQ_DENSE(mul4, uint32_t)
{
    const uint8_t *end = activations + serq_padded(inputs);
    const int32_t *stop = accumulators + outputs,
                  *twice = accumulators + (TWO_BLOCKS ? (outputs + 7) / 16 * 16 : 0);
    int32_t *row = accumulators;
    for (; row < twice; row += 16) {
        weights = mul4_rows16(weights, activations, end, row);
    }
    for (; row < stop; row += 8) {
        weights = mul4_rows8(weights, activations, end, row);
    }
    (void)table;
    (void)first; /* 0: of layers with more bits, these are the low ones */
}
