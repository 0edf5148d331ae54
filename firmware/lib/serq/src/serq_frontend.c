#include "serq_frontend.h"

#include "serq_fixed.h"

/* Overflow: serq_mcu/frontend/tables.py proves, from the very tables that arrive here, that no sum below leaves its type. */

typedef struct {
    int32_t re, im;
} complex_int;

uint8_t serq_frame_shift(const int16_t *samples, uint16_t count)
{
    uint32_t significant = 0; /* bits that some sample needs beside its sign */
    for (uint16_t i = 0; i < count; i++) {
        int32_t x = samples[i];
        significant |= (uint32_t)(x < 0 ? ~x : x);
    }
    return (uint8_t)(significant == 0 ? 15 : serq_leading_zeros(significant) - 17);
}

void serq_window(const int16_t *samples, const int16_t *window, uint8_t log2_length, uint8_t headroom, uint8_t shift, serq_bin *z)
{
    uint32_t half = (uint32_t)1 << (log2_length - 2);
    int32_t scale = (int32_t)1 << shift;
    unsigned down = (unsigned)log2_length + headroom; /* less the set bits of the position: see serq_fft() */
    for (uint32_t position = 0;;) {
        z[position].z.re = samples[0] * scale * window[0] >> down;
        z[position].z.im = samples[1] * scale * window[1] >> down;
        samples += 2;
        window += 2;
        /* count up in bit-reversed order: carries run downwards */
        uint32_t bit = half;
        while (position & bit) {
            position ^= bit;
            bit >>= 1;
            down++;
        }
        if (bit == 0) {
            return;
        }
        position |= bit;
        down--;
    }
}

/* b * (c - i*s), halved by the products' floor: c, s in Q15. */
static inline complex_int rotated(complex_int b, int32_t c, int32_t s)
{
    complex_int t = {serq_mulw(b.re, c) + serq_mulw(b.im, s), serq_mulw(b.im, c) + serq_mulw(b.re, -s)};
    return t;
}

static inline complex_int halved(complex_int b)
{
    complex_int t = {b.re >> 1, b.im >> 1};
    return t;
}

/* A quarter turn: t * -i. */
static inline complex_int turned(complex_int t)
{
    complex_int turn = {t.im, -t.re};
    return turn;
}

static inline complex_int load(const serq_bin *z)
{
    complex_int value = {z->z.re, z->z.im};
    return value;
}

static inline void add_and_subtract(serq_bin *a, serq_bin *b, complex_int t)
{
    complex_int value = load(a);
    a->z.re = value.re + t.re;
    a->z.im = value.im + t.im;
    b->z.re = value.re - t.re;
    b->z.im = value.im - t.im;
}

/* Decimation in time. Each level halves the odd points, as a Q15 product floored by 16 bits does; serq_window() has doubled every
 * point once for each level at which it is odd, which is the number of set bits of its position. */
void serq_fft(serq_bin *z, const int16_t *twiddle, uint8_t log2_length)
{
    uint32_t points = (uint32_t)1 << (log2_length - 1);
    const serq_bin *end = z + points;
    for (serq_bin *a = z; a < end; a += 2) {
        add_and_subtract(a, a + 1, halved(load(a + 1)));
    }
    uint32_t stride = points; /* in coefficients: 2 * N / 2m */
    for (uint32_t m = 2; m < points; m *= 2, stride /= 2) {
        uint32_t quarter = m / 2;
        for (serq_bin *a = z; a < end; a += 2 * m) {
            add_and_subtract(a, a + m, halved(load(a + m)));
            add_and_subtract(a + quarter, a + quarter + m, turned(halved(load(a + quarter + m))));
        }
        for (uint32_t q = 1; q < quarter; q++) {
            const int16_t *factor = twiddle + stride * q;
            int32_t c = factor[0], s = factor[1];
            for (serq_bin *a = z + q; a < end; a += 2 * m) {
                add_and_subtract(a, a + m, rotated(load(a + m), c, s));
                add_and_subtract(a + quarter, a + quarter + m, turned(rotated(load(a + quarter + m), c, s)));
            }
        }
    }
}

void serq_spectrum(serq_bin *z, const int16_t *twiddle, uint8_t log2_length)
{
    uint32_t points = (uint32_t)1 << (log2_length - 1), half = points / 2;
    complex_int first = load(z), middle = load(z + half);
    z[0].z.re = 2 * (first.re + first.im);
    z[0].z.im = 0;
    z[points].z.re = 2 * (first.re - first.im);
    z[points].z.im = 0;
    z[half].z.re = 2 * middle.re;
    z[half].z.im = -2 * middle.im;
    for (uint32_t k = 1; k < half; k++) {
        complex_int p = load(z + k), y = load(z + points - k);
        complex_int even = {p.re + y.re, p.im - y.im}, odd = {p.im + y.im, y.re - p.re};
        int32_t c = twiddle[2 * k], s = twiddle[2 * k + 1];
        int32_t re = serq_mulw(odd.re, c) + serq_mulw(odd.im, s), im = serq_mulw(odd.im, c) - serq_mulw(odd.re, s);
        z[k].z.re = even.re + 2 * re;
        z[k].z.im = even.im + 2 * im;
        z[points - k].z.re = even.re - 2 * re;
        z[points - k].z.im = even.im - 2 * im;
    }
}

