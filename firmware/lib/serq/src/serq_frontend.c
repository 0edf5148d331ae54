#include "serq_frontend.h"

#include <string.h>

#include "serq_fixed.h"

/* Overflow: serq_mcu/frontend/tables.py proves, from the very tables that arrive here, that no sum
 * below leaves its type. */

/* Bits in which neighbouring bits of two samples differ, but for the lowest of each. samples: at a
 * multiple of 4 bytes. */
static inline uint32_t changes(const int16_t *samples)
{
#if defined(__GNUC__)
    samples = __builtin_assume_aligned(samples, 4); /* one load */
#endif
    uint32_t two;
    memcpy(&two, samples, sizeof two);
    return two ^ (two << 1);
}

#if SERQ_DSP
uint32_t serq_thumb2_changes(const int16_t *samples, uint32_t count);
void serq_thumb2_pieces(const int16_t *samples, uint32_t pieces, uint64_t *sums);
#elif SERQ_THUMB1
int32_t serq_thumb1_piece(const int16_t *samples, uint64_t *squares);
#endif

/* Of all samples up to `end`, in 16 bits; the lowest bit is set. */
static uint16_t all_changes(const int16_t *samples, const int16_t *end)
{
    uint32_t significant = 1; /* ends the search for the highest bit */
#if SERQ_DSP
    if (end - samples >= 16) {
        uint32_t count = (uint32_t)(end - samples) / 16 * 16;
        significant |= serq_thumb2_changes(samples, count);
        samples += count;
    }
#endif
    for (; end - samples >= 8; samples += 8) {
        significant |= changes(samples) | changes(samples + 2);
        significant |= changes(samples + 4) | changes(samples + 6);
    }
    for (; samples < end; samples += 2) {
        significant |= changes(samples);
    }
    return (uint16_t)(significant | significant >> 16);
}

uint8_t serq_frame_shift(const int16_t *samples, uint16_t count, uint16_t hop, uint16_t *kept)
{
    const int16_t *end = samples + count, *next = samples + hop, *unknown = samples;
    uint16_t significant = *kept;
    if (hop % 2 == 0) {
        if (significant != 0) {
            unknown = hop < count - hop ? next : end - hop;
        }
        *kept = all_changes(next, end);
        significant |= *kept;
        end = next;
    }
    significant |= all_changes(unknown, end);
    return (uint8_t)(serq_leading_zeros(significant) - 16);
}

SERQ_SPECIALISE void add_pair(const int16_t *samples, int32_t *sum, uint64_t *squares)
{
    serq_pair pair = serq_load_pair(samples);
    *sum = serq_add_both(*sum, pair);
    *squares = serq_add_squares(*squares, pair);
}

/* count * sum of squares - square of the sum, for what is left after whole pieces. */
static uint64_t rest_of_pieces(const int16_t *samples, uint32_t count)
{
    int32_t sum = 0;
    uint64_t squares = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += samples[i];
        squares = serq_add_square(squares, samples[i]);
    }
    return serq_mul64x16(squares, count) - serq_square(sum);
}

/* A piece adds less than 2^42. */
int32_t serq_loudness(const int16_t *samples, uint16_t count, const uint16_t *log_table)
{
    uint64_t squares = count, of_sums = 0;
    uint32_t left = count;
#if SERQ_DSP
    if (left >= SERQ_PIECE && ((uintptr_t)samples & 3) == 0) {
        uint64_t both[2] = {squares, 0};
        serq_thumb2_pieces(samples, left / SERQ_PIECE, both);
        samples += left / SERQ_PIECE * SERQ_PIECE;
        left %= SERQ_PIECE;
        squares = both[0];
        of_sums = both[1];
    }
#elif SERQ_THUMB1
    for (; left >= SERQ_PIECE && ((uintptr_t)samples & 3) == 0; left -= SERQ_PIECE) {
        of_sums = serq_add_square(of_sums, serq_thumb1_piece(samples, &squares));
        samples += SERQ_PIECE;
    }
#endif
    for (; left >= SERQ_PIECE; left -= SERQ_PIECE) {
        int32_t sum = 0;
        for (const int16_t *end = samples + SERQ_PIECE; samples < end; samples += 8) {
            add_pair(samples, &sum, &squares);
            add_pair(samples + 2, &sum, &squares);
            add_pair(samples + 4, &sum, &squares);
            add_pair(samples + 6, &sum, &squares);
        }
        of_sums = serq_add_square(of_sums, sum);
    }
    uint64_t spread = squares * SERQ_PIECE - of_sums + rest_of_pieces(samples, left);
    return serq_log2_q16(spread, log_table) >> 8;
}

