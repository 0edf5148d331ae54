#include "serq_pool.h"

int16_t serq_step(serq_grid *grid, int32_t level, int32_t width)
{
    if (width == SERQ_EVERY_FRAME) {
        return 0;
    }
    if (level <= SERQ_LEVEL_MIN) {
        return SERQ_NEVER;
    }
    if (!grid->anchored) {
        grid->anchored = true;
        grid->anchor = (int16_t)level;
    }
    return (int16_t)serq_floor_div(level - grid->anchor, width);
}

uint8_t serq_tier(int16_t step, int16_t top, uint8_t count)
{
    if (step == SERQ_NEVER || step <= top - count) {
        return SERQ_UNCOUNTED;
    }
    int32_t rest = step % count;
    return (uint8_t)(rest < 0 ? rest + count : rest);
}

serq_place serq_next_place(serq_tiers *tiers, int16_t step, uint8_t count, bool begins)
{
    serq_place place = {serq_tier(step, tiers->top, count), SERQ_UNCOUNTED, begins};
    if (begins) {
        tiers->first = step;
    } else {
        int16_t lower = step < tiers->last ? step : tiers->last;
        place.pair = serq_tier(lower, tiers->top, count);
    }
    tiers->last = step;
    return place;
}

serq_place serq_select(serq_tiers *tiers, serq_place place, unsigned selection, bool counts)
{
    uint32_t bit = (uint32_t)1 << selection;
    bool before = (tiers->last_counts & bit) != 0;
    tiers->last_counts = counts ? tiers->last_counts | bit : tiers->last_counts & ~bit;
    if (place.begins) {
        tiers->first_counts = counts ? tiers->first_counts | bit : tiers->first_counts & ~bit;
    }
    place.frame = counts ? place.frame : SERQ_UNCOUNTED;
    place.pair = counts && before ? place.pair : SERQ_UNCOUNTED;
    return place;
}

void serq_count_add(serq_count *counts, const serq_place *place)
{
    if (place->frame != SERQ_UNCOUNTED) {
        counts[place->frame].frames++;
    }
    if (place->pair != SERQ_UNCOUNTED) {
        counts[place->pair].pairs++;
    }
}

/* A sum of 48 bits grows. */
SERQ_SPECIALISE void grow(uint32_t *low, uint16_t *high, uint32_t more)
{
    *low += more;
    if (*low < more) {
        ++*high;
    }
}

SERQ_SPECIALISE void add_difference(serq_pool *pool, int16_t v, int16_t previous)
{
    int32_t difference = v - previous;
    /* its square modulo 2^32 is the square of the signed one, below 2^32 */
    grow(&pool->delta, &pool->delta_high, (uint32_t)difference * (uint32_t)difference);
    pool->drift += difference;
}

#if SERQ_DSP
void serq_thumb2_pool(serq_pool *pool, serq_pool *pair, const int32_t *values, const int32_t *end,
                      uint32_t step, uint32_t shift, int16_t *last);
#endif

void serq_pool_add(serq_pool *pools, uint8_t count, uint8_t tiers, const int32_t *values,
                   uint8_t shift, const serq_place *place, int16_t *first, int16_t *last)
{
    if (place->frame == SERQ_UNCOUNTED) {
        return;
    }
    bool paired = place->pair != SERQ_UNCOUNTED;
#if SERQ_DSP
    if (paired) {
        serq_thumb2_pool(pools + place->frame, pools + place->pair, values, values + count,
                         tiers * (uint32_t)sizeof *pools, shift, last);
        return;
    }
#endif
    serq_pool *pool = pools + place->frame;
    serq_pool *pair = pools + (paired ? place->pair : place->frame);
    for (unsigned i = 0; i < count; i++, pool += tiers, pair += tiers) {
        int16_t v = (int16_t)serq_rshift_round(values[i], shift);
        grow(&pool->square, &pool->square_high, (uint32_t)(v * v));
        pool->sum += v;
        if (paired) {
            add_difference(pair, v, last[i]);
        } else if (place->begins) {
            first[i] = v;
        }
        last[i] = v;
    }
}

void serq_histogram_add(serq_histogram *histograms, uint8_t count, uint8_t tiers,
                        const int32_t *values, uint8_t shift, const int16_t *table,
                        const serq_place *place)
{
    if (place->frame == SERQ_UNCOUNTED) {
        return;
    }
    histograms += place->frame;
    for (unsigned i = 0; i < count; i++, histograms += tiers, table += 3) {
        int32_t bin = (serq_rshift_round(values[i], shift) - table[0]) * table[2] >> 16;
        histograms->counts[serq_clamp(bin, 0, SERQ_HISTOGRAM_BINS - 1)]++;
    }
}

void serq_pool_edge(serq_pool *pools, uint8_t count, uint8_t tiers, const int16_t *last,
                    const int16_t *first, uint8_t tier)
{
    if (tier == SERQ_UNCOUNTED) {
        return;
    }
    for (unsigned i = 0; i < count; i++, pools += tiers) {
        add_difference(pools + tier, first[i], last[i]);
    }
}

#if SERQ_DSP
void serq_thumb2_join(serq_pool *pools, const serq_pool *more, uint32_t count, uint32_t step);
#endif

void serq_pool_join(serq_pool *pools, const serq_pool *more, uint32_t count, uint32_t step)
{
#if SERQ_DSP
    serq_thumb2_join(pools, more, count, step * (uint32_t)sizeof *pools);
#else
    for (; count > 0; count--, pools += step, more += step) {
        grow(&pools->square, &pools->square_high, more->square);
        grow(&pools->delta, &pools->delta_high, more->delta);
        pools->square_high = (uint16_t)(pools->square_high + more->square_high);
        pools->delta_high = (uint16_t)(pools->delta_high + more->delta_high);
        pools->sum += more->sum;
        pools->drift += more->drift;
    }
#endif
}

