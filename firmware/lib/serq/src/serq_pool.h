/* Pooling: which frames of a clip count, the sums of their values, and the statistics of these
 * (SPEC.md section 2). Sums are kept for each tier of level: a louder frame clears the lowest
 * tiers, and nothing is ever subtracted. */
#ifndef SERQ_POOL_H
#define SERQ_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "serq_fixed.h"

#define SERQ_LEVEL_MIN \
    (-40 * 256) /* octaves of power below full scale, -120 dB: less than 16-bit samples can hold \
                 */
#define SERQ_NEVER INT16_MIN   /* the step of a frame without sound, which never counts */
#define SERQ_UNCOUNTED 0xff    /* in place of a tier */
#define SERQ_MISSING INT32_MIN /* a statistic of nothing */
#define SERQ_EVERY_FRAME 0     /* a tier's width where all frames count */
#define SERQ_HISTOGRAM_BINS 16

/* Sums of one coefficient over the frames, and the pairs of neighbouring frames, of one tier. */
typedef struct {
    uint32_t square, delta;           /* of v^2 and (v - previous v)^2: their low 32 bits */
    uint16_t square_high, delta_high; /* the bits above */
    int32_t sum, drift;               /* of v and v - previous v */
} serq_pool;

/* How many values of one coefficient fall into each of 16 bins, over the frames of one tier. No sum
 * of counts reaches 2^16, so that two may be added at a time, as a word. */
typedef union {
    uint16_t counts[SERQ_HISTOGRAM_BINS];
    uint32_t words[SERQ_HISTOGRAM_BINS / 2];
} serq_histogram;

/* How many frames and pairs of one tier count. */
typedef struct {
    uint16_t frames, pairs;
} serq_count;

/* The grid of levels, which hangs from the first frame with sound. */
typedef struct {
    int16_t anchor; /* that frame's level, Q8 log2 */
    bool anchored;  /* whether there was one */
} serq_grid;

/* How loud the frames of a clip or block are, in steps of the grid. */
typedef struct {
    uint32_t first_counts, last_counts; /* bit s: whether the first, the latest frame counts in
                                           selection s */
    int16_t top;                        /* the loudest frame's */
    int16_t first, last;                /* the first and the latest frame's */
} serq_tiers;

/* Whether all frames' values are computed, to be seen, also those that are in no sum. */
#if defined(SERQ_TRACE) && SERQ_TRACE
#define SERQ_EVERY_VALUE 1
#else
#define SERQ_EVERY_VALUE 0
#endif

/* Where a frame's values are added, and the differences from the frame before. */
typedef struct {
    uint8_t frame, pair; /* tiers, or SERQ_UNCOUNTED */
    bool begins;         /* whether it is the first of its clip or block */
} serq_place;

/* The step of a frame's level (Q8 log2) on the grid, whose steps have that width. */
int16_t serq_step(serq_grid *grid, int32_t level, int32_t width);

/* The tier of a step, of `count` tiers below a top; a tier keeps its place while the top rises. */
uint8_t serq_tier(int16_t step, int16_t top, uint8_t count);

/* The place of a frame with this step, which is at most the top's. */
serq_place serq_next_place(serq_tiers *tiers, int16_t step, uint8_t count, bool begins);

/* The place of the frame in a selection, a number from 1 to 31, where it counts or does not. */
serq_place serq_select(serq_tiers *tiers, serq_place place, unsigned selection, bool counts);

/* Whether a frame's values are read: it counts, or they are read elsewhere. */
static inline bool serq_needs_values(const serq_place *place, bool elsewhere)
{
    return place->frame != SERQ_UNCOUNTED || elsewhere || SERQ_EVERY_VALUE;
}

/* A frame more in the counts of a selection, one for each tier. */
void serq_count_add(serq_count *counts, const serq_place *place);

/* Add a frame's `count` values to their sums: each coefficient has `tiers` pools, one after
 * another. first, last: values of the first and the latest frame that counts, after pooling's
 * shift. */
void serq_pool_add(serq_pool *pools, uint8_t count, uint8_t tiers, const int32_t *values,
                   uint8_t shift, const serq_place *place, int16_t *first, int16_t *last);

/* Count a frame's values in their histograms, laid out as pools are. table: the lowest value, the
 * width of a bin and 65536 over it, for each. */
void serq_histogram_add(serq_histogram *histograms, uint8_t count, uint8_t tiers,
                        const int32_t *values, uint8_t shift, const int16_t *table,
                        const serq_place *place);

/* Add the sums of some more frames, to `count` pools of which each lies `step` after the one
 * before. */
void serq_pool_join(serq_pool *pools, const serq_pool *more, uint32_t count, uint32_t step);

/* Add the differences between two frames, the last of one block and the first of the next. */
void serq_pool_edge(serq_pool *pools, uint8_t count, uint8_t tiers, const int16_t *last,
                    const int16_t *first, uint8_t tier);

/* Where the difference between two blocks goes in a selection. first_counts: of the second. */
static inline uint8_t serq_edge_pair(const serq_tiers *tiers, uint8_t pair, unsigned selection,
                                     uint32_t first_counts)
{
    return (tiers->last_counts & first_counts) >> selection & 1 ? pair : SERQ_UNCOUNTED;
}

/* Statistics, 4 fractional bits, of the frames or pairs that `counts` counts, one for each tier;
 * SERQ_MISSING where there is none. */
void serq_pool_mean(const serq_pool *pools, uint8_t count, uint8_t tiers, const serq_count *counts,
                    int32_t *out);
void serq_pool_sd(const serq_pool *pools, uint8_t count, uint8_t tiers, const serq_count *counts,
                  int32_t *out);
void serq_pool_delta_mean(const serq_pool *pools, uint8_t count, uint8_t tiers,
                          const serq_count *counts, int32_t *out);
void serq_pool_delta_sd(const serq_pool *pools, uint8_t count, uint8_t tiers,
                        const serq_count *counts, int32_t *out);

/* The values below which percents[0], percents[1], … of 100 values lie, interpolated within a bin;
 * 4 fractional bits, SERQ_MISSING where nothing is counted. Those of all `count` coefficients for
 * the first percentile, then for the next. */
void serq_percentiles(const serq_histogram *histograms, uint8_t count, uint8_t tiers,
                      const int16_t *table, const uint8_t *percents, uint8_t percentiles,
                      int32_t *out);

#endif