#if SERQ_STORED_POWER && !SERQ_THUMB1 /* else it is in serq_thumb1.S */
void serq_power(serq_bin *bins, uint16_t count)
{
    for (const serq_bin *end = bins + count; bins < end; bins++) {
        bins->power = serq_square(bins->z.re) + serq_square(bins->z.im);
    }
}
#endif

uint64_t serq_add_power(const serq_bin *bins, uint16_t count, uint64_t total)
{
    for (const serq_bin *end = bins + count; bins < end; bins++) {
        total = serq_plus_power(total, bins);
    }
    return total;
}

#if !SERQ_DSP /* else it is in serq_thumb2.S */
uint64_t serq_log(serq_band *band, uint8_t bands, const int32_t *offset, const uint16_t *log_table,
                  uint8_t shift, int32_t log_floor)
{
    int32_t *log = band->log; /* log i overwrites energy i / 2, which has been read */
    int32_t scale = (int32_t)shift * 131072;
    uint64_t total = 0;
    for (const serq_band *end = band + bands; band < end; band++) {
        uint64_t energy = band->energy;
        total += energy;
        int32_t value = serq_log2_q16(energy, log_table) - *offset++ - scale;
        *log++ = value > log_floor ? value : log_floor;
    }
    return total;
}
#endif

int32_t serq_level(uint64_t power, uint8_t shift, int32_t offset, const uint16_t *log_table)
{
    int32_t level = (serq_log2_q16(power, log_table) - offset - (int32_t)shift * 131072) >> 8;
    return level > SERQ_LEVEL_MIN ? level : SERQ_LEVEL_MIN;
}

/* serq_scaled_power() of bin i. */
#if SERQ_STORED_POWER && !SERQ_THUMB1

/* NOLINTBEGIN(clang-analyzer-security.ArrayBound): the bins' memory as words */

/* All of them, at once and in place: each as the int32 of its number, where bin i / 2 was that has
 * been read. */
static void scale_powers(serq_bin *bins, uint16_t count, unsigned doublings)
{
    int32_t *scaled = &bins->z.re;
    const serq_bin *end = bins + count;
    unsigned up = 2 * doublings;
    if (up < 32) {
        for (; bins < end; bins++) {
            *scaled++ = (int32_t)((uint32_t)(bins->power >> 32) << up |
                                  (uint32_t)bins->power >> 1 >> (31 - up));
        }
    } else {
        for (; bins < end; bins++) { /* powers below 2^32 */
            *scaled++ = (int32_t)((uint32_t)bins->power << (up - 32));
        }
    }
}

static inline int32_t scaled_power(const serq_bin *bins, uint32_t i, unsigned doublings)
{
    (void)doublings;
    return (&bins->z.re)[i];
}

/* NOLINTEND(clang-analyzer-security.ArrayBound) */

#elif !SERQ_STORED_POWER

static inline void scale_powers(const serq_bin *bins, uint16_t count, unsigned doublings)
{
    (void)bins;
    (void)count;
    (void)doublings;
}

static inline int32_t scaled_power(const serq_bin *bins, uint32_t i, unsigned doublings)
{
    return serq_scaled_power(bins + i, doublings);
}

#endif

