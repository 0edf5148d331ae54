/* Inner loops of the kernels for Cortex-M. What they compute stands in C in the file of the layout,
 * and in SPEC.md section 4. Functions without a frame of their own: arguments in r0 to r3, result
 * in r0. Loops are unrolled; where a length is not a multiple of what one turn takes, the first
 * turn begins in its middle. */
#include "serq_kernel.h"

/* clang-format has no notion of assembly: */
/* clang-format off */

#if SERQ_THUMB

/* clang-format off */ /* the lines of the assembly say more than a formatter's */

#define UNUSED __attribute__((unused))
#define FUNCTION(type, name, a, b, c, d) __attribute__((naked)) type name(UNUSED a, UNUSED b, UNUSED c, UNUSED d)
#define CODE(text) __asm__ volatile(".syntax unified\n" text : : : "r0", "r1", "r2", "r3", "r12", "cc", "memory")

/* ---- look-up of sums of subsets: Thumb-1 ---- */

/* Register `a` = input `i` << shift in both lanes. r12 = shift; clobbers b. */
#define INPUT(a, b, i) "ldrb " #a ", [r1, #" #i "]\n mov " #b ", r12\n lsls " #a ", " #b "\n lsls " #b ", " #a ", #16\n adds " #a ", " #a ", " #b "\n"

/* The next 8 sums differ from the last 8 by the same amount. */
#define NEXT(d) "add r4, " #d "\n add r5, " #d "\n add r6, " #d "\n add r7, " #d "\n stmia r0!, {r4-r7}\n"
#define NEXT3 NEXT(r8) NEXT(r9) NEXT(r8)
#define NEXT7 NEXT3 NEXT(r10) NEXT3
#define NEXT15 NEXT7 NEXT(r11) NEXT7

FUNCTION(void, serq_thumb_subset_sums, uint32_t *words, const uint8_t *x, unsigned groups, unsigned shift)
{
    CODE("push {r4-r7, lr}\n mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n push {r4-r7}\n mov r12, r3\n push {r2}\n"
         "1:\n"
         /* r8 to r11, lr: input 3, and what replaces inputs 3 to i - 1 by input i, for i = 4 to 7 */
         INPUT(r3, r4, 3) "mov r8, r3\n movs r2, r3\n"
         INPUT(r3, r4, 4) "subs r4, r3, r2\n mov r9, r4\n adds r2, r2, r3\n"
         INPUT(r3, r4, 5) "subs r4, r3, r2\n mov r10, r4\n adds r2, r2, r3\n"
         INPUT(r3, r4, 6) "subs r4, r3, r2\n mov r11, r4\n adds r2, r2, r3\n"
         INPUT(r3, r4, 7) "subs r4, r3, r2\n mov lr, r4\n"
         /* r4 to r7: the 8 subsets of inputs 0, 1, 2 */
         "ldrb r4, [r1]\n mov r2, r12\n lsls r4, r2\n lsls r4, r4, #16\n"
         INPUT(r5, r2, 1) INPUT(r6, r2, 2)
         "adds r5, r5, r4\n adds r7, r5, r6\n adds r6, r6, r4\n stmia r0!, {r4-r7}\n"
         NEXT15 NEXT(lr) NEXT15
         "adds r1, #8\n pop {r2}\n subs r2, #1\n beq 2f\n push {r2}\n b 1b\n"
         "2: pop {r4-r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n pop {r4-r7, pc}");
}

#if SERQ_THUMB2
#define ENTRY(register, table) "ldrh " #register ", [" #table ", " #register ", lsl #1]\n"
#else
#define ENTRY(register, table) "lsls " #register ", #1\n ldrh " #register ", [" #table ", " #register "]\n"
#endif

/* r2 = an entry, r2 += an entry: of the table which the weight byte at r0 + o indexes */
#define FIRST(table, o) "ldrb r2, [r0, #(" #o ")]\n" ENTRY(r2, table)
#define LOOK_UP(table, o) "ldrb r3, [r0, #(" #o ")]\n" ENTRY(r3, table) "adds r2, r2, r3\n"

/* the first plane of a row, and each further one, with 4 tables or 1 */
#define FIRST4(o) FIRST(r4, o) LOOK_UP(r5, o + 1) LOOK_UP(r6, o + 2) LOOK_UP(r7, o + 3)
#define PLANE4(o) "lsls r2, #1\n" LOOK_UP(r4, o) LOOK_UP(r5, o + 1) LOOK_UP(r6, o + 2) LOOK_UP(r7, o + 3)
#define FIRST1(o) FIRST(r4, o)
#define PLANE1(o) "lsls r2, #1\n" LOOK_UP(r4, o)
#define ADD_ROW "ldr r3, [r1]\n adds r2, r2, r3\n stmia r1!, {r2}\n"

