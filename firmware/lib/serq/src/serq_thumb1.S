/* The transform's inner loops for Cortex-M0, M0+ and M23: the integers of serq_fft.h and serq_frontend.c, which C compilers spell at twice the
 * length for want of registers. Nothing on other cores. */
#include "serq_cores.h"

#if SERQ_THUMB1
    .syntax unified
    .thumb

/* void serq_power(serq_bin *bins, uint16_t count): re^2 + im^2, from magnitudes in halves of 16 bits. */
    .section .text.serq_power, "ax", %progbits
    .p2align 2
    .global serq_power
    .type serq_power, %function
    .thumb_func
serq_power:
    push    {r4-r6, lr}
    lsls    r1, r1, #3
    adds    r1, r0, r1
    mov     r12, r1
1:  ldmia   r0!, {r1, r2}
    asrs    r3, r1, #31
    eors    r1, r3
    subs    r1, r1, r3
    asrs    r3, r2, #31
    eors    r2, r3
    subs    r2, r2, r3
    lsrs    r3, r1, #16
    uxth    r1, r1
    lsrs    r4, r2, #16
    uxth    r2, r2
    movs    r5, r3
    muls    r5, r1, r5
    movs    r6, r4
    muls    r6, r2, r6
    adds    r5, r5, r6          /* the mixed products, below 2^32 */
    muls    r3, r3, r3
    muls    r4, r4, r4
    adds    r3, r3, r4
    muls    r1, r1, r1
    muls    r2, r2, r2
    movs    r6, #0
    adds    r1, r1, r2
    adcs    r3, r6
    lsrs    r4, r5, #15         /* twice them, 16 bits up */
    lsls    r5, r5, #17
    adds    r1, r1, r5
    adcs    r3, r4
    subs    r0, #8
    stmia   r0!, {r1, r3}
    cmp     r0, r12
    bne     1b
    pop     {r4-r6, pc}
    .size serq_power, . - serq_power

/* The point b, at r8, times c - i*s, halved, to r6 + i*r7; r4 = c, r5 = s in Q15. Destroys r0 to r3. */
    .macro  rotate
    mov     r7, r8
    ldmia   r7!, {r0, r1}
    asrs    r2, r0, #16
    uxth    r0, r0
    asrs    r3, r1, #16
    uxth    r1, r1
    movs    r6, r2
    muls    r6, r4, r6
    movs    r7, r3
    muls    r7, r4, r7
    muls    r3, r5, r3
    adds    r6, r6, r3
    muls    r2, r5, r2
    subs    r7, r7, r2
    movs    r2, r0
    muls    r2, r4, r2
    asrs    r2, r2, #16
    adds    r6, r6, r2
    movs    r3, r1
    muls    r3, r4, r3
    asrs    r3, r3, #16
    adds    r7, r7, r3
    muls    r1, r5, r1
    asrs    r1, r1, #16
    adds    r6, r6, r1
    muls    r0, r5, r0
    rsbs    r0, r0, #0          /* before it is floored */
    asrs    r0, r0, #16
    adds    r7, r7, r0
    mov     r2, r9
    ldmia   r2!, {r0, r1}       /* a */
    .endm

/* Store a from r3 and \im, b from r0 and r1, go to the next block (r11: bytes to it), again while b is below r12. */
    .macro  store_and_step im again
    subs    r2, #8
    stmia   r2!, {r3, \im}
    mov     r7, r8
    stmia   r7!, {r0, r1}
    add     r9, r11
    add     r8, r11
    cmp     r8, r12
    blo     \again
    .endm

/* void serq_thumb1_level(serq_bin *z, const int16_t *twiddle, uint32_t points, uint32_t m): the butterflies of level m, m >= 4, that have a
 * twiddle factor other than 1: for each 0 < q < m/2 those at z + q, and turned those at z + q + m/2, of every block. r8: b, r9: a. */
    .section .text.serq_thumb1_level, "ax", %progbits
    .p2align 2
    .global serq_thumb1_level
    .type serq_thumb1_level, %function
    .thumb_func
