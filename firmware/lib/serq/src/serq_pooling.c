#include "serq_pooling.h"

/* The largest of `taps` activations, `step` apart. */
static uint8_t maximum_of(const uint8_t *first, unsigned taps, unsigned step)
{
    uint8_t largest = *first;
    for (; taps > 1; taps--) {
        first += step;
        largest = *first > largest ? *first : largest;
    }
    return largest;
}

void serq_time_maximum(const uint8_t *sequence, unsigned count, unsigned channels, unsigned taps,
                       unsigned stride, unsigned dilation, uint8_t *pooled)
{
    for (unsigned at = 0; at < count; at++) {
        const uint8_t *window = sequence + at * stride * channels;
        for (unsigned i = 0; i < channels; i++) {
            *pooled++ = maximum_of(window + i, taps, dilation * channels);
        }
    }
}

static uint8_t mean_of(const uint8_t *first, unsigned taps, unsigned step)
{
    uint32_t sum = *first;
    for (unsigned left = taps; left > 1; left--) {
        first += step;
        sum += *first;
    }
    return (uint8_t)((2 * sum + taps) / (2 * taps));
}

void serq_time_mean(const uint8_t *sequence, unsigned count, unsigned channels, unsigned taps,
                    unsigned stride, unsigned dilation, uint8_t *pooled)
{
    for (unsigned at = 0; at < count; at++) {
        const uint8_t *window = sequence + at * stride * channels;
        for (unsigned i = 0; i < channels; i++) {
            *pooled++ = mean_of(window + i, taps, dilation * channels);
        }
    }
}
