/* Test program: records (a, b, w, n) on stdin; what each scalar operation of the runtime makes of them on stdout. */
#include <stdio.h>

#include "serq_fixed.h"

int main(void)
{
    struct {
        uint64_t a;
        int32_t b, w, n, unused;
    } in;
    struct {
        uint64_t square, product;
        uint32_t root, zeros;
        int32_t mulw, rounded, divided, unused;
    } out = {0};
    while (fread(&in, sizeof in, 1, stdin) == 1) {
        out.square = serq_square(in.b);
        out.product = serq_mul64x16(in.a >> 16, (uint16_t)in.w);
        out.root = serq_isqrt(in.a);
        out.zeros = serq_leading_zeros((uint32_t)in.a | 1);
        out.mulw = serq_mulw(in.b, in.w);
        out.rounded = serq_rshift_round(in.b, (unsigned)in.n);
        out.divided = serq_floor_div(in.b, in.n);
        if (fwrite(&out, sizeof out, 1, stdout) != 1) {
            return 2;
        }
    }
    return 0;
}