enum { WIDTH = 4 }; /* neighbouring classes that a bin touches */

/* Of each bin the product of its scaled power with 4 weights of its own, floored by 16 bits, added
 * to 4 of the sums, which are cleared first; powers may be destroyed. */
#if SERQ_DSP && !SERQ_STORED_POWER

void serq_thumb2_runs(const serq_bin *bins, unsigned doublings, const uint16_t *run,
                      const uint16_t *end, const int16_t *weight, int32_t *sums);

static void weigh_runs(const serq_bin *bins, uint16_t count, unsigned doublings,
                       const uint16_t *run, const uint16_t *end, const int16_t *weight,
                       int32_t *sums)
{
    (void)count;
    serq_thumb2_runs(bins, doublings, run, end, weight, sums);
}

#else

static inline void clear_sums(int32_t *sums)
{
    for (unsigned i = 0; i < SERQ_PITCH_CLASSES + WIDTH; i++) {
        sums[i] = 0;
        SERQ_RELOAD(); /* the memset() of small libraries takes a byte at a time */
    }
}

#if SERQ_THUMB1

void serq_thumb1_runs(const serq_bin *bins, unsigned up, const uint16_t *run, const uint16_t *end,
                      const int16_t *weight, int32_t *sums);

static void weigh_runs(serq_bin *bins, uint16_t count, unsigned doublings, const uint16_t *run,
                       const uint16_t *end, const int16_t *weight, int32_t *sums)
{
    unsigned up = 2 * doublings;
    for (unsigned i = 0; i < count && up >= 32; i++) { /* powers below 2^32 */
        bins[i].power <<= 32;
    }
    clear_sums(sums);
    serq_thumb1_runs(bins, up < 32 ? up : up - 32, run, end, weight, sums);
}

#else

static void weigh_runs(serq_bin *bins, uint16_t count, unsigned doublings, const uint16_t *run,
                       const uint16_t *end, const int16_t *weight, int32_t *sums)
{
    scale_powers(bins, count, doublings);
    clear_sums(sums);
    for (; run < end; run += 3) {
        int32_t *sum = sums + run[2];
        uint32_t i = run[0], last = i + run[1];
        int32_t a = sum[0], b = sum[1], c = sum[2], d = sum[3];
        do {
            int32_t x = scaled_power(bins, i, doublings);
            serq_pair w = serq_load_pair(weight), v = serq_load_pair(weight + 2);
            weight += WIDTH;
            a = serq_addw_low(a, x, w);
            b = serq_addw_high(b, x, w);
            c = serq_addw_low(c, x, v);
            d = serq_addw_high(d, x, v);
        } while (++i < last);
        sum[0] = a;
        sum[1] = b;
        sum[2] = c;
        sum[3] = d;
    }
}

#endif
#endif

void serq_chroma(serq_bin *bins, uint16_t count, uint64_t total, const uint16_t *run, uint16_t runs,
                 const int16_t *weight, int32_t *chroma)
{
    enum { CLASSES = SERQ_PITCH_CLASSES };
    int32_t sums[CLASSES + WIDTH]; /* those beyond the last class belong to the first ones */
    weigh_runs(bins, count, serq_power_doublings(total), run, run + 3 * runs, weight, sums);
    int32_t largest = 0;
    for (unsigned i = 0; i < CLASSES; i++) {
        sums[i] += i < WIDTH - 1 ? sums[CLASSES + i] : 0;
        largest = sums[i] > largest ? sums[i] : largest;
    }
    unsigned zeros = largest > 0 ? serq_leading_zeros((uint32_t)largest) : 0;
    uint32_t reciprocal = largest > 0 ? INT32_MAX / ((uint32_t)largest << zeros >> 16) : 0;
    for (unsigned i = 0; i < CLASSES; i++) {
        chroma[i] = (int32_t)(((uint32_t)sums[i] << zeros >> 16) * reciprocal >> 16);
    }
}
