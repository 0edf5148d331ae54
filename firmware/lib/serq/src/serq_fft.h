/* The transform of a frame: window, complex FFT of packed real samples, spectrum (SPEC.md section
 * 2, steps 2 to 4).
 *
 * Functions of constant sizes, in a header so that the compiler makes them for the one length that
 * a model has. Overflow: serq_mcu/frontend/tables.py proves, from the very tables that arrive here,
 * that no sum below leaves its type. */
#ifndef SERQ_FFT_H
#define SERQ_FFT_H

#include <stdbool.h>

#include "serq_frontend.h"

typedef struct {
    int32_t re, im;
} serq_complex;

SERQ_SPECIALISE serq_complex serq_load(const serq_bin *bin)
{
    serq_complex value = {bin->z.re, bin->z.im};
    return value;
}

SERQ_SPECIALISE void serq_store(serq_bin *bin, serq_complex value)
{
    bin->z.re = value.re;
    bin->z.im = value.im;
}

SERQ_SPECIALISE serq_complex serq_halved(serq_complex value)
{
    serq_complex half = {value.re >> 1, value.im >> 1};
    return half;
}

/* Butterflies: a becomes a + t and b becomes a - t, where t is b times a twiddle factor and halved,
 * as a Q15 product floored by 16 bits is; serq_window() has doubled every point once for each level
 * at which it is odd, which is the number of set bits of its position. In a turned butterfly t is
 * turned by another quarter of a circle, t * -i. */

SERQ_SPECIALISE void serq_butterfly_one(serq_complex *a, serq_complex *b)
{
    serq_complex t = serq_halved(*b);
    b->re = a->re - t.re;
    b->im = a->im - t.im;
    a->re += t.re;
    a->im += t.im;
}

SERQ_SPECIALISE void serq_butterfly_one_turned(serq_complex *a, serq_complex *b)
{
    serq_complex t = serq_halved(*b);
    b->re = a->re - t.im;
    b->im = a->im + t.re;
    a->re += t.im;
    a->im -= t.re;
}

/* a + t and a - t of t = x * low(w) + y * high(v), halved. */
SERQ_SPECIALISE void serq_add_and_subtract(int32_t a, int32_t x, serq_pair w, int32_t y,
                                           serq_pair v, int32_t *sum, int32_t *difference)
{
#if SERQ_DSP /* multiplies and adds at once */
    *sum = serq_addw_high(serq_addw_low(a, x, w), y, v);
    *difference = 2 * a - *sum;
#else
    int32_t t = serq_mulw_low(x, w) + serq_mulw_high(y, v);
    *sum = a + t;
    *difference = a - t;
#endif
}

/* w = (cos, sin), n = (any, -sin) */
SERQ_SPECIALISE void serq_butterfly(serq_complex *a, serq_complex *b, serq_pair w, serq_pair n)
{
    int32_t re = b->re, im = b->im;
    serq_add_and_subtract(a->re, re, w, im, w, &a->re, &b->re);
    serq_add_and_subtract(a->im, im, w, re, n, &a->im, &b->im);
}

SERQ_SPECIALISE void serq_butterfly_turned(serq_complex *a, serq_complex *b, serq_pair w,
                                           serq_pair n)
{
    int32_t re = b->re, im = b->im;
    serq_add_and_subtract(a->re, im, w, re, n, &a->re, &b->re);
    serq_add_and_subtract(a->im, re, w, im, w, &b->im, &a->im);
}

/* Two levels, m and 2m, on the four points z, z + m, z + 2m, z + 3m. `place` says which twiddle
 * factors they meet at level m. */
enum { SERQ_AT_ZERO, SERQ_AT_FIRST_HALF, SERQ_AT_MIDDLE, SERQ_AT_SECOND_HALF };

