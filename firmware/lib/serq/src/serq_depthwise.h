/* Depthwise convolution over time: each channel has a filter of its own (SPEC.md section 3). */
#ifndef SERQ_DEPTHWISE_H
#define SERQ_DEPTHWISE_H

#include <stdint.h>

/* The accumulators of `channels` filters on a window of `taps` frames. fields: of `bits` bits, one
 * after another from the lowest bit of the first byte on, in the order of taps, then channels; a
 * byte follows the last. top: the largest field that there is. */
void serq_depthwise(const uint8_t *fields, unsigned bits, uint32_t top, const int32_t *bias,
                    const uint8_t *window, unsigned taps, unsigned channels, int32_t *accumulators);

#endif
