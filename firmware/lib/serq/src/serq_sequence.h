/* A sequence: the values of the last frames are the features, in place of their statistics (SPEC.md
 * section 2). They lie in a ring of `places` rows. */
#ifndef SERQ_SEQUENCE_H
#define SERQ_SEQUENCE_H

#include <stdint.h>

#include "serq_pool.h"

#define SERQ_NO_VALUE INT16_MIN /* in a row, of a frame that does not count for its block */

/* A frame's `count` values to their place in its row, after pooling's shift; counts: whether it
 * counts for their block. */
void serq_sequence_keep(int16_t *row, const int32_t *values, uint8_t count, uint8_t shift,
                        uint8_t counts);

/* The values of the last `frames` frames, at most `places`, oldest first and last ones last, with 4
 * fractional bits: SERQ_MISSING of frames that were not heard, or do not count. next: the row of
 * the next frame. */
void serq_sequence_values(const int16_t *rows, const int16_t *steps, unsigned next, unsigned places,
                          unsigned coefficients, uint32_t frames, uint8_t tiers, int32_t *values);

/* Take `count` coefficients, from `first` on, relative to the mean of all of them that are there.
 * places * count <= 4096. */
void serq_sequence_relate(unsigned places, unsigned coefficients, unsigned first, unsigned count,
                          int32_t *values);

/* Values to activations 0..127 with zero point 64; center and scale, as serq_standardize() has
 * them, are of each coefficient. */
void serq_sequence_standardize(const int32_t *values, unsigned places, uint16_t coefficients,
                               const int32_t *center, const uint16_t *scale, uint8_t *activations);

#endif