SERQ_SPECIALISE void serq_radix4(serq_bin *z, uint32_t m, int place, serq_pair outer,
                                 serq_pair inner)
{
    serq_complex a = serq_load(z), b = serq_load(z + m), c = serq_load(z + 2 * m),
                 d = serq_load(z + 3 * m);
    serq_pair minus_outer = serq_minus_high(outer), minus_inner = serq_minus_high(inner);
    switch (place) {
    case SERQ_AT_ZERO:
        serq_butterfly_one(&a, &b);
        serq_butterfly_one(&c, &d);
        serq_butterfly_one(&a, &c);
        serq_butterfly_one_turned(&b, &d);
        break;
    case SERQ_AT_MIDDLE:
        serq_butterfly_one_turned(&a, &b);
        serq_butterfly_one_turned(&c, &d);
        break;
    case SERQ_AT_FIRST_HALF:
        serq_butterfly(&a, &b, outer, minus_outer);
        serq_butterfly(&c, &d, outer, minus_outer);
        break;
    default:
        serq_butterfly_turned(&a, &b, outer, minus_outer);
        serq_butterfly_turned(&c, &d, outer, minus_outer);
    }
    if (place != SERQ_AT_ZERO) {
        serq_butterfly(&a, &c, inner, minus_inner);
        serq_butterfly_turned(&b, &d, inner, minus_inner);
    }
    serq_store(z, a);
    serq_store(z + m, b);
    serq_store(z + 2 * m, c);
    serq_store(z + 3 * m, d);
}

/* The blocks' points k, for one k. */
SERQ_SPECIALISE void serq_radix4_all(serq_bin *z, uint32_t k, uint32_t points, uint32_t m,
                                     int place, serq_pair outer, serq_pair inner)
{
    const serq_bin *end = z + points;
    z += k;
    do {
        serq_radix4(z, m, place, outer, inner);
        z += 4 * m;
    } while (4 * m < points && z < end);
}

#if SERQ_THUMB1

void serq_thumb1_level(serq_bin *z, const int16_t *twiddle, uint32_t points, uint32_t m);

/* Level m of the FFT, m even: radix 4 needs more registers than there are. */
SERQ_SPECIALISE void serq_fft_level(serq_bin *z, const int16_t *twiddle, uint32_t points,
                                    uint32_t m)
{
    for (serq_bin *a = z; a < z + points; a += 2 * m) {
        serq_complex first = serq_load(a), second = serq_load(a + m);
        serq_butterfly_one(&first, &second);
        serq_store(a, first);
        serq_store(a + m, second);
        first = serq_load(a + m / 2);
        second = serq_load(a + m / 2 + m);
        serq_butterfly_one_turned(&first, &second);
        serq_store(a + m / 2, first);
        serq_store(a + m / 2 + m, second);
    }
    if (m > 2) {
        serq_thumb1_level(z, twiddle, points, m);
    }
}

SERQ_SPECIALISE void serq_fft_pass(serq_bin *z, const int16_t *twiddle, uint32_t points, uint32_t m)
{
    serq_fft_level(z, twiddle, points, m);
    serq_fft_level(z, twiddle, points, 2 * m);
}

#else

#if SERQ_DSP

void serq_thumb2_pass2(serq_bin *z, const int16_t *twiddle, uint32_t points);
void serq_thumb2_pass4(serq_bin *z, const int16_t *twiddle, uint32_t points);
void serq_thumb2_pass8(serq_bin *z, const int16_t *twiddle, uint32_t points);
void serq_thumb2_pass16(serq_bin *z, const int16_t *twiddle, uint32_t points);
void serq_thumb2_pass32(serq_bin *z, const int16_t *twiddle, uint32_t points);
void serq_thumb2_pass64(serq_bin *z, const int16_t *twiddle, uint32_t points);
void serq_thumb2_last4(serq_bin *z, const int16_t *twiddle);
void serq_thumb2_last8(serq_bin *z, const int16_t *twiddle);
void serq_thumb2_last16(serq_bin *z, const int16_t *twiddle);
void serq_thumb2_last32(serq_bin *z, const int16_t *twiddle);
void serq_thumb2_last64(serq_bin *z, const int16_t *twiddle);
void serq_thumb2_last128(serq_bin *z, const int16_t *twiddle);

