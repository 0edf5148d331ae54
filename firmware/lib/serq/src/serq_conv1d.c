#include "serq_conv1d.h"

#include <stdbool.h>
#include <string.h>

#include "serq_kernel.h"

uint8_t *serq_cut_window(uint8_t *sequence, unsigned frames, unsigned channels, unsigned taps,
                         unsigned stride, unsigned dilation, unsigned before, unsigned at,
                         uint8_t padding, uint8_t *room)
{
    int32_t frame = (int32_t)(at * stride) - (int32_t)before;
    bool within = frame >= 0 && (uint32_t)frame + taps <= frames;
    unsigned start = (unsigned)frame * channels;
    /* a kernel clears the tail behind its inputs, where there is one */
    if (within && dilation == 1 && start % 4 == 0 && taps * channels % SERQ_GROUP == 0) {
        return sequence + start;
    }
    uint8_t *to = room;
    for (unsigned tap = 0; tap < taps; tap++, to += channels, frame += (int32_t)dilation) {
        if (frame >= 0 && (uint32_t)frame < frames) {
            memcpy(to, sequence + (unsigned)frame * channels, channels);
        } else {
            memset(to, padding, channels);
        }
    }
    return room;
}
