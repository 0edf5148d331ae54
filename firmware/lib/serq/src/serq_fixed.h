/* All scalar integer arithmetic of the runtime: rounding, products, leading zeros, roots,
 * logarithms (SPEC.md section 1), and its intrinsics.
 *
 * Cores differ in what they can do (serq_cores.h); results are the same. Nothing here divides or
 * shifts 64 bits by a variable. */
#ifndef SERQ_FIXED_H
#define SERQ_FIXED_H

#include <stdint.h>
#include <string.h>

#include "serq_cores.h"

/* Functions whose sizes are constants where they are called: in headers, so that the compiler makes
 * them for these sizes. A stage stays a function of its own, to be counted. */
#if defined(__GNUC__)
#define SERQ_SPECIALISE static inline __attribute__((always_inline))
#define SERQ_STAGE static __attribute__((noinline, unused))
/* Values that were stored are loaded when they are wanted, not kept in registers. */
#define SERQ_RELOAD() __asm__ volatile("" : : : "memory")
/* Tables that assembly reads a word at a time. */
#define SERQ_IN_WORDS __attribute__((aligned(4)))
#else
#define SERQ_SPECIALISE static inline
#define SERQ_STAGE static inline
#define SERQ_RELOAD() ((void)0)
#define SERQ_IN_WORDS
#endif

/* A condition that the compiler checks where this stands, outside functions (C99 has no
 * _Static_assert). */
#define SERQ_CHECK(name, condition) typedef char serq_check_##name[(condition) ? 1 : -1];

/* C99 leaves the size of int and the right shift of a negative number to the compiler; we need 32
 * bits and the arithmetic shift. */
SERQ_CHECK(int_of_32_bits, sizeof(int) == sizeof(int32_t))
SERQ_CHECK(arithmetic_shift, (-3 >> 1) == -2)

static inline int32_t serq_clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* floor(a / 2^n + 1/2), 1 <= n <= 31. Equal to (a + 2^(n-1)) >> n, but cannot overflow. */
static inline int32_t serq_rshift_round(int32_t a, unsigned n)
{
    return (a >> n) + ((a >> (n - 1)) & 1);
}

/* floor(a * w / 2^16) for -2^15 <= w < 2^15. */
static inline int32_t serq_mulw(int32_t a, int32_t w)
{
#if SERQ_LONG_MULTIPLY
    /* the high word of a product: one instruction on most cores */
    return (int32_t)(((int64_t)a * (w * 65536)) >> 32);
#else
    return (a >> 16) * w + (((a & 0xffff) * w) >> 16);
#endif
}

/* Two Q15 coefficients that lie side by side in a table, or two samples, and products with them:
 * intrinsics of the Arm DSP extension, and their twins. low and high name the first and the second
 * coefficient. */

#if SERQ_DSP

typedef uint32_t serq_pair;

static inline serq_pair serq_load_pair(const int16_t *values)
{
    serq_pair pair;
    memcpy(&pair, values, sizeof pair); /* one load, aligned or not */
    return pair;
}

/* mulw(a, low) */
static inline int32_t serq_mulw_low(int32_t a, serq_pair w)
{
    int32_t product;
    __asm__("smulwb %0, %1, %2" : "=r"(product) : "r"(a), "r"(w));
    return product;
}

static inline int32_t serq_mulw_high(int32_t a, serq_pair w)
{
    int32_t product;
    __asm__("smulwt %0, %1, %2" : "=r"(product) : "r"(a), "r"(w));
    return product;
}

