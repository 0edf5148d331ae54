/* The front end: one frame of PCM to its level, mel, MFCC and chroma (SPEC.md section 2). All
 * integers; no heap, float, recursion or variable-length array. Sizes and tables are the caller's
 * (generated). */
#ifndef SERQ_FRONTEND_H
#define SERQ_FRONTEND_H

#include <stdint.h>

#include "serq_fixed.h"
#include "serq_pool.h"

#define SERQ_PITCH_CLASSES 12

/* Whether powers replace the spectrum in memory: for a trace, and where a product is dear.
 * Elsewhere they are computed as they are read. */
#ifndef SERQ_STORED_POWER
#if (defined(SERQ_TRACE) && SERQ_TRACE) || !SERQ_LONG_MULTIPLY
#define SERQ_STORED_POWER 1
#else
#define SERQ_STORED_POWER 0
#endif
#endif

/* A bin of the transform: complex until its power replaces it. */
typedef union {
    struct {
        int32_t re, im;
    } z;
    uint64_t power;
} serq_bin;

/* Energies of mel bands, until the logs of all bands replace them, one after another from the first
 * band's place on. */
typedef union {
    uint64_t energy;
    int32_t log[2];
} serq_band;

/* Largest 0 <= s <= 15 such that every sample * 2^s lies in int16. samples: a multiple of 2, at an
 * address that is one of 4. kept: what the call for the frame before left of the samples that both
 * frames have, or 0, and then all samples are read; it becomes what there is of those that the next
 * frame has, which begins `hop` samples later. */
uint8_t serq_frame_shift(const int16_t *samples, uint16_t count, uint16_t hop, uint16_t *kept);

#define SERQ_PIECE 64 /* samples, in which loudness is a variance */

/* How loud `count` <= 2048 samples are, without a transform: Q8 log2 of their variance within
 * pieces, plus one, so that neither an offset nor rumble is sound, nor less than a step of the
 * converter. */
int32_t serq_loudness(const int16_t *samples, uint16_t count, const uint16_t *log_table);

/* The transform is in serq_fft.h. */

/* In place: re^2 + im^2 of each bin (if powers are stored at all). */
#if SERQ_STORED_POWER
void serq_power(serq_bin *bins, uint16_t count);
#else
static inline void serq_power(const serq_bin *bins, uint16_t count)
{
    (void)bins;
    (void)count;
}
#endif

/* total + the powers of bins. */
uint64_t serq_add_power(const serq_bin *bins, uint16_t count, uint64_t total);

/* sum + the power of a bin. */
SERQ_SPECIALISE uint64_t serq_plus_power(uint64_t sum, const serq_bin *bin)
{
#if SERQ_STORED_POWER
    return sum + bin->power;
#else
    return serq_add_square(serq_add_square(sum, bin->z.re), bin->z.im);
#endif
}

/* By how much bins may be doubled so that their powers, which sum up to total < 2^62, still do not
 * reach 2^62 together. */
static inline unsigned serq_power_doublings(uint64_t total)
{
    uint32_t high = (uint32_t)(total >> 32);
    unsigned top =
        high != 0 ? 63 - serq_leading_zeros(high) : 31 - serq_leading_zeros((uint32_t)total | 1);
    return (61 - top) / 2;
}

/* floor(power * 2^(2 * doublings) / 2^32) of a bin. */
SERQ_SPECIALISE int32_t serq_scaled_power(const serq_bin *bin, unsigned doublings)
{
#if SERQ_STORED_POWER
    uint32_t high = (uint32_t)(bin->power >> 32), low = (uint32_t)bin->power;
    unsigned up = 2 * doublings;
    return (int32_t)(up < 32 ? high << up | low >> 1 >> (31 - up) : low << (up - 32));
#else
    int32_t re = (int32_t)((uint32_t)bin->z.re << doublings),
            im = (int32_t)((uint32_t)bin->z.im << doublings);
    return serq_squares_high(re, im);
#endif
}

/* sum: of the powers of `count` bins; ramp: of what it was before each of them. */
SERQ_SPECIALISE void serq_sum_segment(const serq_bin *bins, uint32_t count, uint64_t *ramp,
                                      uint64_t *sum)
{
    for (const serq_bin *last = bins + count; bins < last; bins++) {
        *ramp += *sum;
        *sum = serq_plus_power(*sum, bins);
    }
}

#if SERQ_DSP && !SERQ_STORED_POWER
uint64_t serq_thumb2_mel(const serq_bin *bins, const uint16_t *segment, const uint16_t *end,
                         serq_band *band);
#endif

/* Triangular band energies (halved), from the first bin with a weight on. segment: (count, a, b)
 * for each of bands + 1 mel segments. Returns the sum of the powers that it read. */
SERQ_STAGE uint64_t serq_mel(const serq_bin *bins, const uint16_t *segment, uint8_t bands,
                             serq_band *band)
{
#if SERQ_DSP && !SERQ_STORED_POWER
    return serq_thumb2_mel(bins, segment, segment + 3 * (bands + 1U), band);
#else
    uint64_t rising = 0; /* the part of the band that lies in the segment before */
    uint64_t total = 0;
    for (const uint16_t *end = segment + 3 * (bands + 1U), *first = segment; segment < end;
         segment += 3) {
        uint64_t sum = 0, ramp = 0;
        serq_sum_segment(bins, segment[0], &ramp, &sum);
        bins += segment[0];
        uint64_t falling = serq_weighted(ramp, segment[1], sum, segment[2]);
        if (segment != first) {
            band++->energy = rising + falling;
        }
        rising = (sum >> 1) - falling;
        total += sum;
    }
    return total;
#endif
}

