/* Layouts dsp1, dsp2, dsp4, dsp8: two or four products an instruction on cores with DSP
 * instructions (SPEC.md section 4). Sums of rows are taken over at most SERQ_BLOCK inputs, a
 * multiple of 8. */
#include "serq_kernel.h"

#if SERQ_DSP

#define dsp8_rows serq_thumb_dsp8
#define dsp8_rows_twice serq_thumb_dsp8_twice
#define dsp4_rows serq_thumb_dsp4
#define dsp2_rows serq_thumb_dsp2
#define dsp1_rows serq_thumb_dsp1

#else

/* sum plus the products of the signed lanes of 16 bits */
static uint32_t smlad(uint32_t a, uint32_t b, uint32_t sum)
{
    return sum + (uint32_t)((int16_t)a * (int16_t)b) +
           (uint32_t)((int16_t)(a >> 16) * (int16_t)(b >> 16));
}

/* Sums of 4 rows of 8 bits in lanes 256 * v + u: of 256 * v + u, of u, and so for the other two. */
static const uint32_t *dsp8_rows(const uint32_t *weights, const uint32_t *pairs,
                                 const uint32_t *end, uint32_t *sums)
{
    sums[0] = sums[1] = sums[2] = sums[3] = 0;
    for (; pairs != end; pairs++, weights += 2) {
        sums[0] = smlad(weights[0], *pairs, sums[0]);
        sums[1] = smlad(weights[0] & 0x00ff00ff, *pairs, sums[1]);
        sums[2] = smlad(weights[1], *pairs, sums[2]);
        sums[3] = smlad(weights[1] & 0x00ff00ff, *pairs, sums[3]);
    }
    return weights;
}

/* The same of two blocks of 4 rows. */
static const uint32_t *dsp8_rows_twice(const uint32_t *weights, const uint32_t *pairs,
                                       const uint32_t *end, uint32_t *sums)
{
    return dsp8_rows(dsp8_rows(weights, pairs, end, sums), pairs, end, sums + 4);
}

/* Sums of twice 4 rows of 4 bits in a lane: of u0, 16 * u1, 256 * u2, and of the whole lane. */
static const uint32_t *dsp4_rows(const uint32_t *weights, const uint32_t *pairs,
                                 const uint32_t *end, uint32_t *sums)
{
    for (unsigned i = 0; i < 8; i++) {
        sums[i] = 0;
    }
    for (; pairs != end; pairs++) {
        for (unsigned i = 0; i < 8; i += 4, weights++) {
            sums[i] = smlad(*weights & 0x000f000f, *pairs, sums[i]);
            sums[i + 1] = smlad(*weights & 0x00f000f0, *pairs, sums[i + 1]);
            sums[i + 2] = smlad(*weights & 0x0f000f00, *pairs, sums[i + 2]);
            sums[i + 3] = smlad(*weights, *pairs, sums[i + 3]);
        }
    }
    return weights;
}

/* Sums of 8 rows of 2 bits, two in a lane: of 4 u, and of 2^14 * v. The former fit the 14 bits
 * below the latter for 32 inputs. */
static const uint32_t *dsp2_rows(const uint32_t *weights, const uint32_t *pairs,
                                 const uint32_t *end, uint32_t *sums)
{
    const uint32_t mask = 0xc003c003, low = 0x3fff;
    for (unsigned i = 0; i < 8; i++) {
        sums[i] = 0;
    }
    for (; pairs != end; pairs++, weights++) {
        for (unsigned i = 0; i < 4; i++) {
            uint32_t lanes =
                (i == 0 ? *weights : *weights >> 4 * i | *weights << (32 - 4 * i)) & mask;
            sums[4 + i] = smlad(lanes, *pairs, sums[4 + i]);
            sums[i] += sums[4 + i] & low;
            sums[4 + i] &= ~low;
        }
    }
    return weights;
}

/* Sums of 4 rows of |x - 128 * b|. */
static const uint32_t *dsp1_rows(const uint32_t *weights, const uint8_t *activations,
                                 const uint8_t *end, uint32_t *sums)
{
    sums[0] = sums[1] = sums[2] = sums[3] = 0;
    for (; activations != end; activations += SERQ_GROUP, weights++) {
        for (unsigned i = 0; i < 4 * SERQ_GROUP; i++) {
            unsigned row = i / SERQ_GROUP, input = i % SERQ_GROUP,
                     bit = 8 * (input % 4) + 7 - 2 * row - input / 4;
            sums[row] += *weights >> bit & 1 ? 128U - activations[input] : activations[input];
        }
    }
    return weights;
}

