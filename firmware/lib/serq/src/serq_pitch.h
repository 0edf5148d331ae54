/* Pitch and voicing of a frame, from its powers (SPEC.md section 2, step 11).
 *
 * The autocorrelation is in the header since its sizes are constants where it is called. Overflow:
 * serq_mcu/frontend/pitch.py proves, from the very tables that arrive here, that no sum below
 * leaves its type. */
#ifndef SERQ_PITCH_H
#define SERQ_PITCH_H

#include "serq_fft.h"

/* What compresses a frame's powers. compress: factors of 32 mantissas and of 32 octaves; weight: of
 * each bin, Q15. */
typedef struct {
    const serq_bin *bins;
    const uint16_t *weight, *compress;
    unsigned doublings;
} serq_compression;

/* About power^0.4 of bin k, weighed: less than 2^15. */
SERQ_SPECIALISE int32_t serq_compressed(const serq_compression *of, uint32_t k)
{
    uint32_t power = (uint32_t)serq_scaled_power(of->bins + k, of->doublings) | 1;
    unsigned zeros = serq_leading_zeros(power);
    uint32_t mantissa = of->compress[(power << zeros) >> 26 & 31];
    return (int32_t)((mantissa * of->compress[32 + zeros] >> 16) * of->weight[k] >> 15);
}

/* Two real numbers, of places j and n - j, whose transform is that of bins j and n - j mirrored to
 * both sides; adds to `odd`, the sum for lag 1. turn: cos, sin of pi*j/n. */
SERQ_SPECIALISE void serq_mirror(const serq_compression *of, uint32_t j, uint32_t n,
                                 const int16_t *turn, unsigned scale, int32_t *lower,
                                 int32_t *upper, int32_t *odd)
{
    int32_t a = serq_compressed(of, j), b = serq_compressed(of, n - j);
    int32_t half = (int32_t)((uint32_t)(a + b) << scale >> 1), difference = a - b;
    int32_t turned = difference * turn[1] >> (15 - scale);
    *odd += difference * turn[0] >> (14 - scale);
    *lower = half - turned;
    *upper = half + turned;
}

SERQ_SPECIALISE int32_t serq_doubled_times(int32_t value, unsigned times)
{
    return (int32_t)((uint32_t)value << times);
}

/* All these numbers in pairs, as the FFT takes them: in bit-reversed order, each doubled once for
 * each set bit of its place. Returns the sum for lag 1. */
SERQ_SPECIALISE int32_t serq_mirror_all(const serq_compression *of, const int16_t *turn,
                                        uint32_t stride, uint32_t log2_points, unsigned scale,
                                        serq_bin *z)
{
    uint32_t points = (uint32_t)1 << log2_points, position = 0;
    unsigned bits = SERQ_DSP ? 0 : log2_points; /* serq_next_reversed() counts them downwards */
    int32_t odd = 0, lower, upper;
    z[0].z.re = 0;
    for (uint32_t i = 0; i < points / 2; i++) {
        unsigned ones = SERQ_DSP ? bits : log2_points - bits;
        uint32_t mirrored = points - 1 - position;
        turn += 2 * stride;
        serq_mirror(of, 2 * i + 1, 2 * points, turn, scale, &lower, &upper, &odd);
        z[position].z.im = serq_doubled_times(lower, ones);
        z[mirrored].z.im = serq_doubled_times(upper, log2_points - ones);
        serq_next_reversed(&position, &bits, i, log2_points);
        if (i + 1 < points / 2) {
            turn += 2 * stride;
            serq_mirror(of, 2 * i + 2, 2 * points, turn, scale, &lower, &upper, &odd);
            z[position].z.re = serq_doubled_times(lower, SERQ_DSP ? bits : log2_points - bits);
            z[mirrored].z.re = serq_doubled_times(upper, log2_points - ones);
        }
    }
    z[1].z.re = serq_doubled_times(serq_compressed(of, points), scale + 1); /* the middle */
    return odd;
}

/* The FFT of 8 to 256 points that are doubled and in bit-reversed order. */
SERQ_SPECIALISE void serq_short_fft(serq_bin *z, const int16_t *twiddle, uint32_t log2_points)
{
    uint32_t points = (uint32_t)1 << log2_points;
    if (log2_points % 2 == 0) {
        serq_pair none = serq_load_pair(twiddle);
        serq_radix4_all(z, 0, points, 1, SERQ_AT_ZERO, none, none);
        serq_fft_pass(z, twiddle, points, 4);
        if (log2_points >= 6) {
            serq_fft_pass(z, twiddle, points, 16);
        }
        if (log2_points == 8) {
            serq_fft_pass(z, twiddle, points, 64);
        }
    } else {
        for (serq_bin *a = z; a < z + points; a += 2) {
            serq_complex first = serq_load(a), second = serq_load(a + 1);
            serq_butterfly_one(&first, &second);
            serq_store(a, first);
            serq_store(a + 1, second);
        }
        serq_fft_pass(z, twiddle, points, 2);
        if (log2_points >= 5) {
            serq_fft_pass(z, twiddle, points, 8);
        }
        if (log2_points == 7) {
            serq_fft_pass(z, twiddle, points, 32);
        }
    }
}

/* NOLINTBEGIN(clang-analyzer-security.ArrayBound): the bins' memory as words */

/* Imaginary parts are differences between odd lags; those above the middle are stored conjugate. */
SERQ_SPECIALISE void serq_sum_odd_lags(int32_t *r, uint32_t points, uint32_t last)
{
    uint32_t n = 3;
    for (; n <= last && n <= points + 1; n += 2) {
        r[n] = r[n - 2] - r[n];
    }
    for (; n <= last; n += 2) {
        r[n] += r[n - 2];
    }
}

/* The autocorrelation that belongs to the powers of bins, lags 0 to `last`, as int32 in the memory
 * of z, which has points + 1 places. power: the sum of all bins' powers, below 2^62; turn: the
 * frame's twiddle factors, of which every stride-th is used; twiddle: those of the short FFT;
 * log2_points: 3 to 8; scale: bits by which sums are scaled up. */
SERQ_STAGE int32_t *serq_correlate(const serq_bin *bins, uint64_t power, const uint16_t *weight,
                                   const uint16_t *compress, const int16_t *turn, uint32_t stride,
                                   const int16_t *twiddle, uint32_t log2_points, unsigned scale,
                                   uint32_t last, serq_bin *z)
{
    const serq_compression of = {bins, weight, compress, serq_power_doublings(power)};
    int32_t odd = serq_mirror_all(&of, turn, stride, log2_points, scale, z);
    serq_short_fft(z, twiddle, log2_points);
    serq_spectrum(z, twiddle, (uint32_t)1 << log2_points);
    int32_t *r = &z->z.re;
    r[1] = odd;
    serq_sum_odd_lags(r, (uint32_t)1 << log2_points, last);
    return r;
}

/* NOLINTEND(clang-analyzer-security.ArrayBound) */

/* The pitch of the best of lags first … first + count - 1 as Q16 octaves above the lowest, and its
 * voicing in Q15; 0 and 0 if there is no peak. cost: of each lag, Q16 of voicing; offset: Q16 log2
 * of the lowest pitch's lag. Returns whether the voicing is at least `threshold` > 0. */
uint8_t serq_pitch(const int32_t *r, uint16_t first, uint16_t count, const int16_t *cost,
                   int32_t offset, int32_t threshold, const uint16_t *log_table, int32_t *pitch);

/* The voicing, and 2^15 if the frame is voiced. */
void serq_voicing(const int32_t *pitch, uint8_t voiced, int32_t *voicing);

#endif