/* Two rows a turn. */
#define ROWS(name, bytes, row) \
    FUNCTION(const uint8_t *, name, const uint8_t *weights, int32_t *accumulators, const int32_t *end, const uint16_t *tables) \
    { \
        CODE("push {r4-r7, lr}\n mov r12, r2\n movs r4, r3\n movs r2, #1\n lsls r2, #9\n adds r5, r4, r2\n adds r6, r5, r2\n adds r7, r6, r2\n" \
             "mov r3, r12\n subs r3, r3, r1\n lsls r3, #29\n bpl 1f\n subs r0, #" #bytes "\n b 2f\n" \
             "1:\n" row(0) "2:\n" row(bytes) "adds r0, #(2 * " #bytes ")\n cmp r1, r12\n bne 1b\n pop {r4-r7, pc}"); \
    }

#define ROW_1_1(o) "ldr r2, [r1]\n" LOOK_UP(r4, o) "stmia r1!, {r2}\n"
#define ROW_2_4(o) FIRST4(o) PLANE4(o + 4) ADD_ROW
#define ROW_2_1(o) FIRST1(o) PLANE1(o + 1) ADD_ROW
#define ROW_3_4(o) FIRST4(o) PLANE4(o + 4) PLANE4(o + 8) ADD_ROW
#define ROW_3_1(o) FIRST1(o) PLANE1(o + 1) PLANE1(o + 2) ADD_ROW
#define ROW_4_1(o) FIRST1(o) PLANE1(o + 1) PLANE1(o + 2) PLANE1(o + 3) ADD_ROW

ROWS(serq_thumb_planes1_tables1, 1, ROW_1_1)
ROWS(serq_thumb_planes2_tables4, 8, ROW_2_4)
ROWS(serq_thumb_planes2_tables1, 2, ROW_2_1)
ROWS(serq_thumb_planes3_tables4, 12, ROW_3_4)
ROWS(serq_thumb_planes3_tables1, 3, ROW_3_1)
ROWS(serq_thumb_planes4_tables1, 4, ROW_4_1)

/* One row a turn: two are more than a conditional branch of Thumb-1 leaps. */
FUNCTION(const uint8_t *, serq_thumb_planes4_tables4, const uint8_t *weights, int32_t *accumulators, const int32_t *end, const uint16_t *tables)
{
    CODE("push {r4-r7, lr}\n mov r12, r2\n movs r4, r3\n movs r2, #1\n lsls r2, #9\n adds r5, r4, r2\n adds r6, r5, r2\n adds r7, r6, r2\n"
         "1:\n" FIRST4(0) PLANE4(4) PLANE4(8) PLANE4(12) ADD_ROW "adds r0, #16\n cmp r1, r12\n bne 1b\n pop {r4-r7, pc}");
}

#if SERQ_THUMB2
/* Neighbouring loads overlap. */
#define ROW_1_4(o) \
    "ldr r2, [r1]\n ldrb r8, [r0], #4\n ldrb r9, [r0, #-3]\n ldrb r10, [r0, #-2]\n ldrb r11, [r0, #-1]\n" ENTRY(r8, r4) ENTRY(r9, r5) ENTRY(r10, r6) \
        ENTRY(r11, r7) "add r2, r8\n add r9, r10\n add r2, r11\n add r2, r9\n str r2, [r1], #4\n"

FUNCTION(const uint8_t *, serq_thumb_planes1_tables4, const uint8_t *weights, int32_t *accumulators, const int32_t *end, const uint16_t *tables)
{
    CODE("push {r4-r11, lr}\n mov r12, r2\n mov r4, r3\n add r5, r4, #512\n add r6, r5, #512\n add r7, r6, #512\n"
         "sub r3, r12, r1\n tst r3, #4\n bne 2f\n"
         "1:\n" ROW_1_4() "2:\n" ROW_1_4() "cmp r1, r12\n bne 1b\n pop {r4-r11, pc}");
}
#else
#define ROW_1_4(o) "ldr r2, [r1]\n" LOOK_UP(r4, o) LOOK_UP(r5, o + 1) LOOK_UP(r6, o + 2) LOOK_UP(r7, o + 3) "stmia r1!, {r2}\n"
ROWS(serq_thumb_planes1_tables4, 4, ROW_1_4)
#endif

/* ---- products of two fields: Thumb-1 ---- */

/* Two rows of a word (w) times a pair (x): the upper halves of the products to the sums. r7 = mask, clobbers r6 and w. */
#define TWO_ROWS(w, x, even, odd) \
    "lsrs r6, " #w ", #8\n ands r6, r7\n muls r6, " #x "\n lsrs r6, #16\n add " #odd ", r6\n" \
    "ands " #w ", r7\n muls " #w ", " #x "\n lsrs " #w ", #16\n add " #even ", " #w "\n"
#define TWO_PAIRS \
    "ldmia r1!, {r2, r3}\n ldmia r0!, {r4, r5}\n" TWO_ROWS(r4, r2, r8, r9) TWO_ROWS(r5, r2, r10, r11) "ldmia r0!, {r4, r5}\n" TWO_ROWS( \
        r4, r3, r8, r9) TWO_ROWS(r5, r3, r10, r11)

FUNCTION(const uint32_t *, serq_thumb_mul8, const uint32_t *weights, const uint32_t *pairs, const uint32_t *end, uint32_t *sums)
{
    CODE("push {r4-r7, lr}\n mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n push {r3-r7}\n mov r12, r2\n"
         "movs r7, #255\n lsls r6, r7, #16\n orrs r7, r6\n movs r6, #0\n mov r8, r6\n mov r9, r6\n mov r10, r6\n mov r11, r6\n"
         "1:\n" TWO_PAIRS TWO_PAIRS "cmp r1, r12\n bne 1b\n"
         "pop {r3}\n mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n stmia r3!, {r4-r7}\n"
         "pop {r4-r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n pop {r4-r7, pc}");
}

/* An input (x) and a word of 8 rows of 4 bits (w): the sums of rows 1 to 3 and 5 to 7 in the lanes of r9 to r11, that of whole words
 * in r8. r7 = mask, clobbers r6 and w. */
#define NIBBLES(w, x, n, sum) "lsrs r6, " #w ", #" #n "\n ands r6, r7\n muls r6, " #x "\n add " #sum ", r6\n"
#define EIGHT_ROWS4(w, x) NIBBLES(w, x, 4, r9) NIBBLES(w, x, 8, r10) NIBBLES(w, x, 12, r11) "muls " #w ", " #x "\n add r8, " #w "\n"
#define TWO_INPUTS4(o) "ldmia r0!, {r2, r3}\n ldrb r4, [r1, #(" #o ")]\n ldrb r5, [r1, #(" #o " + 1)]\n" EIGHT_ROWS4(r2, r4) EIGHT_ROWS4(r3, r5)

/* Twice the low lane of `lanes` to a row's sum, twice its high lane. Clobbers r6. */
#define LOW_LANE(lanes, sum) "mov r6, " #lanes "\n lsls r6, #16\n lsrs r6, #15\n adds " #sum ", r6\n"
#define HIGH_LANE(lanes, sum) "mov r6, " #lanes "\n lsrs r6, #16\n lsls r6, #1\n adds " #sum ", r6\n"

/* Lanes of 16 bits hold the sums of 32 inputs, which then go to the rows. */
FUNCTION(const uint32_t *, serq_thumb_mul4, const uint32_t *weights, const uint8_t *activations, const uint8_t *end, int32_t *row)
{
    CODE("push {r4-r7, lr}\n mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n push {r3-r7}\n mov lr, r2\n"
         "1: movs r7, #15\n lsls r6, r7, #16\n orrs r7, r6\n movs r6, #0\n mov r8, r6\n mov r9, r6\n mov r10, r6\n mov r11, r6\n"
         "mov r2, r1\n adds r2, #32\n cmp r2, lr\n bls 2f\n mov r2, lr\n 2: mov r12, r2\n"
         "3:\n" TWO_INPUTS4(0) TWO_INPUTS4(2) TWO_INPUTS4(4) TWO_INPUTS4(6) "adds r1, #8\n cmp r1, r12\n bne 3b\n"
         /* those of rows 0 and 4 are what the others leave of the whole words */
         "mov r3, r8\n mov r4, r9\n lsls r6, r4, #4\n subs r3, r6\n mov r4, r10\n lsls r6, r4, #8\n subs r3, r6\n"
         "mov r4, r11\n lsls r6, r4, #12\n subs r3, r6\n mov r8, r3\n"
         "ldr r1, [sp]\n ldmia r1!, {r2-r5}\n subs r1, #16\n" LOW_LANE(r8, r2) LOW_LANE(r9, r3) LOW_LANE(r10, r4) LOW_LANE(r11, r5)
         "stmia r1!, {r2-r5}\n ldmia r1!, {r2-r5}\n subs r1, #16\n" HIGH_LANE(r8, r2) HIGH_LANE(r9, r3) HIGH_LANE(r10, r4) HIGH_LANE(r11, r5)
         "stmia r1!, {r2-r5}\n mov r1, r12\n cmp r1, lr\n beq 4f\n b 1b\n"
         "4: pop {r3-r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n pop {r4-r7, pc}");
}

#endif

#if SERQ_DSP

/* ---- products of lanes: Thumb-2 with DSP instructions ---- */

#define CLEAR "movs r4, #0\n movs r5, #0\n movs r6, #0\n movs r7, #0\n"
#define CLEAR_UPPER "mov r8, r4\n mov r9, r4\n mov r10, r4\n mov r11, r4\n"

/* Loads from neighbouring places come in a row, with offsets, since they overlap then. */
#define TWO_ROWS8(w, x, high, low) "smlad " #high ", " #w ", " #x ", " #high "\n uxtb16 " #w ", " #w "\n smlad " #low ", " #w ", " #x ", " #low "\n"

/* 4 inputs of 4 rows: r8 to r11 = the weights, r12, lr = the pairs. */
#define STEP8 \
    "ldm r0!, {r8-r11}\n ldrd r12, lr, [r1], #8\n" TWO_ROWS8(r8, r12, r4, r5) TWO_ROWS8(r9, r12, r6, r7) TWO_ROWS8(r10, lr, r4, r5) \
        TWO_ROWS8(r11, lr, r6, r7)

/* 16 inputs a turn. */
FUNCTION(const uint32_t *, serq_thumb_dsp8, const uint32_t *weights, const uint32_t *pairs, const uint32_t *end, uint32_t *sums)
{
    CODE("push {r4-r11, lr}\n " CLEAR "sub r12, r2, r1\n tst r12, #16\n bne 2f\n"
         "1:\n" STEP8 STEP8 "2:\n" STEP8 STEP8 "cmp r1, r2\n bne 1b\n stm r3, {r4-r7}\n pop {r4-r11, pc}");
}

/* 2 inputs of 8 rows, pair i of a turn: r0, r3 = the weights of two blocks of 4 rows. */
#define STEP88(i) \
    "ldr r2, [r1, #(4 * (" #i "))]\n ldr r12, [r0, #(8 * (" #i "))]\n ldr lr, [r0, #(8 * (" #i ") + 4)]\n" TWO_ROWS8(r12, r2, r4, r5) TWO_ROWS8(lr, r2, r6, r7) \
    "ldr r12, [r3, #(8 * (" #i "))]\n ldr lr, [r3, #(8 * (" #i ") + 4)]\n" TWO_ROWS8(r12, r2, r8, r9) TWO_ROWS8(lr, r2, r10, r11)
#define FOUR_STEPS88(i) STEP88(i) STEP88(i + 1) STEP88(i + 2) STEP88(i + 3)

/* 32 inputs a turn. */
FUNCTION(const uint32_t *, serq_thumb_dsp8_twice, const uint32_t *weights, const uint32_t *pairs, const uint32_t *end, uint32_t *sums)
{
    CODE("push {r2-r11, lr}\n " CLEAR CLEAR_UPPER "sub r12, r2, r1\n add r3, r0, r12, lsl #1\n"
         "ands r12, r12, #48\n beq 1f\n sub r2, r12, #64\n add r1, r2\n add r0, r0, r2, lsl #1\n add r3, r3, r2, lsl #1\n"
         "cmp r12, #32\n bgt 2f\n beq 3f\n b 4f\n"
         "1:\n" FOUR_STEPS88(0) "2:\n" FOUR_STEPS88(4) "3:\n" FOUR_STEPS88(8) "4:\n" FOUR_STEPS88(12)
         "ldr r2, [sp]\n adds r1, #64\n adds r0, #128\n adds r3, #128\n cmp r1, r2\n bne.w 1b\n"
         "mov r0, r3\n ldr r3, [sp, #4]\n stm r3, {r4-r11}\n add sp, #8\n pop {r4-r11, pc}");
}

/* 2 inputs of 8 rows, pair i of a turn: r12, lr = the weights, r2 = the pair. */
#define FOUR_ROWS4(w, s0, s1, s2, s3) \
    "smlad " #s3 ", " #w ", r2, " #s3 "\n and r3, " #w ", #0x000f000f\n smlad " #s0 ", r3, r2, " #s0 "\n and r3, " #w \
    ", #0x00f000f0\n smlad " #s1 ", r3, r2, " #s1 "\n and r3, " #w ", #0x0f000f00\n smlad " #s2 ", r3, r2, " #s2 "\n"
#define STEP4(i) \
    "ldr r2, [r1, #(4 * (" #i "))]\n ldr r12, [r0, #(8 * (" #i "))]\n ldr lr, [r0, #(8 * (" #i ") + 4)]\n" FOUR_ROWS4(r12, r4, r5, r6, r7) FOUR_ROWS4( \
        lr, r8, r9, r10, r11)
