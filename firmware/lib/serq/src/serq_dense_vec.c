/* Layouts vec1, vec2, vec4, vec8: 16 products an instruction on cores with vectors of integers
 * (SPEC.md section 4). A byte holds the fields of one input for 8, 4, 2 or 1 rows, the first row's
 * lowest. The sum of products with its lowest fields alone is that of those rows, each times its
 * place; the difference of two such sums is a row's. */
#include "serq_kernel.h"

enum { VEC_LANES = 16, VEC_ROWS = 4 }; /* inputs of a vector; rows that are summed at a time */

#if SERQ_HELIUM

#include <arm_mve.h>

typedef uint8x16_t vec_bytes;

SERQ_INLINE uint32_t vec_dot(uint32_t sum, vec_bytes w, vec_bytes x)
{
    return vmladavaq_u8(sum, w, x);
}

#define VEC_LOAD(address) vldrbq_u8(address)
#define VEC_LOAD_HALF(address) vldrbq_z_u8(address, 0xff) /* 8 bytes, and zeros */
#define VEC_MASKED(w, mask) vandq_u8(w, vdupq_n_u8((uint8_t)(mask)))

#else

typedef struct {
    const uint8_t *at;
    unsigned count, mask;
} vec_bytes;

SERQ_INLINE uint32_t vec_dot(uint32_t sum, vec_bytes w, vec_bytes x)
{
    for (unsigned i = 0; i < x.count; i++) {
        sum += (w.at[i] & w.mask) * x.at[i];
    }
    return sum;
}

#define VEC_LOAD(address) ((vec_bytes){address, VEC_LANES, 0xff})
#define VEC_LOAD_HALF(address) ((vec_bytes){address, VEC_LANES / 2, 0xff})
#define VEC_MASKED(w, mask) ((vec_bytes){(w).at, (w).count, mask})

#endif

/* Of row r of 4, the first of which has its field at bit `low` of a byte: where its own begins, and
 * the mask of the fields up to it. */
#define VEC_PLACE(r) ((low + bits * (r)) % 8)
#define VEC_MASK(r) (((1U << (VEC_PLACE(r) + bits)) - 1) & ~((1U << low) - 1))

/* Adds what a vector of inputs gives to row r. */
#define VEC_ROW(r, load, count) \
    if ((r) > 0 && VEC_PLACE(r) == 0) { \
        w = load(weights + bits * (r) / 8 * (count)); \
    } \
    s##r = vec_dot(s##r, VEC_MASK(r) < 0xff ? VEC_MASKED(w, VEC_MASK(r)) : w, x)

#define VEC_ROWS4(load, count) \
    do { \
        vec_bytes x = load(activations), w = load(weights); \
        VEC_ROW(0, load, count); \
        VEC_ROW(1, load, count); \
        VEC_ROW(2, load, count); \
        VEC_ROW(3, load, count); \
        weights += (bits * VEC_ROWS + 7) / 8 * (count); \
        activations += (count); \
    } while (0)

#define VEC_ADD(r, below) \
    serq_add(row + (r), (s##r - (VEC_PLACE(r) == low ? 0 : (below))) >> VEC_PLACE(r) << shift)

/* Adds the sums of 4 rows to `row`. Returns the address of the next rows' weights. */
SERQ_INLINE const uint8_t *vec_rows(const uint8_t *weights, const uint8_t *activations,
                                    unsigned inputs, unsigned bits, unsigned low, unsigned shift,
                                    int32_t *row)
{
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (unsigned left = inputs / VEC_LANES; left > 0; left--) {
        VEC_ROWS4(VEC_LOAD, VEC_LANES);
    }
    if (inputs % VEC_LANES) {
        VEC_ROWS4(VEC_LOAD_HALF, VEC_LANES / 2);
    }
    VEC_ADD(0, 0);
    VEC_ADD(1, s0);
    VEC_ADD(2, s1);
    VEC_ADD(3, s2);
    return weights;
}

#define VEC(bits) \
    SERQ_DENSE(vec##bits, uint32_t) \
    { \
        const uint8_t *w = (const uint8_t *)weights; \
        const int32_t *end = accumulators + outputs; \
        for (; accumulators < end; accumulators += VEC_ROWS) { \
            w = vec_rows(w, activations, serq_padded(inputs), bits, 0, first + 1U, accumulators); \
        } \
        (void)table; \
    }

VEC(8)
VEC(4)
VEC(2)

SERQ_DENSE(vec1, uint32_t)
{
    const uint8_t *w = (const uint8_t *)weights;
    const int32_t *end = accumulators + outputs;
    unsigned padded = serq_padded(inputs);
    for (; accumulators < end; accumulators += 2 * VEC_ROWS) {
        (void)vec_rows(w, activations, padded, 1, 0, first + 1U, accumulators);
        w = vec_rows(w, activations, padded, 1, VEC_ROWS, first + 1U, accumulators + VEC_ROWS);
    }
    (void)table;
}
