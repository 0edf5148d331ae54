/* What the kernels share. They sum modulo 2^32: an unsigned sum cannot overflow, and the model's
 * proof (SPEC.md section 5) says that the result fits int32.
 *
 * The inner loops come twice, with the same integers: in C for any core, and in assembly for
 * Cortex-M (serq_thumb.c), whose compilers neither batch loads nor keep to its few registers.
 * SERQ_PORTABLE takes C everywhere. */
#ifndef SERQ_KERNEL_H
#define SERQ_KERNEL_H

#include <stdint.h>

#include "serq_cores.h"
#include "serq_network.h"

enum { SERQ_GROUP = 8 };   /* inputs are padded to a multiple of it */
enum { SERQ_BLOCK = 512 }; /* inputs whose sum a lane of 32 bits holds: 512 * 127 * 2^15 < 2^31 */

#define SERQ_THUMB SERQ_CORTEX_M

/* The value is wanted in a register here: keeps GCC from interleaving unrolled steps until
 * registers run out, and from undoing an address that was worked out once for several loads. */
#if defined(__GNUC__)
#define SERQ_KEEP(value) __asm__ volatile("" : "+r"(value))
#define SERQ_INLINE static inline __attribute__((always_inline))
#else
#define SERQ_KEEP(value) ((void)0)
#define SERQ_INLINE static inline
#endif

SERQ_INLINE unsigned serq_padded(unsigned inputs)
{
    return (inputs + SERQ_GROUP - 1) / SERQ_GROUP * SERQ_GROUP;
}

SERQ_INLINE void serq_add(int32_t *accumulator, uint32_t sum)
{
    *accumulator = (int32_t)((uint32_t)*accumulator + sum);
}

/* Activations as lanes of 16 bits, two a word. Returns their sum. `inputs` is a multiple of 8. */
uint32_t serq_pair_up(const uint8_t *activations, uint32_t *pairs, unsigned inputs);

#if SERQ_THUMB
/* Of `groups` times 8 inputs, each shifted left by `shift`: the 256 sums of subsets. */
void serq_thumb_subset_sums(uint32_t *words, const uint8_t *x, unsigned groups, unsigned shift);

/* Add looked-up sums to the accumulators, up to `end`; names: planes, tables. They return the
 * address of the next weight. */
const uint8_t *serq_thumb_planes1_tables4(const uint8_t *weights, int32_t *accumulators,
                                          const int32_t *end, const uint16_t *tables);
const uint8_t *serq_thumb_planes1_tables1(const uint8_t *weights, int32_t *accumulators,
                                          const int32_t *end, const uint16_t *tables);
const uint8_t *serq_thumb_planes2_tables4(const uint8_t *weights, int32_t *accumulators,
                                          const int32_t *end, const uint16_t *tables);
const uint8_t *serq_thumb_planes2_tables1(const uint8_t *weights, int32_t *accumulators,
                                          const int32_t *end, const uint16_t *tables);
const uint8_t *serq_thumb_planes3_tables4(const uint8_t *weights, int32_t *accumulators,
                                          const int32_t *end, const uint16_t *tables);
const uint8_t *serq_thumb_planes3_tables1(const uint8_t *weights, int32_t *accumulators,
                                          const int32_t *end, const uint16_t *tables);
const uint8_t *serq_thumb_planes4_tables4(const uint8_t *weights, int32_t *accumulators,
                                          const int32_t *end, const uint16_t *tables);
const uint8_t *serq_thumb_planes4_tables1(const uint8_t *weights, int32_t *accumulators,
                                          const int32_t *end, const uint16_t *tables);

/* The sums of the C functions dsp8_rows(), … of the same layouts, for pairs (of activations) up to
 * `end`. */
const uint32_t *serq_thumb_mul8(const uint32_t *weights, const uint32_t *pairs, const uint32_t *end,
                                uint32_t *sums);

/* mul4_rows8() */
const uint32_t *serq_thumb_mul4(const uint32_t *weights, const uint8_t *activations,
                                const uint8_t *end, int32_t *row);
#endif

#if SERQ_DSP
const uint32_t *serq_thumb_dsp8(const uint32_t *weights, const uint32_t *pairs, const uint32_t *end,
                                uint32_t *sums);
const uint32_t *serq_thumb_dsp8_twice(const uint32_t *weights, const uint32_t *pairs,
                                      const uint32_t *end, uint32_t *sums);
const uint32_t *serq_thumb_dsp4(const uint32_t *weights, const uint32_t *pairs, const uint32_t *end,
                                uint32_t *sums);
const uint32_t *serq_thumb_dsp2(const uint32_t *weights, const uint32_t *pairs, const uint32_t *end,
                                uint32_t *sums);
const uint32_t *serq_thumb_dsp1(const uint32_t *weights, const uint8_t *activations,
                                const uint8_t *end, uint32_t *sums);
#endif

#endif
