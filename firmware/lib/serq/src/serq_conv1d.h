/* Convolution over time: a dense layer on each window of a sequence of frames (SPEC.md section 3).
 */
#ifndef SERQ_CONV1D_H
#define SERQ_CONV1D_H

#include <stdint.h>

/* The window of frame `at` of the output, `taps` frames of `channels` activations one after
 * another: where it lies in the sequence if a kernel can read it there, else copied to `room`, with
 * `padding` where it reaches beyond the sequence. sequence, room: at multiples of 4; room: taps *
 * channels bytes, rounded up to a multiple of 8. */
uint8_t *serq_cut_window(uint8_t *sequence, unsigned frames, unsigned channels, unsigned taps,
                         unsigned stride, unsigned dilation, unsigned before, unsigned at,
                         uint8_t padding, uint8_t *room);

/* Frame `at` of a sequence. */
static inline uint8_t *serq_row(uint8_t *sequence, unsigned channels, unsigned at)
{
    return sequence + at * channels;
}

#endif
