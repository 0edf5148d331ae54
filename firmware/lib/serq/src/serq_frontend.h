/* The front end: one frame of PCM to MFCC, and their statistics over a clip (SPEC.md section 2).
 * All integers; no heap, float, recursion or variable-length array. Sizes and tables are the caller's (generated). */
#ifndef SERQ_FRONTEND_H
#define SERQ_FRONTEND_H

#include <stdint.h>

/* A bin of the transform: complex until serq_power() replaces it by its power. */
typedef union {
    struct {
        int32_t re, im;
    } z;
    uint64_t power;
} serq_bin;

/* Sums of one coefficient over the frames seen so far. */
typedef struct {
    uint64_t square; /* sum of v^2 */
    uint64_t delta;  /* sum of (v - previous v)^2 */
    int32_t sum;     /* sum of v */
    int16_t first;   /* v of the first frame */
    int16_t last;    /* v of the latest frame */
} serq_pool;

/* Largest 0 <= s <= 15 such that every sample * 2^s lies in int16. */
uint8_t serq_frame_shift(const int16_t *samples, uint16_t count);

/* Windowed, scaled samples as 2^(log2_length - 1) complex points in bit-reversed order. */
void serq_window(const int16_t *samples, const int16_t *window, uint8_t log2_length, uint8_t headroom, uint8_t shift, serq_bin *z);

/* In-place complex FFT of 2^(log2_length - 1) points, bit-reversed in, natural out. twiddle: cos, sin pairs. */
void serq_fft(serq_bin *z, const int16_t *twiddle, uint8_t log2_length);

/* In place: complex FFT of packed real samples to 2^(log2_length - 1) + 1 bins of twice the real spectrum. */
void serq_spectrum(serq_bin *z, const int16_t *twiddle, uint8_t log2_length);

/* In place: re^2 + im^2 of each bin. */
void serq_power(serq_bin *bins, uint16_t count);

/* Triangular band energies (halved). segment: (count, a, b) for each of bands + 1 mel segments. */
void serq_mel(const serq_bin *bins, uint16_t first_bin, const uint16_t *segment, uint8_t bands, uint64_t *energy);

/* Q16 log2 of band energies relative to full scale, floored. */
void serq_log(const uint64_t *energy, uint8_t bands, const int32_t *offset, const uint16_t *log_table, uint8_t shift, int32_t log_floor,
              int32_t *log);

/* DCT-II, first `count` coefficients. dct: Q15 cosines [count][bands / 2]. bands <= 128, even. */
void serq_dct(const int32_t *log, uint8_t bands, const int16_t *dct, uint8_t count, int32_t *mfcc);

/* Add frame number `frame` (0 = first) of `count` coefficients to their sums. */
void serq_pool_add(serq_pool *pool, uint8_t count, const int32_t *values, uint8_t shift, uint32_t frame);

/* Statistics over `frames` >= 2 frames, 4 fractional bits. */
void serq_pool_mean(const serq_pool *pool, uint8_t count, uint32_t frames, int32_t *out);
void serq_pool_sd(const serq_pool *pool, uint8_t count, uint32_t frames, int32_t *out);
void serq_pool_delta_sd(const serq_pool *pool, uint8_t count, uint32_t frames, int32_t *out);

#endif
