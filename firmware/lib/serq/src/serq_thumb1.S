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

/* r4 + i*r5 = (r2 + i*r3) * (c - i*s), halved: r8 = c, r9 = s, r10 = -s, all in Q15. Destroys r2, r3, r6. */
    .macro  rotate
    asrs    r6, r2, #16
    uxth    r2, r2
    mov     r4, r8
    muls    r4, r6, r4
    mov     r5, r10
    muls    r5, r6, r5
    mov     r6, r8
    muls    r6, r2, r6
    asrs    r6, r6, #16
    adds    r4, r4, r6
    mov     r6, r10
    muls    r6, r2, r6
    asrs    r6, r6, #16
    adds    r5, r5, r6
    asrs    r6, r3, #16
    uxth    r3, r3
    mov     r2, r9
    muls    r2, r6, r2
    adds    r4, r4, r2
    mov     r2, r8
    muls    r2, r6, r2
    adds    r5, r5, r2
    mov     r2, r9
    muls    r2, r3, r2
    asrs    r2, r2, #16
    adds    r4, r4, r2
    mov     r2, r8
    muls    r2, r3, r2
    asrs    r2, r2, #16
    adds    r5, r5, r2
    .endm

/* Store r6, r7 at a (r0) and r2, r3 at b (r1), go to the next block (r11 = bytes to it, less 8), again while b is below r12. */
    .macro  store_and_step again
    subs    r0, #8
    stmia   r0!, {r6, r7}
    subs    r1, #8
    stmia   r1!, {r2, r3}
    add     r0, r11
    add     r1, r11
    cmp     r1, r12
    blo     \again
    .endm

/* void serq_thumb1_level(serq_bin *z, const int16_t *twiddle, uint32_t points, uint32_t m): the butterflies of level m, m >= 4, that have a
 * twiddle factor other than 1: for each 0 < q < m/2 those at z + q, and turned those at z + q + m/2, of every block. */
    .section .text.serq_thumb1_level, "ax", %progbits
    .p2align 2
    .global serq_thumb1_level
    .type serq_thumb1_level, %function
    .thumb_func
serq_thumb1_level:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r4-r7}
    sub     sp, #20             /* 0: a, 4: factor, 8: bytes to the next factor, 12: bytes to the turned a, 16: last a */
    lsls    r4, r2, #3
    adds    r4, r0, r4
    mov     r12, r4             /* end of z */
    lsls    r4, r3, #4
    subs    r4, #8
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
    ldrh    r5, [r7, #0]
    sxth    r5, r5
    mov     r8, r5
    ldrh    r6, [r7, #2]
    sxth    r6, r6
    mov     r9, r6
    rsbs    r6, r6, #0
    mov     r10, r6
    ldr     r0, [sp, #0]
    adds    r0, #8
    str     r0, [sp, #0]
    mov     r1, lr
    adds    r1, r0, r1
4:  ldmia   r1!, {r2, r3}
    rotate
    ldmia   r0!, {r2, r3}
    adds    r6, r2, r4
    adds    r7, r3, r5
    subs    r2, r2, r4
    subs    r3, r3, r5
    store_and_step 4b
    ldr     r0, [sp, #0]
    ldr     r1, [sp, #12]
    adds    r0, r0, r1
    mov     r1, lr
    adds    r1, r0, r1
5:  ldmia   r1!, {r2, r3}
    rotate
    ldmia   r0!, {r2, r3}
    adds    r6, r2, r5
    subs    r7, r3, r4
    subs    r2, r2, r5
    adds    r3, r3, r4
    store_and_step 5b
    ldr     r0, [sp, #0]
    ldr     r1, [sp, #16]
    cmp     r0, r1
    blo     3b
    add     sp, #20
    pop     {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}
    .size serq_thumb1_level, . - serq_thumb1_level

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

/* int32_t serq_thumb1_row(const int32_t *values, const int16_t *coefficients, unsigned count): the sum of mulw(value, coefficient). */
    .section .text.serq_thumb1_row, "ax", %progbits
    .p2align 2
    .global serq_thumb1_row
    .type serq_thumb1_row, %function
    .thumb_func
serq_thumb1_row:
    push    {r4-r6, lr}
    lsls    r2, r2, #1
    mov     r12, r2             /* bytes of coefficients */
    movs    r2, #0
    movs    r3, #0
7:  ldmia   r0!, {r4}
    ldrsh   r5, [r1, r3]
    asrs    r6, r4, #16
    uxth    r4, r4
    muls    r6, r5, r6
    muls    r4, r5, r4
    asrs    r4, r4, #16
    adds    r2, r2, r6
    adds    r2, r2, r4
    adds    r3, #2
    cmp     r3, r12
    bne     7b
    movs    r0, r2
    pop     {r4-r6, pc}
    .size serq_thumb1_row, . - serq_thumb1_row

/* const int16_t *serq_thumb1_weigh(const int32_t *powers, const int16_t *weight, uint32_t count, int32_t *sum): the products of each power with 4
 * weights of its own, added to 4 sums. Returns what follows the weights. */
    .macro  add_weighted sum offset
    movs    r7, #\offset
    ldrsh   r4, [r1, r7]
    movs    r5, r4
    muls    r5, r3, r5
    muls    r4, r2, r4
    asrs    r4, r4, #16
    add     \sum, r5
    add     \sum, r4
    .endm

    .section .text.serq_thumb1_weigh, "ax", %progbits
    .p2align 2
    .global serq_thumb1_weigh
    .type serq_thumb1_weigh, %function
    .thumb_func
serq_thumb1_weigh:
    push    {r4-r7, lr}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    push    {r3-r7}             /* the sums' address first */
    lsls    r2, r2, #2
    adds    r2, r0, r2
    mov     r12, r2
    ldmia   r3!, {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
8:  ldmia   r0!, {r2}
    asrs    r3, r2, #16
    uxth    r2, r2
    add_weighted r8, 0
    add_weighted r9, 2
    add_weighted r10, 4
    add_weighted r11, 6
    adds    r1, #8
    cmp     r0, r12
    bne     8b
    movs    r0, r1
    pop     {r3}
    mov     r4, r8
    mov     r5, r9
    mov     r6, r10
    mov     r7, r11
    stmia   r3!, {r4-r7}
    pop     {r4-r7}
    mov     r8, r4
    mov     r9, r5
    mov     r10, r6
    mov     r11, r7
    pop     {r4-r7, pc}
    .size serq_thumb1_weigh, . - serq_thumb1_weigh

/* void serq_thumb1_scale(serq_bin *bins, const serq_bin *end, unsigned up): the upper words of powers << up, up < 32, one after another over
 * the powers. */
    .section .text.serq_thumb1_scale, "ax", %progbits
    .p2align 2
    .global serq_thumb1_scale
    .type serq_thumb1_scale, %function
    .thumb_func
serq_thumb1_scale:
    push    {r4-r6, lr}
    movs    r3, #31
    subs    r3, r3, r2
    movs    r4, r0
9:  ldmia   r0!, {r5, r6}
    lsls    r6, r2
    lsrs    r5, r5, #1
    lsrs    r5, r3
    orrs    r6, r5
    stmia   r4!, {r6}
    cmp     r0, r1
    bne     9b
    pop     {r4-r6, pc}
    .size serq_thumb1_scale, . - serq_thumb1_scale

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