serq_thumb1_level:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r11
    push    {r4-r6}
    sub     sp, #20             /* 0: a, 4: factor, 8: bytes to the next factor, 12: bytes to the turned a, 16: last a */
    lsls    r4, r2, #3
    adds    r4, r0, r4
    mov     r12, r4             /* end of z */
    lsls    r4, r3, #4
    mov     r11, r4
    lsls    r4, r3, #3
    mov     lr, r4              /* bytes from a to b */
    lsls    r4, r3, #2
    str     r4, [sp, #12]
    adds    r5, r0, r4
    subs    r5, #8
    str     r5, [sp, #16]
    movs    r5, #4              /* 4 * points / m, both powers of two */
2:  lsrs    r3, r3, #1
    lsrs    r2, r2, #1
    cmp     r3, #1
    bne     2b
    muls    r5, r2, r5
    str     r5, [sp, #8]
    str     r0, [sp, #0]
    str     r1, [sp, #4]
3:  ldr     r7, [sp, #4]
    ldr     r6, [sp, #8]
    adds    r7, r7, r6
    str     r7, [sp, #4]
    ldrh    r4, [r7, #0]
    sxth    r4, r4
    ldrh    r5, [r7, #2]
    sxth    r5, r5
    ldr     r0, [sp, #0]
    adds    r0, #8
    str     r0, [sp, #0]
    mov     r9, r0
    add     r0, lr
    mov     r8, r0
4:  rotate
    adds    r3, r0, r6
    subs    r0, r0, r6
    adds    r6, r1, r7
    subs    r1, r1, r7
    store_and_step r6, 4b
    ldr     r0, [sp, #0]
    ldr     r1, [sp, #12]
    adds    r0, r0, r1
    mov     r9, r0
    add     r0, lr
    mov     r8, r0
5:  rotate
    adds    r3, r0, r7
    subs    r0, r0, r7
    subs    r7, r1, r6
    adds    r1, r1, r6
    store_and_step r7, 5b
    ldr     r0, [sp, #0]
    ldr     r1, [sp, #16]
    cmp     r0, r1
    blo     3b
    add     sp, #20
    pop     {r4-r6}
    mov     r8, r4
    mov     r9, r5
    mov     r11, r6
    pop     {r4-r7, pc}
    .size serq_thumb1_level, . - serq_thumb1_level

/* The next point of a frame, windowed, to r4 + i*r3: samples at r0, window at r1, which go on by r10 bytes to the next part; shifted by r6 bits
 * to the left, then by r7 to the right. Destroys r2, r5. */
    .macro  windowed
    ldr     r2, [r0]
    ldr     r3, [r1]
    add     r0, r10
    add     r1, r10
    sxth    r4, r2
    sxth    r5, r3
    muls    r4, r5, r4
    asrs    r2, r2, #16
    asrs    r3, r3, #16
    muls    r3, r2, r3
    lsls    r4, r6
    lsls    r3, r6
    asrs    r4, r7
    asrs    r3, r7
    .endm

/* void serq_thumb1_first4(const int16_t *samples, const int16_t *window, serq_bin *groups, uint32_t part, uint32_t shifts, uint32_t last):
 * serq_first_group4() of one point j, stored: samples, window at the point, part: bytes from one part to the next; shifts: of samples to the
 * left, and 16 bits up to the right; last: whether the fourth part has the point. */
    .section .text.serq_thumb1_first4, "ax", %progbits
    .p2align 2
    .global serq_thumb1_first4
    .type serq_thumb1_first4, %function
    .thumb_func
serq_thumb1_first4:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r2, r4-r7}
    ldr     r6, [sp, #40]
    lsrs    r7, r6, #16
    uxtb    r6, r6
    mov     r10, r3
    windowed                    /* a */
    mov     r8, r4
    mov     r9, r3
    subs    r7, #1
    windowed                    /* c, doubled */
    mov     r11, r4
    mov     r12, r3
    adds    r7, #1
    windowed                    /* b */
    mov     r2, r8
    adds    r5, r2, r4
    mov     r8, r5              /* even */
    subs    r2, r2, r4
    mov     lr, r2              /* odd */
    mov     r2, r9
    adds    r5, r2, r3
    mov     r9, r5
    subs    r2, r2, r3
    push    {r2}
    subs    r7, #1
    movs    r4, #0
    movs    r3, #0
    ldr     r2, [sp, #48]
    cmp     r2, #0
    beq     1f
    windowed                    /* d, doubled */
1:  mov     r2, r11
    adds    r0, r2, r4
    asrs    r0, r0, #1          /* half of even */
    subs    r2, r2, r4
    asrs    r2, r2, #1          /* half of odd */
    mov     r5, r12
    adds    r1, r5, r3
    asrs    r1, r1, #1
    subs    r3, r5, r3
    asrs    r3, r3, #1
    mov     r4, r8
    mov     r5, r9
    adds    r6, r4, r0          /* even: r4, r5, half of it: r0, r1, half of odd: r2, r3 */
    adds    r7, r5, r1
    subs    r4, r4, r0
    subs    r5, r5, r1
    mov     r8, r4
    mov     r9, r5
    pop     {r1}
    mov     r0, lr              /* odd: r0, r1 */
    ldr     r4, [sp, #0]
    stmia   r4!, {r6, r7}
    adds    r6, r0, r3
    subs    r7, r1, r2
    stmia   r4!, {r6, r7}
    mov     r6, r8
    mov     r7, r9
    stmia   r4!, {r6, r7}
    subs    r0, r0, r3
    adds    r1, r1, r2
    stmia   r4!, {r0, r1}
    pop     {r3-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}
    .size serq_thumb1_first4, . - serq_thumb1_first4

/* void serq_thumb1_split(serq_bin *low, serq_bin *high, const int16_t *twiddle): even and odd parts of bins low, low + 1, … and high, high - 1, …
 * to their spectrum, until they meet; serq_split()'s twin. */
    .section .text.serq_thumb1_split, "ax", %progbits
    .p2align 2
    .global serq_thumb1_split
    .type serq_thumb1_split, %function
    .thumb_func
serq_thumb1_split:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r4-r7}
    movs    r7, r2
6:  ldrh    r6, [r7, #0]
    sxth    r6, r6
    mov     r8, r6              /* c */
    ldrh    r6, [r7, #2]
    sxth    r6, r6
    mov     r9, r6              /* s */
    adds    r7, #4
    ldmia   r0!, {r2, r3}
    ldmia   r1!, {r4, r5}
    adds    r6, r2, r4
    mov     r10, r6             /* even */
    subs    r6, r3, r5
    mov     r11, r6
    subs    r4, r4, r2
    adds    r2, r3, r5
    movs    r3, r4              /* r2 + i*r3: odd */
    asrs    r6, r2, #16
    uxth    r2, r2
    mov     r4, r8
    muls    r4, r6, r4
    mov     r5, r9
    muls    r6, r5, r6
    mov     r5, r8
    muls    r5, r2, r5
    asrs    r5, r5, #16
    adds    r4, r4, r5          /* c*re */
    mov     r5, r9
    muls    r5, r2, r5
    asrs    r5, r5, #16
    adds    r6, r6, r5
    rsbs    r5, r6, #0          /* -s*re */
    asrs    r6, r3, #16
    uxth    r3, r3
    mov     r2, r9
    muls    r2, r6, r2
    adds    r4, r4, r2
    mov     r2, r9
    muls    r2, r3, r2
    asrs    r2, r2, #16
    adds    r4, r4, r2          /* + s*im */
    mov     r2, r8
    muls    r6, r2, r6
    adds    r5, r5, r6
    muls    r2, r3, r2
    asrs    r2, r2, #16
    adds    r5, r5, r2          /* + c*im */
    lsls    r4, r4, #1
    lsls    r5, r5, #1
    mov     r2, r10
    mov     r3, r11
    adds    r2, r2, r4
    adds    r3, r3, r5
    lsls    r4, r4, #1          /* even - 2t = (even + 2t) - 4t, modulo 2^32 */
    lsls    r5, r5, #1
    subs    r4, r2, r4
    subs    r5, r3, r5
    subs    r0, #8
    stmia   r0!, {r2, r3}
    subs    r1, #8
    stmia   r1!, {r4, r5}
    subs    r1, #16
    cmp     r0, r1
    blo     6b
    pop     {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}
    .size serq_thumb1_split, . - serq_thumb1_split

/* void serq_thumb1_rows(const int32_t *values, const int16_t *coefficients, uint32_t step, int32_t *out, uint32_t count): the sums of
 * mulw(value, coefficient) of 2 rows, which lie `step` bytes apart, to out[0] and out[2]. r8, r9: the sums. */
    .macro  add_product sum
    movs    r7, r5
    muls    r7, r4, r7
    add     \sum, r7
    movs    r7, r6
    muls    r7, r4, r7
    asrs    r7, r7, #16
    add     \sum, r7
    .endm

    .section .text.serq_thumb1_rows, "ax", %progbits
    .p2align 2
    .global serq_thumb1_rows
    .type serq_thumb1_rows, %function
    .thumb_func
serq_thumb1_rows:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    push    {r4, r5}
    mov     lr, r3
    ldr     r3, [sp, #28]
    lsls    r3, r3, #2
    adds    r3, r0, r3
    mov     r12, r3             /* end of values */
    movs    r3, #0
    mov     r8, r3
    mov     r9, r3
7:  ldmia   r0!, {r5}
    uxth    r6, r5
    asrs    r5, r5, #16
    ldrsh   r4, [r1, r3]
    add_product r8
    ldrsh   r4, [r1, r2]
    add_product r9
    adds    r1, #2
    cmp     r0, r12
    bne     7b
    mov     r4, r8
    mov     r5, r9
    mov     r3, lr
    str     r4, [r3, #0]
    str     r5, [r3, #8]
    pop     {r4, r5}
    mov     r8, r4
    mov     r9, r5
    pop     {r4-r7, pc}
    .size serq_thumb1_rows, . - serq_thumb1_rows

/* void serq_thumb1_runs(const serq_bin *bins, unsigned up, const uint16_t *run, const uint16_t *end, const int16_t *weight, int32_t *sums): the
 * products of each power << up >> 32, up < 32, with 4 weights of its own, added to 4 of 16 sums. Runs of the same sums follow on each other.
 * r8 to r11: 4 sums, lr: up. On the stack, 0: bins, 4: the runs' end, 8: run, 12: the sums in r8 to r11. */
    .macro  add_weighted sum
    movs    r7, r6
    muls    r7, r3, r7
    add     \sum, r7
    muls    r6, r2, r6
    lsrs    r6, r6, #16
    add     \sum, r6
    .endm

    .section .text.serq_thumb1_runs, "ax", %progbits
    .p2align 2
    .global serq_thumb1_runs
    .type serq_thumb1_runs, %function
    .thumb_func
serq_thumb1_runs:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r4-r7}
    mov     lr, r1
    ldr     r1, [sp, #36]
    ldr     r4, [sp, #40]
    sub     sp, #16
    str     r0, [sp, #0]
    str     r3, [sp, #4]
    str     r2, [sp, #8]
    str     r4, [sp, #12]
    b       3f
1:  ldr     r2, [sp, #8]
    ldr     r4, [sp, #4]
    cmp     r2, r4
    beq     5f
    ldrh    r4, [r2, #4]
    lsls    r4, r4, #2
    ldr     r5, [sp, #56]
    adds    r4, r4, r5
    ldr     r5, [sp, #12]
    cmp     r4, r5
    bne     4f
2:  ldrh    r3, [r2, #0]
    ldrh    r4, [r2, #2]
    adds    r2, #6
    str     r2, [sp, #8]
    ldr     r0, [sp, #0]
    lsls    r3, r3, #3
    adds    r0, r0, r3
    lsls    r4, r4, #3
    adds    r4, r0, r4
    mov     r12, r4
6:  ldmia   r0!, {r2, r3}
    mov     r6, lr
    lsls    r3, r6
    movs    r7, #31
    subs    r7, r7, r6
    lsrs    r2, r2, #1
    lsrs    r2, r7
    orrs    r3, r2
    uxth    r2, r3
    lsrs    r3, r3, #16
    ldmia   r1!, {r4, r5}
    uxth    r6, r4
    add_weighted r8
    lsrs    r6, r4, #16
    add_weighted r9
    uxth    r6, r5
    add_weighted r10
    lsrs    r6, r5, #16
    add_weighted r11
    cmp     r0, r12
    bne     6b
    b       1b
4:  mov     r3, r8              /* the sums at r5 leave, those at r4 come */
    mov     r6, r9
    stmia   r5!, {r3, r6}
    mov     r3, r10
    mov     r6, r11
    stmia   r5!, {r3, r6}
    str     r4, [sp, #12]
3:  ldmia   r4!, {r3, r5-r7}
    mov     r8, r3
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    b       1b
5:  ldr     r5, [sp, #12]
    mov     r3, r8
    mov     r6, r9
    stmia   r5!, {r3, r6}
    mov     r3, r10
    mov     r6, r11
    stmia   r5!, {r3, r6}
    add     sp, #16
    pop     {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}
    .size serq_thumb1_runs, . - serq_thumb1_runs

/* int32_t serq_thumb1_piece(const int16_t *samples, uint64_t *squares): the sum of 64 samples, at an address that is one of 4; their squares
 * are added to *squares. */
    .macro  add_two_samples
    ldmia   r0!, {r5}
    asrs    r6, r5, #16
    sxth    r5, r5
    adds    r4, r4, r5
    adds    r4, r4, r6
    muls    r5, r5, r5
    muls    r6, r6, r6
    adds    r5, r5, r6          /* at most 2^31 */
    adds    r2, r2, r5
    adcs    r3, r7
    .endm

    .section .text.serq_thumb1_piece, "ax", %progbits
    .p2align 2
    .global serq_thumb1_piece
    .type serq_thumb1_piece, %function
    .thumb_func
serq_thumb1_piece:
    push    {r1, r4-r7, lr}
    movs    r4, #128
    adds    r4, r0, r4
    mov     r12, r4
    ldmia   r1!, {r2, r3}
    movs    r4, #0
    movs    r7, #0
9:  add_two_samples
    add_two_samples
    add_two_samples
    add_two_samples
    cmp     r0, r12
    bne     9b
    movs    r0, r4
    pop     {r1}
    stmia   r1!, {r2, r3}
    pop     {r4-r7, pc}
    .size serq_thumb1_piece, . - serq_thumb1_piece
#endif