/* Levels m and 2m of the FFT in assembly, if there is some for this m. */
SERQ_SPECIALISE bool serq_assembled_pass(serq_bin *z, const int16_t *twiddle, uint32_t points,
                                         uint32_t m)
{
    bool last = points == 4 * m;
    switch (m) {
    case 2:
        serq_thumb2_pass2(z, twiddle, points);
        return true;
    case 4:
        last ? serq_thumb2_last4(z, twiddle) : serq_thumb2_pass4(z, twiddle, points);
        return true;
    case 8:
        last ? serq_thumb2_last8(z, twiddle) : serq_thumb2_pass8(z, twiddle, points);
        return true;
    case 16:
        last ? serq_thumb2_last16(z, twiddle) : serq_thumb2_pass16(z, twiddle, points);
        return true;
    case 32:
        last ? serq_thumb2_last32(z, twiddle) : serq_thumb2_pass32(z, twiddle, points);
        return true;
    case 64:
        last ? serq_thumb2_last64(z, twiddle) : serq_thumb2_pass64(z, twiddle, points);
        return true;
    case 128:
        serq_thumb2_last128(z, twiddle);
        return true;
    default:
        return false;
    }
}

#endif

/* Levels m and 2m of the FFT, m even. */
SERQ_SPECIALISE void serq_fft_pass(serq_bin *z, const int16_t *twiddle, uint32_t points, uint32_t m)
{
#if SERQ_DSP
    if (serq_assembled_pass(z, twiddle, points, m)) {
        return;
    }
#endif
    /* int16 from one factor of level 2m to the next; level m's are twice as far apart */
    uint32_t stride = points / m;
    const int16_t *inner = twiddle + stride, *outer = twiddle + 2 * stride;
    serq_pair none = serq_load_pair(twiddle);
    serq_radix4_all(z, 0, points, m, SERQ_AT_ZERO, none, none);
    for (uint32_t k = 1; k < m / 2; k++, inner += stride, outer += 2 * stride) {
        serq_radix4_all(z, k, points, m, SERQ_AT_FIRST_HALF, serq_load_pair(outer),
                        serq_load_pair(inner));
    }
    serq_radix4_all(z, m / 2, points, m, SERQ_AT_MIDDLE, none, serq_load_pair(inner));
    outer = twiddle;
    for (uint32_t k = m / 2 + 1; k < m; k++) {
        inner += stride;
        outer += 2 * stride;
        serq_radix4_all(z, k, points, m, SERQ_AT_SECOND_HALF, serq_load_pair(outer),
                        serq_load_pair(inner));
    }
}

#endif

/* What window and first pass read: `points` complex points, pairs of samples. */
typedef struct {
    const int16_t *samples, *window;
    uint32_t points;
    unsigned shift, down;
} serq_frame;

/* Bits by which a windowed sample is shifted: with DSP instructions left, before a product that is
 * floored by 16 bits, else right, after it. */
SERQ_SPECIALISE unsigned serq_window_bits(const serq_frame *frame)
{
    return SERQ_DSP ? 16 + frame->shift - frame->down : frame->down;
}

/* The same for a point that is to be doubled. */
SERQ_SPECIALISE unsigned serq_doubled(unsigned bits)
{
    return SERQ_DSP ? bits + 1 : bits - 1;
}

/* Point j of a frame, windowed. x * 2^shift has 16 bits, so that no product leaves 31. */
SERQ_SPECIALISE serq_complex serq_windowed(const serq_frame *frame, uint32_t j, unsigned bits)
{
    const int16_t *x = frame->samples + 2 * j, *window = frame->window + 2 * j;
    serq_complex value;
#if SERQ_DSP
    serq_pair w = serq_load_pair(window);
    value.re = serq_mulw_low((int32_t)((uint32_t)x[0] << bits), w);
    value.im = serq_mulw_high((int32_t)((uint32_t)x[1] << bits), w);
#else
    int32_t scale = (int32_t)1 << frame->shift;
    value.re = x[0] * window[0] * scale >> bits;
    value.im = x[1] * window[1] * scale >> bits;
#endif
    return value;
}

/* Point j of a frame's part of `length` points, which ends the frame or lies within it or beyond
 * it. */
SERQ_SPECIALISE serq_complex serq_windowed_part(const serq_frame *frame, uint32_t j, uint32_t part,
                                                uint32_t length, unsigned bits)
{
    serq_complex zero = {0, 0};
    bool inside = (part + 1) * length <= frame->points || part * length + j < frame->points;
    return inside ? serq_windowed(frame, part * length + j, bits) : zero;
}

