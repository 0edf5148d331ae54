/* Layout planes8: for 8 inputs the 256 sums of subsets, then one look-up for each weight byte
 * (SPEC.md section 4). */
#include <stdbool.h>

#include "serq_kernel.h"

enum { TILE_GROUPS = 4, SUBSETS = 256 };

#if SERQ_THUMB

#define subset_sums serq_thumb_subset_sums
#define rows(planes, tables) serq_thumb_planes##planes##_tables##tables

#else

/* Entry b of each of `groups` tables is the sum of the 8 inputs, shifted left, whose bit is set in
 * b. Two entries are a word, of two lanes; of 8 entries the next 8 differ by the same amount. */
static void subset_sums(uint32_t *words, const uint8_t *x, unsigned groups, unsigned shift)
{
    for (; groups > 0; groups--, x += SERQ_GROUP) {
        uint32_t scale = 0x10001U << shift, x3 = x[3] * scale, x4 = x[4] * scale, x5 = x[5] * scale,
                 x6 = x[6] * scale, x7 = x[7] * scale;
        uint32_t w0 = (uint32_t)x[0] << 16 << shift, w1 = w0 + x[1] * scale, w2 = w0 + x[2] * scale,
                 w3 = w1 + x[2] * scale;
        uint32_t to4 = x4 - x3, steps[8];
        steps[0] = steps[2] = steps[4] = steps[6] = x5 - x4 - x3;
        steps[1] = steps[5] = x6 - x5 - x4 - x3;
        steps[3] = x7 - x6 - x5 - x4 - x3;
        steps[7] = 0;
        for (unsigned i = 0; i < 8; i++, words += 16) {
            words[0] = w0, words[1] = w1, words[2] = w2, words[3] = w3;
            w0 += x3, w1 += x3, w2 += x3, w3 += x3;
            words[4] = w0, words[5] = w1, words[6] = w2, words[7] = w3;
            w0 += to4, w1 += to4, w2 += to4, w3 += to4;
            words[8] = w0, words[9] = w1, words[10] = w2, words[11] = w3;
            w0 += x3, w1 += x3, w2 += x3, w3 += x3;
            words[12] = w0, words[13] = w1, words[14] = w2, words[15] = w3;
            w0 += steps[i], w1 += steps[i], w2 += steps[i], w3 += steps[i];
        }
    }
}

/* sum += the entry that the weight byte names. RISC-V reaches all four tables from one address;
 * others index each table. */
#if defined(__riscv)
#define ADD_ENTRY(group) \
    entry = t0 + weights[group]; \
    SERQ_KEEP(entry); \
    sum += entry[(group)*SUBSETS]; \
    SERQ_KEEP(sum);
#else
#define ADD_ENTRY(group) \
    entry = t##group + weights[group]; \
    sum += *entry; \
    SERQ_KEEP(sum);
#endif

#define PLANE(tables) \
    ADD_ENTRY(0) \
    if ((tables) == TILE_GROUPS) { \
        ADD_ENTRY(1) \
        ADD_ENTRY(2) \
        ADD_ENTRY(3) \
    } \
    weights += (tables);

/* A row: accumulator += sum of the tile. Planes come most significant first. */
#define ROW(tables, planes) \
    sum = (planes) == 1 ? (uint32_t)*accumulators : 0; \
    PLANE(tables) \
    if ((planes) > 1) { \
        sum *= 2; \
        PLANE(tables) \
    } \
    if ((planes) > 2) { \
        sum *= 2; \
        PLANE(tables) \
    } \
    if ((planes) > 3) { \
        sum *= 2; \
        PLANE(tables) \
    } \
    *accumulators = (int32_t)((planes) == 1 ? sum : (uint32_t)*accumulators + sum); \
    accumulators++;

SERQ_INLINE const uint8_t *look_up_rows(const uint8_t *weights, int32_t *accumulators,
                                        const int32_t *end, const uint16_t *t0, unsigned tables,
                                        unsigned planes)
{
    const uint16_t *t1 = t0 + SUBSETS, *t2 = t1 + SUBSETS, *t3 = t2 + SUBSETS, *entry;
    uint32_t sum;
    SERQ_KEEP(t1);
    SERQ_KEEP(t2);
    SERQ_KEEP(t3);
    const bool twice = tables > 1; /* at a time; what is left over of inputs is little */
    if (!twice || (end - accumulators) % 2 != 0) {
        ROW(tables, planes)
    }
    while (accumulators != end) {
        ROW(tables, planes)
        if (twice) {
            ROW(tables, planes)
        }
    }
    return weights;
}

#define TILE_ROWS(planes, tables) \
    static const uint8_t *rows_##planes##_##tables(const uint8_t *weights, int32_t *accumulators, \
                                                   const int32_t *end, const uint16_t *table) \
    { \
        return look_up_rows(weights, accumulators, end, table, tables, planes); \
    }
TILE_ROWS(1, 4)
TILE_ROWS(1, 1)
TILE_ROWS(2, 4)
TILE_ROWS(2, 1)
TILE_ROWS(3, 4)
TILE_ROWS(3, 1)
TILE_ROWS(4, 4)
TILE_ROWS(4, 1)
#define rows(planes, tables) rows_##planes##_##tables

#endif

typedef const uint8_t *(*look_up)(const uint8_t *weights, int32_t *accumulators, const int32_t *end,
                                  const uint16_t *tables);

SERQ_INLINE void dense(look_up four, look_up one, const uint8_t *weights, uint16_t inputs,
                       uint16_t outputs, unsigned first, const uint8_t *activations,
                       serq_table *table, int32_t *accumulators)
{
    const int32_t *end = accumulators + outputs;
    unsigned groups = (unsigned)(inputs + SERQ_GROUP - 1) / SERQ_GROUP;
    for (; groups >= TILE_GROUPS; groups -= TILE_GROUPS, activations += TILE_GROUPS * SERQ_GROUP) {
        subset_sums(table->words, activations, TILE_GROUPS, first + 1);
        weights = four(weights, accumulators, end, table->halves);
    }
    if (groups > 0) {
        subset_sums(table->words, activations, groups, first + 1);
    }
    for (const uint16_t *left = table->halves; groups > 0; groups--, left += SUBSETS) {
        weights = one(weights, accumulators, end, left);
    }
}

#define KERNEL(planes) \
    SERQ_DENSE(planes8_##planes, uint8_t) \
    { \
        dense(rows(planes, 4), rows(planes, 1), weights, inputs, outputs, first, activations, \
              table, accumulators); \
    }
KERNEL(1)
KERNEL(2)
KERNEL(3)
KERNEL(4)
