/* An application for the ports' tests. The first byte says what it does with the rest: echo it, calculate with it, or crash. */
#include <string.h>

#include "port.h"

typedef struct {
    uint64_t a, b;
} operands;

typedef struct {
    uint64_t product, quotient, remainder;
    int64_t signed_quotient, signed_remainder;
    uint32_t low_quotient, low_remainder;
    int32_t low_signed_quotient, low_signed_remainder;
    uint64_t shifted, long_product;
} results;

static void echo(void)
{
    static uint8_t bytes[1024];
    size_t count;

    while ((count = port_read(bytes, sizeof(bytes))) > 0) {
        port_write(bytes, count);
    }
}

static size_t read_all(uint8_t *bytes, size_t count)
{
    size_t have = 0, more;

    while (have < count && (more = port_read(bytes + have, count - have)) > 0) {
        have += more;
    }
    return have;
}

static results calculate(operands in)
{
    uint32_t a = (uint32_t)in.a, b = (uint32_t)in.b | 1u;
    uint64_t d = in.b | 1u;
    int64_t n = (int64_t)(in.a >> 1), s = (in.b & 2u) ? -(int64_t)(d >> 1) - 1 : (int64_t)(d >> 1) + 1;
    int32_t low_n = (int32_t)(a >> 1) - 0x40000000, low_s = (b & 2u) ? -(int32_t)(b >> 2) - 1 : (int32_t)(b >> 2) + 1;
    results out = {in.a * in.b, in.a / d, in.a % d, n / s, n % s, a / b, a % b, low_n / low_s, low_n % low_s, in.a >> (b & 63u), (uint64_t)a * b};

    return out;
}

void application_run(void)
{
    uint8_t what = 0;

    port_read(&what, 1);
    if (what == 'e') {
        echo();
    } else if (what == 'c') {
        operands in;
        while (read_all((uint8_t *)&in, sizeof(in)) == sizeof(in)) {
            results out = calculate(in);
            port_write((const uint8_t *)&out, sizeof(out));
        }
    } else {
#if defined(__GNUC__)
        __builtin_trap(); /* an undefined instruction */
#endif
    }
}
