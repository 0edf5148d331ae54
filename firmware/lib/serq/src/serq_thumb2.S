/* The front end's inner loops for Cortex-M4, M7 and M33: the integers of serq_fft.h and serq_frontend.h. C compilers
 * neither batch loads, which overlap then, nor keep to the few registers. Nothing on other cores. */
#include "serq_cores.h"

#if SERQ_DSP
    .syntax unified
    .thumb

    .macro  function name
    .section .text.\name, "ax", %progbits
    .p2align 2
    .global \name
    .type \name, %function
    .thumb_func
\name:
    .endm

/* ---- window and levels 1 and 2, or 1 to 3, of the FFT ---- */

/* Point j of four parts of a frame, \a to \d bytes from r0 (samples) and r1 (window), to r10, lr, r11, r12, r7, r8, r4, r5. r3: bits by
 * which samples are shifted, one more afterwards. The last part is zero if \d is negative. */
    .macro  first_four a b c d first
    .if \first
    ldrsh   r4, [r0], #4
    ldrsh   r5, [r0, #-2]
    ldr     r6, [r1], #4
    .else
    ldrsh   r4, [r0, #(\a - 4)]
    ldrsh   r5, [r0, #(\a - 2)]
    ldr     r6, [r1, #(\a - 4)]
    .endif
    ldrsh   r7, [r0, #(\c - 4)]
    ldrsh   r8, [r0, #(\c - 2)]
    ldr     r9, [r1, #(\c - 4)]
    lsl     r4, r4, r3
    lsl     r5, r5, r3
    lsl     r7, r7, r3
    lsl     r8, r8, r3
    smulwb  r4, r4, r6
    smulwt  r5, r5, r6
    smlawb  r7, r7, r9, r4
    smlawt  r8, r8, r9, r5
    rsb     r4, r7, r4, lsl #1
    rsb     r5, r8, r5, lsl #1
    adds    r3, #1
    ldrsh   r6, [r0, #(\b - 4)]
    ldrsh   r9, [r0, #(\b - 2)]
    ldr     r10, [r1, #(\b - 4)]
    .if \d >= 0
    ldrsh   r11, [r0, #(\d - 4)]
    ldrsh   r12, [r0, #(\d - 2)]
    ldr     lr, [r1, #(\d - 4)]
    .endif
    lsl     r6, r6, r3
    lsl     r9, r9, r3
    smulwb  r6, r6, r10
    smulwt  r9, r9, r10
    .if \d >= 0
    lsl     r11, r11, r3
    lsl     r12, r12, r3
    smlawb  r11, r11, lr, r6
    smlawt  r12, r12, lr, r9
    rsb     r6, r11, r6, lsl #1
    rsb     r9, r12, r9, lsl #1
    add     r10, r7, r11, asr #1
    add     lr, r8, r12, asr #1
    sub     r7, r7, r11, asr #1
    sub     r8, r8, r12, asr #1
    .else
    add     r10, r7, r6, asr #1
    add     lr, r8, r9, asr #1
    sub     r7, r7, r6, asr #1
    sub     r8, r8, r9, asr #1
    .endif
    add     r11, r4, r9, asr #1
    sub     r12, r5, r6, asr #1
    sub     r4, r4, r9, asr #1
    add     r5, r5, r6, asr #1
    .endm

    .macro  store_four
    str     r10, [r9]
    str     lr, [r9, #4]
    str     r11, [r9, #8]
    str     r12, [r9, #12]
    str     r7, [r9, #16]
    str     r8, [r9, #20]
    str     r4, [r9, #24]
    str     r5, [r9, #28]
    .endm

/* r9: the group of point j, r2, whose place is j's `width` bits reversed; [sp]: z. */
    .macro  group_place log2_bytes width
    ldr     r9, [sp]
    rbit    r6, r2
    add     r9, r9, r6, lsr #(32 - \width - \log2_bytes)
    .endm

/* `points` on, while r2 is below what the stack has; r3: from one bit more than the last one's samples are shifted by to the next's. */
    .macro  next_group points end again
    adds    r2, #\points
    rbit    r6, r2
    clz     r6, r6
    sub     r3, r3, r6
    ldr     r6, [sp, #\end]
    cmp     r2, r6
    blo     \again
    .endm

/* void serq_thumb2_first4(const int16_t *samples, const int16_t *window, serq_bin *z, unsigned bits, uint32_t whole): levels 1 and 2 of 256
 * points, of which the first `whole`, a multiple of four, of the fourth part are there, and all that go before. Four points a turn: the groups
 * of the second, third and fourth lie 1024, 512 and 1536 bytes beyond that of the first. */
    .macro  more_of_group beyond last
    first_four 0, 256, 512, \last, 1
    ldr     r9, [sp, #12]
    add     r9, r9, #\beyond
    store_four
    .endm

    .macro  four_groups last
    first_four 0, 256, 512, \last, 1
    group_place 5 6
    str     r9, [sp, #12]
    store_four
    more_of_group 1024, \last
    subs    r3, #1
    more_of_group 512, \last
    more_of_group 1536, \last
    .endm

    function serq_thumb2_first4
    push    {r4-r11, lr}
    ldr     r4, [sp, #36]
    movs    r5, #64
    push    {r2, r4, r5, r6}
    movs    r2, #0
    cmp     r4, #0
    beq     2f
1:  four_groups 768
    next_group 4, 4, 1b
    cmp     r2, #64
    beq     3f
2:  four_groups -1
    next_group 4, 8, 2b
3:  add     sp, #16
    pop     {r4-r11, pc}
    .size serq_thumb2_first4, . - serq_thumb2_first4

/* void serq_thumb2_first8(const int16_t *samples, const int16_t *window, serq_bin *z, unsigned bits, uint32_t factor): levels 1 to 3 of 512
 * points, all of which are there. factor: (cos, sin) of an eighth of a circle. */
    function serq_thumb2_first8
    push    {r4-r11, lr}
    ldr     r4, [sp, #36]
    movs    r5, #64
    push    {r2, r4, r5, r6}
    movs    r2, #0
1:  first_four 0, 512, 1024, 1536, 1
    group_place 6 6
    store_four
    first_four 256, 768, 1280, 1792, 0
    group_place 6 6
    ldr     r6, [r9]
    sub     r10, r6, r10, asr #1
    rsb     r6, r10, r6, lsl #1
    str     r6, [r9]
    str     r10, [r9, #32]
    ldr     r6, [r9, #4]
    sub     lr, r6, lr, asr #1
    rsb     r6, lr, r6, lsl #1
    str     r6, [r9, #4]
    str     lr, [r9, #36]
    ldr     r6, [r9, #16]
    ldr     r10, [r9, #20]
    sub     lr, r6, r8, asr #1
    add     r6, r6, r8, asr #1
    add     r8, r10, r7, asr #1
    sub     r10, r10, r7, asr #1
    str     r6, [r9, #16]
    str     r10, [r9, #20]
    str     lr, [r9, #48]
    str     r8, [r9, #52]
    ldr     r7, [sp, #4]
    ldr     r6, [r9, #8]
    ldr     r10, [r9, #12]
    uxth    r8, r7
    sub     r8, r8, r7
    smlawb  lr, r11, r7, r6
    smlawt  lr, r12, r7, lr
    rsb     r6, lr, r6, lsl #1
    str     lr, [r9, #8]
    str     r6, [r9, #40]
    smlawb  lr, r12, r7, r10
    smlawt  lr, r11, r8, lr
    rsb     r10, lr, r10, lsl #1
    str     lr, [r9, #12]
    str     r10, [r9, #44]
    ldr     r6, [r9, #24]
    ldr     r10, [r9, #28]
    smlawb  lr, r5, r7, r6
    smlawt  lr, r4, r8, lr
    rsb     r6, lr, r6, lsl #1
    str     lr, [r9, #24]
    str     r6, [r9, #56]
    smlawb  lr, r4, r7, r10
    smlawt  lr, r5, r7, lr
    rsb     r10, lr, r10, lsl #1
    str     r10, [r9, #28]
    str     lr, [r9, #60]
    subs    r3, #1
    next_group 1, 8, 1b
    add     sp, #16
    pop     {r4-r11, pc}
    .size serq_thumb2_first8, . - serq_thumb2_first8

/* ---- levels m and 2m of the FFT: points a, b, c, d, which are m places apart, at r0 ---- */

/* All four to r4 to r11; such loads overlap. */
    .macro  load_points m
    ldr     r4, [r0]
    ldr     r5, [r0, #4]
    ldr     r6, [r0, #(8 * \m)]
    ldr     r7, [r0, #(8 * \m + 4)]
    ldr     r8, [r0, #(16 * \m)]
    ldr     r9, [r0, #(16 * \m + 4)]
    ldr     r10, [r0, #(24 * \m)]
    ldr     r11, [r0, #(24 * \m + 4)]
    .endm

/* All with the factor 1; leaves a in r4, r5. */
    .macro  radix4_at_zero m
    load_points \m
    sub     r12, r4, r6, asr #1
    add     r4, r4, r6, asr #1
    sub     r6, r5, r7, asr #1
    add     r5, r5, r7, asr #1
    sub     r7, r8, r10, asr #1
    add     r8, r8, r10, asr #1
    sub     r10, r9, r11, asr #1
    add     r9, r9, r11, asr #1
    sub     r11, r4, r8, asr #1
    add     r4, r4, r8, asr #1
    sub     r8, r5, r9, asr #1
    add     r5, r5, r9, asr #1
    sub     r9, r12, r10, asr #1
    add     r12, r12, r10, asr #1
    add     r10, r6, r7, asr #1
    sub     r6, r6, r7, asr #1
    str     r12, [r0, #(8 * \m)]
    str     r6, [r0, #(8 * \m + 4)]
    str     r11, [r0, #(16 * \m)]
    str     r8, [r0, #(16 * \m + 4)]
    str     r9, [r0, #(24 * \m)]
    str     r10, [r0, #(24 * \m + 4)]
    .endm

/* Level m: r1 = (cos, sin), the upper half of r3 = -sin. Leaves a in r12, lr, b in r4, r5, c in r6, r7, d in r8, r9. */
    .macro  outer
    smlawb  r12, r6, r1, r4
    smlawt  r12, r7, r1, r12
    smlawb  lr, r7, r1, r5
    smlawt  lr, r6, r3, lr
    rsb     r4, r12, r4, lsl #1
    rsb     r5, lr, r5, lsl #1
    smlawb  r6, r10, r1, r8
    smlawt  r6, r11, r1, r6
    smlawb  r7, r11, r1, r9
    smlawt  r7, r10, r3, r7
    rsb     r8, r6, r8, lsl #1
    rsb     r9, r7, r9, lsl #1
    .endm

/* The same, turned by a quarter of a circle; leaves b in r4, r6, c in r5, r7, d in r8, r10. */
    .macro  outer_turned
    smlawb  r12, r7, r1, r4
    smlawt  r12, r6, r3, r12
    smlawb  r6, r6, r1, r5
    smlawt  r6, r7, r1, r6
    rsb     r4, r12, r4, lsl #1
    rsb     lr, r6, r5, lsl #1
    smlawb  r5, r11, r1, r8
    smlawt  r5, r10, r3, r5
    smlawb  r10, r10, r1, r9
    smlawt  r10, r11, r1, r10
    rsb     r8, r5, r8, lsl #1
    rsb     r7, r10, r9, lsl #1
    .endm

/* The same with the factor 1; leaves them as `outer` does. */
    .macro  outer_turned_one
    add     r12, r4, r7, asr #1
    sub     lr, r5, r6, asr #1
    add     r5, r5, r6, asr #1
    rsb     r4, r12, r4, lsl #1
    add     r6, r8, r11, asr #1
    sub     r7, r9, r10, asr #1
    add     r9, r9, r10, asr #1
    rsb     r8, r6, r8, lsl #1
    .endm

/* Level 2m: `factor` = (cos, sin), half b or t of r3 = -sin. b = r4, \bi, c = \cr, r7, d = r8, \di. Leaves a in \ar, r11, so that r0 may
 * move on as it is stored. */
    .macro  inner m factor half bi cr di ar
    smlawb  \ar, \cr, \factor, r12
    smlawt  \ar, r7, \factor, \ar
    smlawb  r11, r7, \factor, lr
    smlaw\half r11, \cr, r3, r11
    rsb     r12, \ar, r12, lsl #1
    rsb     lr, r11, lr, lsl #1
    smlawb  \cr, \di, \factor, r4
    smlaw\half \cr, r8, r3, \cr
    smlawb  r7, r8, \factor, \bi
    smlawt  r7, \di, \factor, r7
    rsb     r4, \cr, r4, lsl #1
    rsb     \bi, r7, \bi, lsl #1
    str     \cr, [r0, #(8 * \m)]
    str     \bi, [r0, #(8 * \m + 4)]
    str     r12, [r0, #(16 * \m)]
    str     lr, [r0, #(16 * \m + 4)]
    str     r4, [r0, #(24 * \m)]
    str     r7, [r0, #(24 * \m + 4)]
    .endm

/* Store a and go on to what is `step` bytes further. */
    .macro  store_and_step re im step
    .if \step <= 255
    str     \im, [r0, #4]
    str     \re, [r0], #(\step)
    .elseif \step <= 1020
    strd    \re, \im, [r0], #(\step)
    .else
    str     \im, [r0, #4]
    str     \re, [r0]
    add     r0, r0, #(\step)
    .endif
    .endm

/* From \again on once more, while r0 is below what the stack has. */
    .macro  until end again
    ldr     r4, [sp, #\end]
    cmp     r0, r4
    blo     \again
    .endm

/* Point k of a block, with its factors in r1 to r3, and on to that of the next block. */
    .macro  block m
    load_points \m
    outer
    inner   \m, r2, b, r5, r6, r9, r10
    store_and_step r10, r11, (32 * \m)
    .endm

    .macro  block_turned_one m
    load_points \m
    outer_turned_one
    inner   \m, r2, t, r5, r6, r9, r10
    store_and_step r10, r11, (32 * \m)
    .endm

    .macro  block_turned m
    load_points \m
    outer_turned
    inner   \m, r2, b, r6, r5, r10, r9
    store_and_step r9, r11, (32 * \m)
    .endm

/* The upper half of r3 = -sin of a factor. */
    .macro  minus_sine factor
    uxth    r3, \factor
    sub     r3, r3, \factor
    .endm

    .macro  outer_factor
    ldr     r1, [sp]
    ldr     r1, [r1, r0, lsl #1]
    .endm

/* The factors of point k, whose offset from the table's parts is on the stack, and the same points of the first block. */
    .macro  next_factors table
    ldr     r4, [sp, #\table]
    ldr     r8, [sp, #4]
    ldr     r5, [sp, #12]
    ldr     r6, [sp, #16]
    ldr     r7, [sp, #20]
    ldr     r2, [r8, r5]
    ldr     r1, [r4, r5, lsl #1]
    add     r0, r0, r7
    add     r5, r5, r6
    str     r5, [sp, #12]
    movs    r6, #0
    ssub16  r3, r6, r1
    ssub16  r7, r6, r2
    pkhtb   r3, r3, r7, asr #16
    .endm

    .macro  more_factors limit again
    ldr     r5, [sp, #12]
    ldr     r6, [sp, #\limit]
    cmp     r5, r6
    blo     \again
    .endm

/* void serq_thumb2_pass<m>(serq_bin *z, const int16_t *twiddle, uint32_t points): two blocks of 4 m points a turn, of 8 m points or more;
 * of m = 2 one block, of 8 points or more. On the stack, 0: z's end, 4: the table of factors, 8: that of the turned ones less what the others
 * take, 12: the offset of point k's inner factor, 16: from one to the next, 20: from point k of the end to point k + 1 of the first block,
 * 24: the offset of the middle one, 28: twice that. */
    .macro  pass m log2_m
    function serq_thumb2_pass\m
    push    {r4-r11, lr}
    sub     sp, #32
    add     r3, r0, r2, lsl #3
    sub     r4, r1, r2, lsl #1
    lsl     r6, r2, #1
    lsr     r5, r6, #\log2_m
    rsb     r7, r2, #1
    lsl     r7, r7, #3
    mov     r8, r5
    strd    r3, r1, [sp]
    strd    r4, r5, [sp, #8]
    strd    r8, r7, [sp, #16]
    strd    r2, r6, [sp, #24]
    mov     r1, r3
1:  radix4_at_zero \m
    store_and_step r4, r5, (32 * \m)
    cmp     r0, r1
    blo     1b
    .if \m > 2
2:  next_factors 4
3:  block   \m
    block   \m
    until   0 3b
    more_factors 24 2b
    .endif
    ldr     r4, [sp, #4]
    ldr     r5, [sp, #24]
    ldr     r6, [sp, #16]
    ldr     r7, [sp, #20]
    ldr     r2, [r4, r5]
    add     r0, r0, r7
    add     r5, r5, r6
    str     r5, [sp, #12]
    minus_sine r2
4:  block_turned_one \m
    .if \m > 2
    block_turned_one \m
    .endif
    until   0 4b
    .if \m > 2
5:  next_factors 8
6:  block_turned \m
    block_turned \m
    until   0 6b
    more_factors 28 5b
    .endif
    add     sp, #32
    pop     {r4-r11, pc}
    .size serq_thumb2_pass\m, . - serq_thumb2_pass\m
    .endm

/* void serq_thumb2_last<m>(serq_bin *z, const int16_t *twiddle): the same of 4 m points, so that point k's inner factor is r2 bytes beyond
 * r0, and its outer factor what the stack has beyond 2 r0; two points a turn, of an odd number before the middle and after it. On the stack,
 * 0: that, 4: the end of r0. */
    .macro  point m
    outer_factor
    load_points \m
    minus_sine r1
    outer
    ldr     r1, [r0, r2]
    minus_sine r1
    inner   \m, r1, t, r5, r6, r9, r10
    store_and_step r10, r11, 8
    .endm

    .macro  point_turned m
    outer_factor
    load_points \m
    minus_sine r1
    outer_turned
    ldr     r1, [r0, r2]
    minus_sine r1
    inner   \m, r1, t, r6, r5, r10, r9
    store_and_step r9, r11, 8
    .endm

    .macro  last m
    function serq_thumb2_last\m
    push    {r4-r11, lr}
    sub     sp, #8
    sub     r2, r1, r0
    sub     r3, r2, r0
    add     r1, r0, #(4 * \m)
    strd    r3, r1, [sp]
    radix4_at_zero \m
    store_and_step r4, r5, 8
    b       2f
1:  point   \m
2:  point   \m
    until   4 1b
    ldrd    r3, r1, [sp]
    sub     r3, #(8 * \m)
    add     r1, #(4 * \m)
    strd    r3, r1, [sp]
    ldr     r1, [r0, r2]
    load_points \m
    minus_sine r1
    outer_turned_one
    inner   \m, r1, t, r5, r6, r9, r10
    store_and_step r10, r11, 8
    b       4f
3:  point_turned \m
4:  point_turned \m
    until   4 3b
    add     sp, #8
    pop     {r4-r11, pc}
    .size serq_thumb2_last\m, . - serq_thumb2_last\m
    .endm

    pass    2 1
    pass    4 2
    pass    8 3
    pass    16 4
    pass    32 5
    pass    64 6
    last    4
    last    8
    last    16
    last    32
    last    64
    last    128

/* void serq_thumb2_split(serq_bin *low, serq_bin *high, const int16_t *twiddle): bins low, low + 1, ... and high, high - 1, ... from those of
 * the complex FFT, until they meet: of pairs a multiple of four and three. */
    .macro  split_pair
    ldr     r3, [r0]
    ldr     r4, [r0, #4]
    ldr     r5, [r1]
    ldr     r6, [r1, #4]
    ldr     r7, [r2], #4
    add     r8, r3, r5          /* even */
    sub     r9, r4, r6
    add     r10, r4, r6         /* odd */
    sub     r11, r5, r3
    smulwb  r12, r10, r7        /* turned */
    smlawt  r12, r11, r7, r12
    smulwb  lr, r11, r7
    smulwt  r3, r10, r7
    sub     lr, lr, r3
    add     r4, r9, lr, lsl #1
    sub     r6, r9, lr, lsl #1
    add     r3, r8, r12, lsl #1
    sub     r5, r8, r12, lsl #1
    str     r4, [r0, #4]
    str     r6, [r1, #4]
    str     r3, [r0], #8
    str     r5, [r1], #-8
    .endm

    function serq_thumb2_split
    push    {r4-r11, lr}
    b       2f
1:  split_pair
2:  split_pair
    split_pair
    split_pair
    cmp     r0, r1
    blo     1b
    pop     {r4-r11, pc}
    .size serq_thumb2_split, . - serq_thumb2_split

/* uint64_t serq_thumb2_mel(const serq_bin *bins, const uint16_t *segment, const uint16_t *end, serq_band *band): serq_mel()'s twin; end: of
 * the segments. r4, r5: sum of a segment's powers, r6, r7: ramp of them, r10, r11: the part of the band before, r3, lr: all powers. */

/* A segment's sums; its falling part to r9, r12. */
    .macro  mel_segment
    ldrh    r12, [r1], #6
    movs    r4, #0
    movs    r5, #0
    movs    r6, #0
    movs    r7, #0
    lsrs    r8, r12, #1
    bcs     2f
    beq     3f
1:  ldrd    r8, r9, [r0], #8
    adds    r6, r6, r4
    adc     r7, r7, r5
    smlal   r4, r5, r8, r8
    smlal   r4, r5, r9, r9
2:  ldrd    r8, r9, [r0], #8
    adds    r6, r6, r4
    adc     r7, r7, r5
    smlal   r4, r5, r8, r8
    smlal   r4, r5, r9, r9
    subs    r12, #2
    bgt     1b
3:  ldrh    r8, [r1, #-4]
    lsl     r8, r8, #16
    umull   r12, r9, r6, r8
    ldrh    r6, [r1, #-2]
    lsl     r6, r6, #16
    umlal   r12, r9, r4, r6
    mov     r12, #0
    umlal   r9, r12, r7, r8
    umlal   r9, r12, r5, r6
    adds    r3, r3, r4
    adc     lr, lr, r5
    .endm

/* Half the sum less the falling part. */
    .macro  mel_rising
    lsrs    r5, r5, #1
    rrx     r4, r4
    subs    r10, r4, r9
    sbc     r11, r5, r12
    .endm

    function serq_thumb2_mel
    push    {r2, r4-r11, lr}
    mov     r2, r3
    movs    r3, #0
    mov     lr, #0
    mel_segment
    mel_rising
5:  mel_segment
    adds    r6, r10, r9
    adc     r7, r11, r12
    str     r7, [r2, #4]
    str     r6, [r2], #8
    mel_rising
    ldr     r12, [sp]
    cmp     r1, r12
    blo     5b
    mov     r0, r3
    mov     r1, lr
    add     sp, #4
    pop     {r4-r11, pc}
    .size serq_thumb2_mel, . - serq_thumb2_mel

/* uint32_t serq_thumb2_changes(const int16_t *samples, uint32_t count): bits in which neighbouring bits differ, of all pairs of samples; a
 * multiple of 16, not 0. */
    function serq_thumb2_changes
    push    {r4-r8, lr}
    movs    r2, #0
1:  ldm     r0!, {r3-r8, r12, lr}
    .irp    pair, r3, r4, r5, r6, r7, r8, r12, lr
    eor     \pair, \pair, \pair, lsl #1
    orr     r2, r2, \pair
    .endr
    subs    r1, #16
    bne     1b
    mov     r0, r2
    pop     {r4-r8, pc}
    .size serq_thumb2_changes, . - serq_thumb2_changes

/* void serq_thumb2_pieces(const int16_t *samples, uint32_t pieces, uint64_t *sums): of so many pieces of 64 samples, not 0, the squares to
 * sums[0], the squares of the pieces' sums to sums[1]. */
    function serq_thumb2_pieces
    push    {r2, r4-r11, lr}
    ldrd    r4, r5, [r2, #8]
    ldrd    r2, r3, [r2]
    mov     r6, #0x00010001
1:  movs    r7, #0
    .rept   8
    ldm     r0!, {r8-r11}
    .irp    pair, r8, r9, r10, r11
    smlad   r7, \pair, r6, r7
    smlald  r2, r3, \pair, \pair
    .endr
    .endr
    smlal   r4, r5, r7, r7
    subs    r1, #1
    bne     1b
    pop     {r0}
    strd    r2, r3, [r0]
    strd    r4, r5, [r0, #8]
    pop     {r4-r11, pc}
    .size serq_thumb2_pieces, . - serq_thumb2_pieces

/* void serq_thumb2_rows(const int32_t *values, const int16_t *coefficients, uint32_t step, int32_t *out, uint32_t count): the sums of
 * mulw(value, coefficient) of 4 rows, which lie `step` bytes apart, to out[0], [2], [4], [6]. */
    .macro  two_values
    ldr     r8, [r0], #8
    ldr     r9, [r0, #-4]
    ldr     r10, [r1], #4
    ldr     r11, [r2], #4
    smlawb  r4, r8, r10, r4
    smlawt  r4, r9, r10, r4
    smlawb  r5, r8, r11, r5
    smlawt  r5, r9, r11, r5
    ldr     r10, [r3], #4
    ldr     r11, [r12], #4
    smlawb  r6, r8, r10, r6
    smlawt  r6, r9, r10, r6
    smlawb  r7, r8, r11, r7
    smlawt  r7, r9, r11, r7
    .endm

    function serq_thumb2_rows
    push    {r3-r11, lr}
    ldr     r8, [sp, #40]
    movs    r4, #0
    movs    r5, #0
    movs    r6, #0
    movs    r7, #0
    add     r12, r1, r2
    add     r3, r12, r2
    add     r12, r3, r2
    add     r2, r1, r2
    bic     lr, r8, #1
    add     lr, r0, lr, lsl #2
    lsls    r8, r8, #31         /* carry: whether pairs of values are odd */
    bcc     2f
    b       4f
1:  two_values
4:  two_values
2:  cmp     r0, lr
    bne     1b
    ldr     r8, [sp, #40]
    lsls    r8, r8, #31
    beq     3f
    ldr     r8, [r0]
    ldrsh   r9, [r1]
    ldrsh   r10, [r2]
    smlawb  r4, r8, r9, r4
    smlawb  r5, r8, r10, r5
    ldrsh   r9, [r3]
    ldrsh   r10, [r12]
    smlawb  r6, r8, r9, r6
    smlawb  r7, r8, r10, r7
3:  pop     {r3}
    str     r4, [r3]
    str     r5, [r3, #8]
    str     r6, [r3, #16]
    str     r7, [r3, #24]
    pop     {r4-r11, pc}
    .size serq_thumb2_rows, . - serq_thumb2_rows

/* void serq_thumb2_runs(const serq_bin *bins, unsigned doublings, const uint16_t *run, const uint16_t *end, const int16_t *weight,
 * int32_t *sums): the products of each bin's scaled power with 4 weights of its own, added to 4 of 16 sums, which are cleared first. Runs of
 * the same sums follow on each other. On the stack, 0: bins, 4: sums, 8: the runs' end, 12: the place of the sums in r4 to r7. */
    .macro  weigh_bin
    ldr     r8, [r0], #8
    ldr     r9, [r0, #-4]
    ldr     r11, [r3], #8
    ldr     r12, [r3, #-4]
    lsl     r8, r8, r2
    lsl     r9, r9, r2
    smull   r10, r8, r8, r8
    smlal   r10, r8, r9, r9
    smlawb  r4, r8, r11, r4
    smlawt  r5, r8, r11, r5
    smlawb  r6, r8, r12, r6
    smlawt  r7, r8, r12, r7
    .endm

    .macro  store_sums
    str     r4, [r8]
    str     r5, [r8, #4]
    str     r6, [r8, #8]
    str     r7, [r8, #12]
    .endm

    function serq_thumb2_runs
    push    {r4-r11, lr}
    sub     sp, #16
    ldr     r8, [sp, #56]
    strd    r0, r8, [sp]
    str     r3, [sp, #8]
    ldr     r3, [sp, #52]
    mov     r0, r2
    mov     r2, r1
    mov     r1, r0
    movs    r4, #0
    movs    r5, #0
    movs    r6, #0
    movs    r7, #0
    .rept   4
    stm     r8!, {r4-r7}
    .endr
    sub     r8, r8, #64         /* zeros to the first sums, before others are loaded */
    str     r8, [sp, #12]
    b       5f
1:  ldrh    r0, [r1], #6
    ldrh    lr, [r1, #-4]
    ldrh    r10, [r1, #-2]
    ldr     r9, [sp]
    ldr     r11, [sp, #4]
    ldr     r8, [sp, #12]
    add     r0, r9, r0, lsl #3
    add     r10, r11, r10, lsl #2
    cmp     r10, r8
    bne     6f
2:  lsrs    r9, lr, #1
    bcs     4f
3:  weigh_bin
4:  weigh_bin
    subs    lr, #2
    bgt     3b
5:  ldr     r9, [sp, #8]
    cmp     r1, r9
    blo     1b
    ldr     r8, [sp, #12]
    store_sums
    add     sp, #16
    pop     {r4-r11, pc}
6:  store_sums
    ldr     r4, [r10]
    ldr     r5, [r10, #4]
    ldr     r6, [r10, #8]
    ldr     r7, [r10, #12]
    str     r10, [sp, #12]
    b       2b
    .size serq_thumb2_runs, . - serq_thumb2_runs

/* uint64_t serq_log(serq_band *band, uint8_t bands, const int32_t *offset, const uint16_t *log_table, uint8_t shift, int32_t log_floor):
 * serq_frontend.c's twin. r4, r5: an energy, r6: the exponent's part of most logs less the shift's, r7: the floor, r8: the next log's place,
 * r12, lr: all energies. */
    .macro  log_of_band n
    ldr     r4, [r0], #8
    ldr     r5, [r0, #-4]
    adds    r12, r12, r4
    adc     lr, lr, r5
    clz     r9, r5
    cmp     r9, #32
    beq     3\n\()f
    rsb     r10, r9, #32        /* a right shift by 32 leaves nothing */
    lsl     r5, r5, r9
    lsr     r4, r4, r10
    orr     r5, r5, r4
2\n: ubfx    r4, r5, #25, #6
    ldr     r11, [r3, r4, lsl #2]
    ldr     r10, [r2], #4
    ubfx    r5, r5, #9, #16
    uxtah   r4, r6, r11
    lsr     r11, r11, #16
    mul     r5, r5, r11
    sub     r4, r4, r9, lsl #16
    sub     r4, r4, r10
    add     r4, r4, r5, lsr #16
    cmp     r4, r7
    it      lt
    movlt   r4, r7
4\n: str     r4, [r8], #4
    .endm

/* What log_of_band does with an energy below 2^32. */
    .macro  log_of_low n
3\n: clz     r9, r4
    lsl     r5, r4, r9
    add     r9, r9, #32
    cmp     r4, #0
    bne     2\n\()b
    ldr     r10, [r2], #4       /* -64 octaves of none */
    sub     r4, r6, #(127 << 16)
    sub     r4, r4, r10
    cmp     r4, r7
    it      lt
    movlt   r4, r7
    b       4\n\()b
    .endm

    function serq_log
    push    {r4-r11, lr}
    ldrb    r6, [sp, #36]
    ldr     r7, [sp, #40]
    rsb     r6, r6, #0
    lsl     r6, r6, #17
    add     r6, r6, #(63 << 16)
    mov     r8, r0
    mov     r12, #0
    mov     lr, #0
    lsls    r9, r1, #31
    add     r1, r0, r1, lsl #3
    bne     6f
1:  log_of_band 1
6:  log_of_band 2
    cmp     r0, r1
    blo     1b
    mov     r0, r12
    mov     r1, lr
    pop     {r4-r11, pc}
    log_of_low 1
    log_of_low 2
    .size serq_log, . - serq_log

/* void serq_thumb2_pool(serq_pool *pool, serq_pool *pair, const int32_t *values, const int32_t *end, uint32_t step, uint32_t shift,
 * int16_t *last): serq_pool_add()'s twin for a frame that makes a pair, step in bytes. r4: step, r5: shift, r6: last, r7: v. */
    function serq_thumb2_pool
    push    {r4-r11, lr}
    ldrd    r4, r5, [sp, #36]
    ldr     r6, [sp, #44]
1:  ldr     r7, [r2], #4
    ldrsh   r8, [r6]
    ldr     r9, [r0]
    ldr     r10, [r0, #8]
    ldr     r11, [r0, #12]
    asrs    r7, r7, r5          /* carry: the bit that rounds */
    adc     r7, r7, #0
    sxth    r7, r7
    mul     r12, r7, r7
    adds    r9, r9, r12
    adc     r10, r10, #0
    add     r11, r11, r7
    sub     r8, r7, r8
    strh    r7, [r6], #2
    str     r9, [r0]
    str     r10, [r0, #8]
    str     r11, [r0, #12]
    ldr     r9, [r1, #4]
    ldr     r10, [r1, #8]       /* perhaps the word that was just stored */
    ldr     r11, [r1, #16]
    mul     r12, r8, r8
    adds    r9, r9, r12
    it      cs
    addcs   r10, r10, #0x10000
    add     r11, r11, r8
    str     r9, [r1, #4]
    str     r10, [r1, #8]
    str     r11, [r1, #16]
    add     r0, r0, r4
    add     r1, r1, r4
    cmp     r2, r3
    bne     1b
    pop     {r4-r11, pc}
    .size serq_thumb2_pool, . - serq_thumb2_pool

/* void serq_thumb2_join(serq_pool *pools, const serq_pool *more, uint32_t count, uint32_t step): serq_pool_join()'s twin, step in bytes. The
 * upper 16 bits of both sums of squares are one word. */
    function serq_thumb2_join
    push    {r4-r11, lr}
1:  ldm     r1, {r4-r8}
    ldm     r0, {r9-r12, lr}
    adds    r9, r9, r4
    adc     r11, r11, r6
    adds    r10, r10, r5
    it      cs
    addcs   r11, r11, #0x10000
    add     r12, r12, r7
    add     lr, lr, r8
    stm     r0, {r9-r12, lr}
    add     r0, r0, r3
    add     r1, r1, r3
    subs    r2, #1
    bne     1b
    pop     {r4-r11, pc}
    .size serq_thumb2_join, . - serq_thumb2_join
#endif
