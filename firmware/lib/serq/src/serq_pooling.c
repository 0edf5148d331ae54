#include "serq_pooling.h"

#include "serq_functions.h"

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

void serq_attention_weights(int32_t *scores, unsigned frames)
{
    int32_t largest = *scores;
    for (unsigned at = 1; at < frames; at++) {
        largest = scores[at] > largest ? scores[at] : largest;
    }
    for (unsigned at = 0; at < frames; at++) {
        scores[at] = serq_exp2_minus(largest - scores[at]);
    }
}

/* 1024 * 127 * 2^15 and half of all weights are below 2^32, and one weight is 2^15. */
void serq_time_attention(const uint8_t *sequence, const int32_t *weights, unsigned frames,
                         unsigned channels, uint8_t *pooled)
{
    uint32_t all = (uint32_t)*weights;
    for (unsigned at = 1; at < frames; at++) {
        all += (uint32_t)weights[at];
    }
    for (unsigned i = 0; i < channels; i++) {
        uint32_t sum = all >> 1;
        for (unsigned at = 0; at < frames; at++) {
            sum += (uint32_t)weights[at] * sequence[at * channels + i];
        }
        pooled[i] = (uint8_t)(sum / all);
    }
}