#define FOUR_STEPS4(i) STEP4(i) STEP4(i + 1) STEP4(i + 2) STEP4(i + 3)

/* 16 inputs a turn. */
FUNCTION(const uint32_t *, serq_thumb_dsp4, const uint32_t *weights, const uint32_t *pairs, const uint32_t *end, uint32_t *sums)
{
    CODE("push {r2-r11, lr}\n" CLEAR CLEAR_UPPER "sub r12, r2, r1\n tst r12, #16\n beq 1f\n subs r0, #32\n subs r1, #16\n b 2f\n"
         "1:\n" FOUR_STEPS4(0) "2:\n" FOUR_STEPS4(4) "ldr r2, [sp]\n adds r0, #64\n adds r1, #32\n cmp r1, r2\n bne 1b\n"
         "ldr r3, [sp, #4]\n stm r3, {r4-r11}\n add sp, #8\n pop {r4-r11, pc}");
}

#define EIGHT_ROWS2(w, x) \
    "and r12, lr, " #w "\n smlad r4, r12, " #x ", r4\n and r12, lr, " #w ", ror #4\n smlad r5, r12, " #x ", r5\n and r12, lr, " #w \
    ", ror #8\n smlad r6, r12, " #x ", r6\n and r12, lr, " #w ", ror #12\n smlad r7, r12, " #x ", r7\n"
