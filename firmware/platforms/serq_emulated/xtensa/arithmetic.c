/* Integer helpers that GCC calls on lx106 and that its libgcc leaves to the ESP8266's ROM. */
#include <stdint.h>

typedef union {
    uint64_t whole;
    struct {
        uint32_t low, high; /* the core is little-endian */
    } half;
} split;

uint32_t __udivsi3(uint32_t dividend, uint32_t divisor);
uint32_t __umodsi3(uint32_t dividend, uint32_t divisor);
int32_t __divsi3(int32_t dividend, int32_t divisor);
uint64_t __umulsidi3(uint32_t a, uint32_t b);
uint64_t __muldi3(uint64_t a, uint64_t b);
uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);
int64_t __divdi3(int64_t dividend, int64_t divisor);
uint64_t __udivmoddi4(uint64_t dividend, uint64_t divisor,
                      uint64_t *remainder); /* this one libgcc has */

/* Bit by bit: quotient bits enter the dividend's word where dividend bits leave it. */
uint32_t __udivsi3(uint32_t dividend, uint32_t divisor)
{
    uint32_t rest = 0;
    for (int i = 0; i < 32; i++) {
        uint32_t overflow = rest >> 31;
        rest = rest << 1 | dividend >> 31;
        dividend <<= 1;
        if (overflow || rest >= divisor) {
            rest -= divisor;
            dividend |= 1U;
        }
    }
    return dividend;
}

uint32_t __umodsi3(uint32_t dividend, uint32_t divisor)
{
    return dividend - __udivsi3(dividend, divisor) * divisor;
}

int32_t __divsi3(int32_t dividend, int32_t divisor)
{
    uint32_t quotient = __udivsi3(dividend < 0 ? 0U - (uint32_t)dividend : (uint32_t)dividend,
                                  divisor < 0 ? 0U - (uint32_t)divisor : (uint32_t)divisor);
    return (int32_t)((dividend < 0) != (divisor < 0) ? 0U - quotient : quotient);
}

uint64_t __umulsidi3(uint32_t a, uint32_t b)
{
    uint32_t al = a & 0xffffU, ah = a >> 16, bl = b & 0xffffU, bh = b >> 16;
    uint32_t low = al * bl, cross = ah * bl;
    uint32_t middle = al * bh + (low >> 16) + (cross & 0xffffU); /* at most 2^32 - 1 */
    split product = {
        .half = {middle << 16 | (low & 0xffffU), ah * bh + (cross >> 16) + (middle >> 16)}};

    return product.whole;
}

uint64_t __muldi3(uint64_t a, uint64_t b)
{
    split x = {.whole = a}, y = {.whole = b},
          product = {.whole = __umulsidi3(x.half.low, y.half.low)};

    product.half.high += x.half.low * y.half.high + x.half.high * y.half.low;
    return product.whole;
}

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor)
{
    return __udivmoddi4(dividend, divisor, 0);
}

uint64_t __umoddi3(uint64_t dividend, uint64_t divisor)
{
    uint64_t remainder;
    __udivmoddi4(dividend, divisor, &remainder);
    return remainder;
}

int64_t __divdi3(int64_t dividend, int64_t divisor)
{
    uint64_t quotient = __udivdi3(dividend < 0 ? 0U - (uint64_t)dividend : (uint64_t)dividend,
                                  divisor < 0 ? 0U - (uint64_t)divisor : (uint64_t)divisor);
    return (int64_t)((dividend < 0) != (divisor < 0) ? 0U - quotient : quotient);
}