/* sum + mulw(a, low) */
static inline int32_t serq_addw_low(int32_t sum, int32_t a, serq_pair w)
{
    int32_t total;
    __asm__("smlawb %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(w), "r"(sum));
    return total;
}

static inline int32_t serq_addw_high(int32_t sum, int32_t a, serq_pair w)
{
    int32_t total;
    __asm__("smlawt %0, %1, %2, %3" : "=r"(total) : "r"(a), "r"(w), "r"(sum));
    return total;
}

/* (any, -high), high > -2^15 */
static inline serq_pair serq_minus_high(serq_pair w)
{
    return (w & 0xffff) - w;
}

/* sum + a * a */
static inline uint64_t serq_add_square(uint64_t sum, int32_t a)
{
    __asm__("smlal %Q0, %R0, %1, %1" : "+r"(sum) : "r"(a));
    return sum;
}

/* (a * a + b * b) >> 32 for a sum below 2^63; C compilers spill its low word */
static inline int32_t serq_squares_high(int32_t a, int32_t b)
{
    int32_t low, high;
    __asm__("smull %0, %1, %2, %2\n\tsmlal %0, %1, %3, %3"
            : "=&r"(low), "=&r"(high)
            : "r"(a), "r"(b));
    return high;
}

/* sum + low + high */
static inline int32_t serq_add_both(int32_t sum, serq_pair pair)
{
    int32_t total;
    __asm__("smlad %0, %1, %2, %3" : "=r"(total) : "r"(pair), "r"(0x00010001), "r"(sum));
    return total;
}

/* sum + low * low + high * high */
static inline uint64_t serq_add_squares(uint64_t sum, serq_pair pair)
{
    __asm__("smlald %Q0, %R0, %1, %1" : "+r"(sum) : "r"(pair));
    return sum;
}

#else

typedef struct {
    int32_t low, high;
} serq_pair;

static inline serq_pair serq_load_pair(const int16_t *values)
{
    serq_pair pair = {values[0], values[1]};
    return pair;
}

static inline int32_t serq_mulw_low(int32_t a, serq_pair w)
{
    return serq_mulw(a, w.low);
}

static inline int32_t serq_mulw_high(int32_t a, serq_pair w)
{
    return serq_mulw(a, w.high);
}

static inline int32_t serq_addw_low(int32_t sum, int32_t a, serq_pair w)
{
    return sum + serq_mulw(a, w.low);
}

static inline int32_t serq_addw_high(int32_t sum, int32_t a, serq_pair w)
{
    return sum + serq_mulw(a, w.high);
}

static inline serq_pair serq_minus_high(serq_pair w)
{
    serq_pair pair = {0, -w.high};
    return pair;
}

static inline int32_t serq_add_both(int32_t sum, serq_pair pair)
{
    return sum + pair.low + pair.high;
}

static inline uint64_t serq_add_squares(uint64_t sum, serq_pair pair)
{
    return sum + ((uint32_t)(pair.low * pair.low) + (uint32_t)(pair.high * pair.high));
}

#endif

/* a * a for |a| < 2^31. */
static inline uint64_t serq_square(int32_t a)
{
#if SERQ_LONG_MULTIPLY
    return (uint64_t)((int64_t)a * a);
#else
    uint32_t magnitude = a < 0 ? 0U - (uint32_t)a : (uint32_t)a;
    uint32_t high = magnitude >> 16, low = magnitude & 0xffff;
    return ((uint64_t)(high * high) << 32) + ((uint64_t)(high * low) << 17) + low * low;
#endif
}

/* a * b for b < 2^16. */
static inline uint64_t serq_mul32x16(uint32_t a, uint32_t b)
{
#if SERQ_LONG_MULTIPLY
    return (uint64_t)a * b;
#else
    return ((uint64_t)((a >> 16) * b) << 16) + (a & 0xffff) * b;
#endif
}

/* a * b for b < 2^16, where the product fits 64 bits. */
static inline uint64_t serq_mul64x16(uint64_t a, uint32_t b)
{
    return (serq_mul32x16((uint32_t)(a >> 32), b) << 32) + serq_mul32x16((uint32_t)a, b);
}

/* (a * v + b * w) >> 16 for v, w <= 2^15 (or a = 0) whose result fits 64 bits. */
static inline uint64_t serq_weighted(uint64_t a, uint32_t v, uint64_t b, uint32_t w)
{
#if SERQ_DSP /* multiplies and adds at once, which the compiler does not for unsigned numbers */
    uint32_t low = 0, middle = 0, high = 0;
    __asm__("umlal %0, %1, %2, %3\n\tumlal %0, %1, %4, %5"
            : "+&r"(low), "+&r"(middle)
            : "r"((uint32_t)a), "r"(v << 16), "r"((uint32_t)b), "r"(w << 16));
    __asm__("umlal %0, %1, %2, %3\n\tumlal %0, %1, %4, %5"
            : "+&r"(middle), "+&r"(high)
            : "r"((uint32_t)(a >> 32)), "r"(v << 16), "r"((uint32_t)(b >> 32)), "r"(w << 16));
    return (uint64_t)high << 32 | middle;
#elif SERQ_LONG_MULTIPLY
    v <<= 16;
    w <<= 16;
    uint64_t low = (uint64_t)(uint32_t)a * v + (uint64_t)(uint32_t)b * w;
    return (low >> 32) + (a >> 32) * v + (b >> 32) * w;
#else
    /* 16 bits of a and b at a time; no sum reaches 2^32, as v + w <= 2^16 */
    uint32_t a_high = (uint32_t)(a >> 32), a_low = (uint32_t)a, b_high = (uint32_t)(b >> 32),
             b_low = (uint32_t)b;
    uint32_t sum = ((a_low & 0xffff) * v + (b_low & 0xffff) * w) >> 16;
    sum += (a_low >> 16) * v + (b_low >> 16) * w;
    uint32_t low = sum & 0xffff;
    sum = (sum >> 16) + (a_high & 0xffff) * v + (b_high & 0xffff) * w;
    low |= sum << 16;
    sum = (sum >> 16) + (a_high >> 16) * v + (b_high >> 16) * w;
    return (uint64_t)sum << 32 | low;
#endif
}

/* Number of zeros above the highest set bit of a > 0. */
static inline unsigned serq_leading_zeros(uint32_t a)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_clz((unsigned)a);
#else
    unsigned zeros = 0;
    while (a < 0x80000000U) {
        a *= 2;
        zeros++;
    }
    return zeros;
#endif
}