/* From position bitreverse(j) to that of j + 1, with `width` bits, and from the bits that j's point
 * is shifted by to those of j + 1. */
SERQ_SPECIALISE void serq_next_reversed(uint32_t *position, unsigned *bits, uint32_t j,
                                        unsigned width)
{
#if SERQ_DSP
    uint32_t reversed;
    __asm__("rbit %0, %1" : "=r"(reversed) : "r"(j + 1));
    *position = reversed >> (32 - width);
    *bits += 1 - serq_leading_zeros(reversed);
#else
    (void)j;
    uint32_t bit = (uint32_t)1 << (width - 1);
    while (*position & bit) { /* carries run downwards */
        *position ^= bit;
        bit >>= 1;
        ++*bits;
    }
    *position |= bit;
    --*bits;
#endif
}

/* Windowed, scaled samples as complex points in bit-reversed order: what serq_fft() has on its way,
 * for a trace. count: of samples, zeros follow them; shift: of the frame; down: log2 of the FFT
 * length + headroom, at most 16. */
SERQ_STAGE void serq_window(const int16_t *samples, const int16_t *window, uint32_t count,
                            unsigned shift, unsigned down, uint32_t log2_points, serq_bin *z)
{
    const serq_frame frame = {samples, window, count / 2, shift, down};
    uint32_t position = 0;
    unsigned bits = serq_window_bits(&frame);
    for (uint32_t j = 0; j < (uint32_t)1 << log2_points; j++) {
        serq_store(z + position,
                   serq_windowed_part(&frame, j, 0, (uint32_t)1 << log2_points, bits));
        serq_next_reversed(&position, &bits, j, log2_points);
    }
}

typedef struct {
    serq_complex a, b, c, d;
} serq_four;

SERQ_SPECIALISE void serq_store_four(serq_bin *bins, serq_four values)
{
    serq_store(bins, values.a);
    serq_store(bins + 1, values.b);
    serq_store(bins + 2, values.c);
    serq_store(bins + 3, values.d);
}

/* Window and levels 1 and 2 of four points of a frame: j of part `first`, and of the parts `step`,
 * 2 * step and 3 * step after it, the last of which is zero if not `last`. Parts are `length`
 * points long. The halving of odd points at level 1 is part of the window's shift. */
SERQ_SPECIALISE void serq_first_group4(const serq_frame *frame, uint32_t j, uint32_t first,
                                       uint32_t step, uint32_t length, bool last, unsigned bits,
                                       serq_four *group)
{
    unsigned doubled = serq_doubled(bits);
    serq_complex a = serq_windowed_part(frame, j, first, length, bits),
                 b = serq_windowed_part(frame, j, first + 2 * step, length, bits);
    serq_complex even = {a.re + b.re, a.im + b.im}, odd = {a.re - b.re, a.im - b.im};
    serq_complex c = serq_windowed_part(frame, j, first + step, length, doubled), d = {0, 0};
    if (last) {
        d = serq_windowed(frame, j + (first + 3 * step) * length, doubled);
    }
    serq_complex even_half = {c.re + d.re, c.im + d.im}, odd_half = {c.re - d.re, c.im - d.im};
    serq_butterfly_one(&even, &even_half);
    serq_butterfly_one_turned(&odd, &odd_half);
    group->a = even;
    group->b = odd;
    group->c = even_half;
    group->d = odd_half;
}

#if SERQ_THUMB1
void serq_thumb1_first4(const int16_t *samples, const int16_t *window, serq_bin *group,
                        uint32_t part, uint32_t shifts, uint32_t last);
#elif SERQ_DSP
void serq_thumb2_first4(const int16_t *samples, const int16_t *window, serq_bin *z, unsigned bits,
                        uint32_t whole);
void serq_thumb2_first8(const int16_t *samples, const int16_t *window, serq_bin *z, unsigned bits,
                        serq_pair factor);
#endif