/* A sum of squares, and the sum of what was squared. */
typedef struct {
    uint64_t square;
    int32_t sum;
} moments;

/* Those of a coefficient's values, in all tiers. */
SERQ_SPECIALISE moments of_values(const serq_pool *pools, uint8_t tiers)
{
    moments total = {0, 0};
    for (const serq_pool *end = pools + tiers; pools < end; pools++) {
        total.square += (uint64_t)pools->square_high << 32 | pools->square;
        total.sum += pools->sum;
    }
    return total;
}

/* Those of its differences. */
SERQ_SPECIALISE moments of_differences(const serq_pool *pools, uint8_t tiers)
{
    moments total = {0, 0};
    for (const serq_pool *end = pools + tiers; pools < end; pools++) {
        total.square += (uint64_t)pools->delta_high << 32 | pools->delta;
        total.sum += pools->drift;
    }
    return total;
}

static uint32_t all_frames(const serq_count *counts, uint8_t tiers)
{
    uint32_t total = 0;
    for (unsigned i = 0; i < tiers; i++) {
        total += counts[i].frames;
    }
    return total;
}

static uint32_t all_pairs(const serq_count *counts, uint8_t tiers)
{
    uint32_t total = 0;
    for (unsigned i = 0; i < tiers; i++) {
        total += counts[i].pairs;
    }
    return total;
}

/* 16 * sum / n, rounded */
static int32_t mean(int32_t sum, uint32_t n)
{
    return n == 0 ? SERQ_MISSING : serq_floor_div(16 * sum + (int32_t)(n >> 1), (int32_t)n);
}

/* 16 * sqrt(square / n - (sum / n)^2) */
static int32_t deviation(moments of, uint32_t n)
{
    if (n == 0) {
        return SERQ_MISSING;
    }
    uint64_t spread = serq_mul64x16(of.square, n) - serq_square(of.sum);
    return (int32_t)(serq_isqrt(spread << 8) / n);
}

void serq_pool_mean(const serq_pool *pools, uint8_t count, uint8_t tiers, const serq_count *counts,
                    int32_t *out)
{
    uint32_t n = all_frames(counts, tiers);
    for (unsigned i = 0; i < count; i++, pools += tiers) {
        out[i] = mean(of_values(pools, tiers).sum, n);
    }
}

void serq_pool_sd(const serq_pool *pools, uint8_t count, uint8_t tiers, const serq_count *counts,
                  int32_t *out)
{
    uint32_t n = all_frames(counts, tiers);
    for (unsigned i = 0; i < count; i++, pools += tiers) {
        out[i] = deviation(of_values(pools, tiers), n);
    }
}

void serq_pool_delta_mean(const serq_pool *pools, uint8_t count, uint8_t tiers,
                          const serq_count *counts, int32_t *out)
{
    uint32_t n = all_pairs(counts, tiers);
    for (unsigned i = 0; i < count; i++, pools += tiers) {
        out[i] = mean(of_differences(pools, tiers).sum, n);
    }
}

void serq_pool_delta_sd(const serq_pool *pools, uint8_t count, uint8_t tiers,
                        const serq_count *counts, int32_t *out)
{
    uint32_t n = all_pairs(counts, tiers);
    for (unsigned i = 0; i < count; i++, pools += tiers) {
        out[i] = deviation(of_differences(pools, tiers), n);
    }
}

/* The counts of all tiers that a coefficient has; returns how many values they are. */
static uint32_t all_counts(const serq_histogram *histograms, uint8_t tiers, serq_histogram *sum)
{
    uint32_t total = 0;
    for (unsigned i = 0; i < SERQ_HISTOGRAM_BINS / 2; i++) {
        uint32_t both = 0;
        for (unsigned tier = 0; tier < tiers; tier++) {
            both += histograms[tier].words[i];
        }
        sum->words[i] = both;
        total += both;
    }
    return (total & 0xffff) + (total >> 16);
}

/* The percentiles of `total` > 0 counts, `step` places apart in `out`. A higher one is looked for
 * where the last was found. */
static void find_percentiles(const uint16_t *counts, uint32_t total, const int16_t *table,
                             const uint8_t *percents, unsigned percentiles, unsigned step,
                             int32_t *out)
{
    uint32_t bin = 0, below = 0; /* a hundred times the counts of the bins before it */
    for (unsigned j = 0; j < percentiles; j++, out += step) {
        uint32_t rank = percents[j] * total;
        if (rank <= below) {
            bin = 0;
            below = 0;
        }
        for (; below + 100U * counts[bin] < rank; bin++) {
            below += 100U * counts[bin];
        }
        uint32_t fraction = (rank - below) * 256 / (100U * counts[bin]);
        *out = 16 * table[0] + ((int32_t)(256 * bin + fraction) * table[1] >> 4);
    }
}

void serq_percentiles(const serq_histogram *histograms, uint8_t count, uint8_t tiers,
                      const int16_t *table, const uint8_t *percents, uint8_t percentiles,
                      int32_t *out)
{
    for (unsigned i = 0; i < count; i++, histograms += tiers, table += 3) {
        serq_histogram sum;
        uint32_t total = all_counts(histograms, tiers, &sum);
        if (total > 0) {
            find_percentiles(sum.counts, total, table, percents, percentiles, count, out + i);
            continue;
        }
        for (unsigned j = 0; j < percentiles; j++) {
            out[j * count + i] = SERQ_MISSING;
        }
    }
}
