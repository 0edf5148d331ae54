/* Pooling over time: one activation for each channel of a window of frames (SPEC.md section 3). */
#ifndef SERQ_POOLING_H
#define SERQ_POOLING_H

#include <stdint.h>

/* The maximum, or the mean to the nearest integer, ties up, of each channel in each of `count`
 * windows: of `taps` frames, `dilation` apart, and the next window `stride` frames later. */
void serq_time_maximum(const uint8_t *sequence, unsigned count, unsigned channels, unsigned taps,
                       unsigned stride, unsigned dilation, uint8_t *pooled);
void serq_time_mean(const uint8_t *sequence, unsigned count, unsigned channels, unsigned taps,
                    unsigned stride, unsigned dilation, uint8_t *pooled);

/* Scores in Q12, at most 2^29 in magnitude, to weights in Q15, in place: 2^score over the largest
 * one, which gets 32768. */
void serq_attention_weights(int32_t *scores, unsigned frames);

/* The mean of each channel by the frames' weights, to the nearest integer, ties up. frames <= 1024
 */
void serq_time_attention(const uint8_t *sequence, const int32_t *weights, unsigned frames,
                         unsigned channels, uint8_t *pooled);

#endif