/* Window and levels 1 and 2. */
SERQ_SPECIALISE void serq_first_pass4(const serq_frame *frame, uint32_t log2_points, serq_bin *z)
{
    uint32_t position = 0, quarter = (uint32_t)1 << (log2_points - 2), j = 0;
    /* groups of four points */
    uint32_t whole = frame->points > 3 * quarter ? frame->points - 3 * quarter : 0;
    unsigned bits = serq_window_bits(frame);
    serq_four group;
#if SERQ_THUMB1
    for (; frame->points >= 3 * quarter && j < quarter; j++) {
        serq_thumb1_first4(frame->samples + 2 * j, frame->window + 2 * j, z + 4 * position,
                           4 * quarter, frame->shift | bits << 16, j < whole);
        serq_next_reversed(&position, &bits, j, log2_points - 2);
    }
#elif SERQ_DSP
    if (quarter == 64 && frame->points >= 3 * quarter && whole % 4 == 0) {
        serq_thumb2_first4(frame->samples, frame->window, z, bits, whole);
        return;
    }
#endif
    for (; j < whole; j++) {
        serq_first_group4(frame, j, 0, 1, quarter, true, bits, &group);
        serq_store_four(z + 4 * position, group);
        serq_next_reversed(&position, &bits, j, log2_points - 2);
    }
    for (; j < quarter; j++) {
        serq_first_group4(frame, j, 0, 1, quarter, false, bits, &group);
        serq_store_four(z + 4 * position, group);
        serq_next_reversed(&position, &bits, j, log2_points - 2);
    }
}

#ifdef __XTENSA__ /* which lacks the registers for eight points */

/* Window and level 1. */
SERQ_SPECIALISE void serq_first_pass2(const serq_frame *frame, uint32_t log2_points, serq_bin *z)
{
    uint32_t position = 0, half = (uint32_t)1 << (log2_points - 1);
    unsigned bits = serq_window_bits(frame);
    for (uint32_t j = 0; j < half; j++) {
        serq_complex a = serq_windowed_part(frame, j, 0, half, bits),
                     b = serq_windowed_part(frame, j, 1, half, bits);
        serq_complex sum = {a.re + b.re, a.im + b.im}, difference = {a.re - b.re, a.im - b.im};
        serq_bin *group = z + 2 * position;
        serq_store(group, sum);
        serq_store(group + 1, difference);
        serq_next_reversed(&position, &bits, j, log2_points - 1);
    }
}

/* Window and levels 1, 2 and 3. */
SERQ_SPECIALISE void serq_first_pass8(const serq_frame *frame, const int16_t *twiddle,
                                      uint32_t log2_points, serq_bin *z)
{
    serq_first_pass2(frame, log2_points, z);
    serq_fft_pass(z, twiddle, (uint32_t)1 << log2_points, 2);
}

#elif SERQ_THUMB1

/* Window and levels 1, 2 and 3. */
SERQ_SPECIALISE void serq_first_pass8(const serq_frame *frame, const int16_t *twiddle,
                                      uint32_t log2_points, serq_bin *z)
{
    serq_first_pass4(frame, log2_points, z);
    serq_fft_level(z, twiddle, (uint32_t)1 << log2_points, 4);
}

#else

/* Window and levels 1, 2 and 3: of the points at even places first, which are stored before those
 * at odd places need the registers. */
SERQ_SPECIALISE void serq_first_pass8(const serq_frame *frame, const int16_t *twiddle,
                                      uint32_t log2_points, serq_bin *z)
{
    uint32_t position = 0, eighth = (uint32_t)1 << (log2_points - 3);
    unsigned bits = serq_window_bits(frame);
    serq_pair w = serq_load_pair(twiddle + 4 * eighth), n = serq_minus_high(w);
#if SERQ_DSP
    if (eighth == 64 && frame->points == 8 * eighth) {
        serq_thumb2_first8(frame->samples, frame->window, z, bits, w);
        return;
    }
#endif
    for (uint32_t j = 0; j < eighth; j++) {
        serq_bin *group = z + 8 * position;
        serq_four even, odd;
        serq_first_group4(frame, j, 0, 2, eighth, 6 * eighth + j < frame->points, bits, &even);
        serq_store_four(group, even);
        SERQ_RELOAD();
        serq_first_group4(frame, j, 1, 2, eighth, 7 * eighth + j < frame->points,
                          serq_doubled(bits), &odd);
        even.a = serq_load(group);
        serq_butterfly_one(&even.a, &odd.a);
        serq_store(group, even.a);
        serq_store(group + 4, odd.a);
        even.b = serq_load(group + 1);
        serq_butterfly(&even.b, &odd.b, w, n);
        serq_store(group + 1, even.b);
        serq_store(group + 5, odd.b);
        even.c = serq_load(group + 2);
        serq_butterfly_one_turned(&even.c, &odd.c);
        serq_store(group + 2, even.c);
        serq_store(group + 6, odd.c);
        even.d = serq_load(group + 3);
        serq_butterfly_turned(&even.d, &odd.d, w, n);
        serq_store(group + 3, even.d);
        serq_store(group + 7, odd.d);
        serq_next_reversed(&position, &bits, j, log2_points - 3);
    }
}