#define STEP2 \
    "ldm r0!, {r8-r11}\n ldrd r2, r3, [r1], #8\n" EIGHT_ROWS2(r8, r2) EIGHT_ROWS2(r9, r3) "ldrd r2, r3, [r1], #8\n" EIGHT_ROWS2(r10, r2) \
        EIGHT_ROWS2(r11, r3)
#define DRAIN2(sum, low) "ubfx r12, " #sum ", #0, #14\n add " #low ", r12\n sub " #sum ", r12\n"

/* 32 inputs a turn; then the low 14 bits of the sums go to sums[0] to sums[3]. */
FUNCTION(const uint32_t *, serq_thumb_dsp2, const uint32_t *weights, const uint32_t *pairs, const uint32_t *end, uint32_t *sums)
{
    CODE("push {r2-r11, lr}\n " CLEAR "stm r3, {r4-r7}\n movw lr, #0xc003\n movt lr, #0xc003\n"
         "sub r12, r2, r1\n ands r12, #48\n beq 1f\n cmp r12, #32\n bgt 2f\n beq 3f\n b 4f\n"
         "1:\n" STEP2 "2:\n" STEP2 "3:\n" STEP2 "4:\n" STEP2
         "ldrd r2, r3, [sp]\n ldm r3, {r8-r11}\n" DRAIN2(r4, r8) DRAIN2(r5, r9) DRAIN2(r6, r10) DRAIN2(r7, r11)
         "stm r3!, {r8-r11}\n cmp r1, r2\n bne 1b\n stm r3, {r4-r7}\n pop {r2-r11, pc}");
}

#define ROW1(sum, first, second) \
    "and r11, lr, r8, lsl #" #first "\n usada8 " #sum ", r9, r11, " #sum "\n and r11, lr, r8, lsl #" #second "\n usada8 " #sum ", r10, r11, " #sum "\n"
#define STEP1 "ldr r8, [r0], #4\n ldrd r9, r10, [r1], #8\n" ROW1(r4, 0, 1) ROW1(r5, 2, 3) ROW1(r6, 4, 5) ROW1(r7, 6, 7)

/* 16 inputs a turn. */
FUNCTION(const uint32_t *, serq_thumb_dsp1, const uint32_t *weights, const uint8_t *activations, const uint8_t *end, uint32_t *sums)
{
    CODE("push {r4-r11, lr}\n " CLEAR "mov lr, #0x80808080\n sub r12, r2, r1\n tst r12, #8\n bne 2f\n"
         "1:\n" STEP1 "2:\n" STEP1 "cmp r1, r2\n bne 1b\n stm r3, {r4-r7}\n pop {r4-r11, pc}");
}

#endif

#if !SERQ_THUMB
typedef char serq_thumb_is_empty; /* ISO C wants something in a file */
#endif