void serq_power(serq_bin *bins, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        complex_int x = load(bins + i);
        bins[i].power = serq_square(x.re) + serq_square(x.im);
    }
}

void serq_mel(const serq_bin *bins, uint16_t first_bin, const uint16_t *segment, uint8_t bands, uint64_t *energy)
{
    uint64_t rising = 0; /* the part of the band that lies in the segment before */
    const serq_bin *bin = bins + first_bin;
    for (unsigned j = 0; j <= bands; j++, segment += 3) {
        uint64_t sum = 0, ramp = 0;
        for (const serq_bin *end = bin + segment[0]; bin < end; bin++) {
            ramp += sum;
            sum += bin->power;
        }
        uint32_t a = segment[1], b = segment[2];
        uint64_t high = serq_mul32x16((uint32_t)(ramp >> 32), a) + serq_mul32x16((uint32_t)(sum >> 32), b);
        uint64_t low = serq_mul32x16((uint32_t)ramp, a) + serq_mul32x16((uint32_t)sum, b);
        uint64_t falling = (high << 16) + (low >> 16);
        if (j > 0) {
            *energy++ = rising + falling;
        }
        rising = (sum >> 1) - falling;
    }
}

/* Q16 logarithm, linear between 64 points of an octave. */
static int32_t log2_q16(uint64_t a, const uint16_t *log_table)
{
    uint32_t high = (uint32_t)(a >> 32), low = (uint32_t)a;
    int32_t exponent = 63;
    if (high == 0) {
        if (low == 0) {
            return -64 * 65536;
        }
        high = low;
        low = 0;
        exponent = 31;
    }
    unsigned zeros = serq_leading_zeros(high);
    if (zeros > 0) {
        high = (high << zeros) | (low >> (32 - zeros));
    }
    const uint16_t *entry = log_table + 2 * ((high >> 25) & 63);
    uint32_t fraction = (high >> 9) & 0xffff;
    return (exponent - (int32_t)zeros) * 65536 + entry[0] + (int32_t)((entry[1] * fraction) >> 16);
}

void serq_log(const uint64_t *energy, uint8_t bands, const int32_t *offset, const uint16_t *log_table, uint8_t shift, int32_t log_floor, int32_t *log)
{
    for (unsigned i = 0; i < bands; i++) {
        int32_t value = log2_q16(energy[i], log_table) - offset[i] - (int32_t)shift * 131072;
        log[i] = value > log_floor ? value : log_floor;
    }
}

void serq_dct(const int32_t *log, uint8_t bands, const int16_t *dct, uint8_t count, int32_t *mfcc)
{
    unsigned half = bands / 2U;
    for (unsigned r = 0; r < count; r++) {
        int32_t sum = 0;
        for (unsigned i = 0; i < half; i++) {
            int32_t left = log[i], right = log[bands - 1 - i];
            sum += serq_mulw(r % 2 == 0 ? left + right : left - right, *dct++);
        }
        mfcc[r] = sum;
    }
}

void serq_pool_add(serq_pool *pool, uint8_t count, const int32_t *values, uint8_t shift, uint32_t frame)
{
    for (unsigned i = 0; i < count; i++, pool++) {
        int16_t v = (int16_t)serq_rshift_round(values[i], shift);
        if (frame == 0) {
            pool->square = 0;
            pool->delta = 0;
            pool->sum = 0;
            pool->first = v;
            pool->last = v;
        }
        uint32_t difference = (uint32_t)(v - pool->last); /* its square modulo 2^32 is the square of the signed one, below 2^32 */
        pool->square += (uint32_t)(v * v);
        pool->delta += difference * difference;
        pool->sum += v;
        pool->last = v;
    }
}

void serq_pool_mean(const serq_pool *pool, uint8_t count, uint32_t frames, int32_t *out)
{
    for (unsigned i = 0; i < count; i++) {
        out[i] = serq_floor_div(16 * pool[i].sum + (int32_t)(frames >> 1), (int32_t)frames);
    }
}

/* 16 * sqrt(weighted / n^2) */
static int32_t deviation(uint64_t weighted, uint32_t n)
{
    return (int32_t)(serq_isqrt(weighted << 8) / n);
}

void serq_pool_sd(const serq_pool *pool, uint8_t count, uint32_t frames, int32_t *out)
{
    for (unsigned i = 0; i < count; i++) {
        out[i] = deviation(serq_mul64x16(pool[i].square, frames) - serq_square(pool[i].sum), frames);
    }
}

void serq_pool_delta_sd(const serq_pool *pool, uint8_t count, uint32_t frames, int32_t *out)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t drift = serq_square(pool[i].last - pool[i].first);
        out[i] = deviation(serq_mul64x16(pool[i].delta, frames - 1) - drift, frames - 1);
    }
}