#endif

/* The complex FFT of a windowed frame, decimation in time, natural order out. twiddle: cos, sin
 * pairs. log2_points: 7 to 10. */
SERQ_STAGE void serq_fft(const int16_t *samples, const int16_t *window, uint32_t count,
                         unsigned shift, unsigned down, const int16_t *twiddle,
                         uint32_t log2_points, serq_bin *z)
{
    const serq_frame frame = {samples, window, count / 2, shift, down};
    uint32_t points = (uint32_t)1 << log2_points;
    if (log2_points % 2 == 0) {
        serq_first_pass4(&frame, log2_points, z);
        serq_fft_pass(z, twiddle, points, 4);
        serq_fft_pass(z, twiddle, points, 16);
        serq_fft_pass(z, twiddle, points, 64);
        if (log2_points == 10) {
            serq_fft_pass(z, twiddle, points, 256);
        }
    } else {
        serq_first_pass8(&frame, twiddle, log2_points, z);
        serq_fft_pass(z, twiddle, points, 8);
        serq_fft_pass(z, twiddle, points, 32);
        if (log2_points == 9) {
            serq_fft_pass(z, twiddle, points, 128);
        }
    }
}

#if SERQ_THUMB1

void serq_thumb1_split(serq_bin *low, serq_bin *high, const int16_t *twiddle);

/* Bins 1, 2, … and points - 1, points - 2, … from those of the complex FFT. */
SERQ_SPECIALISE void serq_split(serq_bin *z, const int16_t *twiddle, uint32_t points)
{
    serq_thumb1_split(z + 1, z + points - 1, twiddle + 2);
}

#elif SERQ_DSP

void serq_thumb2_split(serq_bin *low, serq_bin *high, const int16_t *twiddle);

SERQ_SPECIALISE void serq_split(serq_bin *z, const int16_t *twiddle, uint32_t points)
{
    serq_thumb2_split(z + 1, z + points - 1, twiddle + 2);
}

#else

/* Bins 1, 2, … and points - 1, points - 2, … from those of the complex FFT. */
SERQ_SPECIALISE void serq_split(serq_bin *z, const int16_t *twiddle, uint32_t points)
{
    serq_bin *low = z + 1, *high = z + points - 1;
    do {
        serq_complex p = serq_load(low), y = serq_load(high);
        serq_complex even = {p.re + y.re, p.im - y.im}, odd = {p.im + y.im, y.re - p.re};
        serq_pair w = serq_load_pair(twiddle += 2);
        int32_t re = serq_addw_high(serq_mulw_low(odd.re, w), odd.im, w),
                im = serq_mulw_low(odd.im, w) - serq_mulw_high(odd.re, w);
        serq_complex sum = {even.re + 2 * re, even.im + 2 * im},
                     difference = {even.re - 2 * re, even.im - 2 * im};
        serq_store(low++, sum);
        serq_store(high--, difference);
    } while (low < high);
}

#endif

/* In place: complex FFT of packed real samples to points + 1 bins of twice the real spectrum. */
SERQ_STAGE void serq_spectrum(serq_bin *z, const int16_t *twiddle, uint32_t points)
{
    serq_complex first = serq_load(z), middle = serq_load(z + points / 2);
    serq_complex zero = {2 * (first.re + first.im), 0}, last = {2 * (first.re - first.im), 0},
                 half = {2 * middle.re, -2 * middle.im};
    serq_store(z, zero);
    serq_store(z + points, last);
    serq_store(z + points / 2, half);
    serq_split(z, twiddle, points);
}

#endif
