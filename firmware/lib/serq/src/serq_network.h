/* The network: standardised inputs, dense layers on packed weights, requantization (SPEC.md sections 3 and 4).
 * All integers; no heap, float, recursion or variable-length array. Sizes and tables are the caller's (generated). */
#ifndef SERQ_NETWORK_H
#define SERQ_NETWORK_H

#include <stdint.h>

/* uint16 entries of the look-up work area which serq_dense_planes8() needs: 4 groups of 8 inputs. */
#define SERQ_PLANES8_TABLE 1024

/* Pooled features to activations 0..127 with zero point 64. */
void serq_standardize(const int32_t *pooled, uint16_t count, const int32_t *center, const uint16_t *multiplier, const uint8_t *shift,
                      uint8_t *activations);

/* Accumulators of a dense layer from weights in layout planes8.
 * activations: at least `inputs` rounded up to a multiple of 8 bytes; the tail beyond `inputs` is written with zeros.
 * table: SERQ_PLANES8_TABLE entries of scratch. */
void serq_dense_planes8(const uint8_t *weights, const int32_t *bias, uint16_t inputs, uint16_t outputs, uint8_t bits, uint8_t *activations,
                        uint16_t *table, int32_t *accumulators);

/* ReLU, rounding shift and saturation of accumulators to activations 0..127. */
void serq_requantize(const int32_t *accumulators, uint16_t count, uint32_t multiplier, uint8_t shift, uint8_t *activations);

/* Index of the largest score, the lowest among equals. */
uint8_t serq_argmax(const int32_t *scores, uint8_t count);

#endif
