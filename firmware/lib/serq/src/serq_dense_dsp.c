/* Layouts dsp1, dsp2, dsp4, dsp8: two or four products an instruction on cores with DSP
 * instructions (SPEC.md section 4). Sums of rows are taken over at most SERQ_BLOCK inputs, a
 * multiple of 8. */
#include "serq_kernel.h"

#if SERQ_HELIUM

#include <arm_mve.h>

/* What the functions of the same names below compute, for 8 inputs at a time, or 32. */

static const uint32_t *dsp8_rows(const uint32_t *weights, const uint32_t *pairs,
                                 const uint32_t *end, uint32_t *sums)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    const int16x8_t low = vdupq_n_s16(0xff);
    for (; pairs != end; pairs += 4, weights += 8) {
        int16x8_t x = vldrhq_s16((const int16_t *)pairs);
        uint32x4x2_t both = vld2q_u32(weights);
        int16x8_t w = vreinterpretq_s16_u32(both.val[0]), v = vreinterpretq_s16_u32(both.val[1]);
        s0 = vmladavaq_s16(s0, w, x);
        s1 = vmladavaq_s16(s1, vandq_s16(w, low), x);
        s2 = vmladavaq_s16(s2, v, x);
        s3 = vmladavaq_s16(s3, vandq_s16(v, low), x);
    }
    sums[0] = (uint32_t)s0, sums[1] = (uint32_t)s1;
    sums[2] = (uint32_t)s2, sums[3] = (uint32_t)s3;
    return weights;
}

static const uint32_t *dsp8_rows_twice(const uint32_t *weights, const uint32_t *pairs,
                                       const uint32_t *end, uint32_t *sums)
{
    return dsp8_rows(dsp8_rows(weights, pairs, end, sums), pairs, end, sums + 4);
}

/* Sums of 4 rows of 4 bits in a lane. */
#define HELIUM_NIBBLES(s, word) \
    do { \
        int16x8_t w = vreinterpretq_s16_u32(word); \
        s##0 = vmladavaq_s16(s##0, vandq_s16(w, vdupq_n_s16(0x000f)), x); \
        s##1 = vmladavaq_s16(s##1, vandq_s16(w, vdupq_n_s16(0x00f0)), x); \
        s##2 = vmladavaq_s16(s##2, vandq_s16(w, vdupq_n_s16(0x0f00)), x); \
        s##3 = vmladavaq_s16(s##3, w, x); \
    } while (0)

static const uint32_t *dsp4_rows(const uint32_t *weights, const uint32_t *pairs,
                                 const uint32_t *end, uint32_t *sums)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0;
    for (; pairs != end; pairs += 4, weights += 8) {
        int16x8_t x = vldrhq_s16((const int16_t *)pairs);
        uint32x4x2_t both = vld2q_u32(weights);
        HELIUM_NIBBLES(s, both.val[0]);
        HELIUM_NIBBLES(t, both.val[1]);
    }
    sums[0] = (uint32_t)s0, sums[1] = (uint32_t)s1;
    sums[2] = (uint32_t)s2, sums[3] = (uint32_t)s3;
    sums[4] = (uint32_t)t0, sums[5] = (uint32_t)t1;
    sums[6] = (uint32_t)t2, sums[7] = (uint32_t)t3;
    return weights;
}

/* Rows 2i and 2i + 1 of a word, turned by 4i. */
#define HELIUM_TWO_ROWS(sum, turned) \
    sum = vmladavaq_s16(sum, vreinterpretq_s16_u32(vandq_u32(turned, mask)), x)
#define TURNED(word, n) vsriq_n_u32(vshlq_n_u32(word, 32 - (n)), word, n)

static const uint32_t *dsp2_rows(const uint32_t *weights, const uint32_t *pairs,
                                 const uint32_t *end, uint32_t *sums)
{
    const uint32x4_t mask = vdupq_n_u32(0xc003c003);
    const uint32_t low = 0x3fff;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    sums[0] = sums[1] = sums[2] = sums[3] = 0;
    while (pairs != end) {
        const uint32_t *stop = end - pairs > 16 ? pairs + 16 : end;
        for (; pairs != stop; pairs += 4, weights += 4) {
            int16x8_t x = vldrhq_s16((const int16_t *)pairs);
            uint32x4_t w = vldrwq_u32(weights);
            HELIUM_TWO_ROWS(s0, w);
            HELIUM_TWO_ROWS(s1, TURNED(w, 4));
            HELIUM_TWO_ROWS(s2, TURNED(w, 8));
            HELIUM_TWO_ROWS(s3, TURNED(w, 12));
        }
        sums[0] += (uint32_t)s0 & low, s0 &= (int32_t)~low;
        sums[1] += (uint32_t)s1 & low, s1 &= (int32_t)~low;
        sums[2] += (uint32_t)s2 & low, s2 &= (int32_t)~low;
        sums[3] += (uint32_t)s3 & low, s3 &= (int32_t)~low;
    }
    sums[4] = (uint32_t)s0, sums[5] = (uint32_t)s1;
    sums[6] = (uint32_t)s2, sums[7] = (uint32_t)s3;
    return weights;
}

/* |x - 128 * b| of a row: the bits of inputs 0 to 3 of each group, then those of inputs 4 to 7. */
#define BITS(n) vandq_u8(vreinterpretq_u8_u32(vshlq_n_u32(w, n)), top)
#define ONE_ROW(sum, n) \
    sum = vabavq_u8(sum, first, BITS(n)); \
    sum = vabavq_u8(sum, second, BITS((n) + 1))

static const uint32_t *dsp1_rows(const uint32_t *weights, const uint8_t *activations,
                                 const uint8_t *end, uint32_t *sums)
{
    const uint8x16_t top = vdupq_n_u8(0x80);
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, rest[4];
    for (; end - activations >= 4 * SERQ_GROUP; activations += 4 * SERQ_GROUP, weights += 4) {
        uint32x4x2_t x = vld2q_u32((const uint32_t *)(const void *)activations);
        uint8x16_t first = vreinterpretq_u8_u32(x.val[0]), second = vreinterpretq_u8_u32(x.val[1]);
        uint32x4_t w = vldrwq_u32(weights);
        ONE_ROW(s0, 0);
        ONE_ROW(s1, 2);
        ONE_ROW(s2, 4);
        ONE_ROW(s3, 6);
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
    if (activations != end) {
        weights = serq_thumb_dsp1(weights, activations, end, rest);
        sums[0] += rest[0], sums[1] += rest[1], sums[2] += rest[2], sums[3] += rest[3];
    }
    return weights;
}

#elif SERQ_DSP

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