#if !SERQ_DSP
/* sum + a * a for |a| < 2^31 */
static inline uint64_t serq_add_square(uint64_t sum, int32_t a)
{
    return sum + serq_square(a);
}

/* (a * a + b * b) >> 32 for a sum below 2^63 */
static inline int32_t serq_squares_high(int32_t a, int32_t b)
{
    return (int32_t)((serq_square(a) + serq_square(b)) >> 32);
}
#endif

/* Floor of the square root; *rest: what is above its square. */
static inline uint32_t serq_isqrt32(uint32_t a, uint32_t *rest)
{
#if SERQ_DIVIDE
    /* Newton's steps, which end at the root or above it. The first guess is off by 9 % at most,
     * and two steps leave less than 1. */
    unsigned halvings = serq_leading_zeros(a | 1) / 2;
    uint32_t scaled = a << 2 * halvings, root = (scaled >> 17) + 27307;
    root = (root + scaled / root) / 2;
    root = (root + scaled / root) / 2;
    root = (root < 0xffff ? root : 0xffff) >> halvings;
    root -= root * root > a;
    *rest = a - root * root;
    return root;
#else
    /* one bit of it at a time */
    uint32_t root = 0; /* in the loop: the root so far, times the power of two of `bit` */
    for (uint32_t bit = (uint32_t)1 << 30; bit != 0; bit >>= 2) {
        uint32_t trial = root + bit;
        root >>= 1;
        if (a >= trial) {
            a -= trial;
            root += bit;
        }
    }
    *rest = a;
    return root;
#endif
}

/* Floor of the square root: that of the upper half, then one division for the lower 16 bits
 * (Zimmermann, "Karatsuba square root", 1999). The upper half is scaled to at least 2^30, so that
 * the quotient is the root's lower half or one more. */
static inline uint32_t serq_isqrt(uint64_t a)
{
    uint32_t high = (uint32_t)(a >> 32), low = (uint32_t)a, rest;
    if (high == 0) {
        return serq_isqrt32(low, &rest);
    }
    unsigned halvings = serq_leading_zeros(high) / 2;
    if (halvings > 0) {
        high = high << 2 * halvings | low >> (32 - 2 * halvings);
        low <<= 2 * halvings;
    }
    uint32_t root = serq_isqrt32(high, &rest);
    /* half of it, and half of the divisor 2 * root: rest <= 2 * root < 2^17 */
    uint32_t dividend = rest << 15 | low >> 17;
    uint32_t quotient = dividend / root;
    if (quotient > 0xffff) {
        quotient = 0xffff;
    } else {
        rest = (dividend - quotient * root) << 1 | (low >> 16 & 1);
        if (rest < 0x10000 && (rest << 16 | (low & 0xffff)) < quotient * quotient) {
            quotient--;
        }
    }
    return (root << 16 | quotient) >> halvings;
}

/* Q16 logarithm, linear between 64 points of an octave; -64 of 0. log_table: base and step of each
 * point. */
static inline int32_t serq_log2_q16(uint64_t a, const uint16_t *log_table)
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

/* floor(a / n), n > 0. */
static inline int32_t serq_floor_div(int32_t a, int32_t n)
{
    return a / n - (a % n < 0);
}

#endif