#endif

/* The sums of dsp8_rows() to 4 rows. sum_x: 128 times the sum of activations */
SERQ_INLINE void add_rows8(int32_t *row, const uint32_t *sums, uint32_t sum_x)
{
    serq_add(row, ((uint32_t)((int32_t)(sums[0] - sums[1]) >> 8) + sum_x) << 1);
    serq_add(row + 1, sums[1] << 1);
    serq_add(row + 2, ((uint32_t)((int32_t)(sums[2] - sums[3]) >> 8) + sum_x) << 1);
    serq_add(row + 3, sums[3] << 1);
}

SERQ_DENSE(dsp8, uint32_t)
{
    const int32_t *stop = accumulators + outputs, *twice = accumulators + (outputs + 3U) / 8 * 8;
    for (unsigned left = serq_padded(inputs), block; left > 0;
         left -= block, activations += block) {
        block = left < SERQ_BLOCK ? left : SERQ_BLOCK;
        const uint32_t *pairs = table->words, *end = pairs + block / 2;
        uint32_t sum_x = 128 * serq_pair_up(activations, table->words, block), sums[8];
        int32_t *row = accumulators;
        for (; row < twice; row += 8) {
            weights = dsp8_rows_twice(weights, pairs, end, sums);
            add_rows8(row, sums, sum_x);
            add_rows8(row + 4, sums + 4, sum_x);
        }
        for (; row < stop; row += 4) {
            weights = dsp8_rows(weights, pairs, end, sums);
            add_rows8(row, sums, sum_x);
        }
    }
    (void)first; /* 0: there are no fields of more than 8 bits */
}

SERQ_DENSE(dsp4, uint32_t)
{
    for (unsigned left = serq_padded(inputs), block; left > 0;
         left -= block, activations += block) {
        block = left < SERQ_BLOCK ? left : SERQ_BLOCK;
        uint32_t sum_x = 8 * serq_pair_up(activations, table->words, block), sums[8], *s = sums;
        for (int32_t *row = accumulators; row < accumulators + outputs; s = sums) {
            weights = dsp4_rows(weights, table->words, table->words + block / 2, sums);
            for (; s != sums + 8; s += 4, row += 4) {
                serq_add(row, s[0] << 1);
                serq_add(row + 1, s[1] >> 4 << 1);
                serq_add(row + 2, s[2] >> 8 << 1);
                serq_add(row + 3, ((uint32_t)((int32_t)(s[3] - s[2] - s[1] - s[0]) >> 12) + sum_x)
                                      << 1);
            }
        }
    }
    (void)first; /* 0: of layers with more bits, these are the low ones */
}

SERQ_DENSE(dsp2, uint32_t)
{
    unsigned shift = first + 1U;
    for (unsigned left = serq_padded(inputs), block; left > 0;
         left -= block, activations += block) {
        block = left < SERQ_BLOCK ? left : SERQ_BLOCK;
        uint32_t sum_x = 2 * serq_pair_up(activations, table->words, block), sums[8];
        for (int32_t *row = accumulators; row < accumulators + outputs; row += 8) {
            weights = dsp2_rows(weights, table->words, table->words + block / 2, sums);
            for (unsigned i = 0; i < 4; i++) {
                serq_add(row + 2 * i, sums[i] << shift);
                serq_add(row + 2 * i + 1, ((uint32_t)((int32_t)sums[4 + i] >> 14) + sum_x)
                                              << shift);
            }
        }
    }
}

SERQ_DENSE(dsp1, uint32_t)
{
    const uint8_t *end = activations + serq_padded(inputs);
    for (int32_t *row = accumulators; row < accumulators + outputs; row += 4) {
        uint32_t sums[4];
        weights = dsp1_rows(weights, activations, end, sums);
        for (unsigned i = 0; i < 4; i++) {
            serq_add(row + i, sums[i] << first);
        }
    }
    (void)table;
}