/* In place: Q16 log2 of band energies relative to full scale, floored. Returns the sum of the
 * energies. */
uint64_t serq_log(serq_band *band, uint8_t bands, const int32_t *offset, const uint16_t *log_table,
                  uint8_t shift, int32_t log_floor);

/* NOLINTBEGIN(clang-analyzer-security.ArrayBound): logs lie in bands' memory */

/* In place: sums of mirrored values in the first half, their differences in the second. */
SERQ_SPECIALISE void serq_fold(int32_t *log, uint8_t bands)
{
    int32_t *a = log, *b = log + bands / 2 - 1, *c = log + bands / 2, *d = log + bands - 1;
    while (a <= b) {
        int32_t a_value = *a, b_value = *b, c_value = *c, d_value = *d;
        *a++ = a_value + d_value;
        *b-- = b_value + c_value;
        *c++ = a_value - d_value;
        *d-- = b_value - c_value;
    }
}

/* NOLINTEND(clang-analyzer-security.ArrayBound) */

#if SERQ_THUMB1

void serq_thumb1_rows(const int32_t *values, const int16_t *coefficients, uint32_t step,
                      int32_t *out, uint32_t count);

/* Rows r and r + 2 of the DCT; the last row alone has its own once more beside it. */
SERQ_SPECIALISE void serq_dct_rows(const int32_t *values, unsigned half, const int16_t *dct,
                                   unsigned r, unsigned count, int32_t *mfcc)
{
    int32_t both[3];
    bool two = r + 2 < count;
    serq_thumb1_rows(values, dct + r * half, two ? 4 * half : 0, two ? mfcc + r : both, half);
    if (!two) {
        mfcc[r] = both[0];
    }
}

#else

/* Rows r and r + 2 of the DCT at a time: a value is loaded once for both, coefficients in pairs. */
SERQ_SPECIALISE void serq_dct_rows(const int32_t *values, unsigned half, const int16_t *dct,
                                   unsigned r, unsigned count, int32_t *mfcc)
{
    unsigned other = r + 2 < count ? r + 2 : r;
    const int16_t *first = dct + r * half, *second = dct + other * half;
    int32_t a = 0, b = 0;
    for (const int32_t *end = values + half / 4 * 4; values < end;
         values += 4, first += 4, second += 4) {
        for (unsigned i = 0; i < 4; i += 2) {
            serq_pair w = serq_load_pair(first + i), v = serq_load_pair(second + i);
            int32_t x = values[i], y = values[i + 1];
            a = serq_addw_high(serq_addw_low(a, x, w), y, w);
            b = serq_addw_high(serq_addw_low(b, x, v), y, v);
        }
    }
    for (unsigned i = 0; i < half % 4; i++) {
        a += serq_mulw(values[i], first[i]);
        b += serq_mulw(values[i], second[i]);
    }
    mfcc[other] = b;
    mfcc[r] = a;
}

#endif

#if SERQ_DSP
void serq_thumb2_rows(const int32_t *values, const int16_t *coefficients, uint32_t step,
                      int32_t *out, uint32_t count);
#endif

/* Every second row of the DCT from row r on. */
SERQ_SPECIALISE void serq_dct_half(const int32_t *values, unsigned half, const int16_t *dct,
                                   unsigned r, unsigned count, int32_t *mfcc)
{
#if SERQ_DSP
    for (; r + 6 < count; r += 8) {
        serq_thumb2_rows(values, dct + r * half, 4 * half, mfcc + r, half);
    }
#endif
    for (; r < count; r += 4) {
        serq_dct_rows(values, half, dct, r, count, mfcc);
    }
}

/* DCT-II, first `count` coefficients; destroys log. dct: Q15 cosines [count][bands / 2]. bands <=
 * 128, even. */
SERQ_STAGE void serq_dct(int32_t *log, uint8_t bands, const int16_t *dct, uint8_t count,
                         int32_t *mfcc)
{
    unsigned half = bands / 2U;
    serq_fold(log, bands);
    serq_dct_half(log, half, dct, 0, count, mfcc);
    serq_dct_half(log + half, half, dct, 1, count, mfcc);
}

/* The 12 pitch classes' parts of the power, in Q15 of the largest; destroys bins. total: the sum of
 * all bins' powers. run: (first bin, count, first class) of stretches of bins that touch the same 4
 * classes; weight: 4 a bin, run after run. */
void serq_chroma(serq_bin *bins, uint16_t count, uint64_t total, const uint16_t *run, uint16_t runs,
                 const int16_t *weight, int32_t *chroma);

/* Level of a frame, Q8 log2 of its power relative to full scale, at least SERQ_LEVEL_MIN. shift: of
 * the frame; offset: Q16 log2 of full scale. */
int32_t serq_level(uint64_t power, uint8_t shift, int32_t offset, const uint16_t *log_table);

#endif
