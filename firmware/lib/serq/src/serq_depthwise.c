#include "serq_depthwise.h"

/* The field that begins at a bit. */
static uint32_t field_at(const uint8_t *fields, uint32_t bit, unsigned bits)
{
    const uint8_t *byte = fields + bit / 8;
    return (uint32_t)(byte[0] | byte[1] << 8) >> bit % 8 & ((1U << bits) - 1);
}

/* Sums modulo 2^32 of activations times signed weights, 2 * field - top; the model's proof says
 * that they fit. */
void serq_depthwise(const uint8_t *fields, unsigned bits, uint32_t top, const int32_t *bias,
                    const uint8_t *window, unsigned taps, unsigned channels, int32_t *accumulators)
{
    for (unsigned channel = 0; channel < channels; channel++) {
        uint32_t sum = (uint32_t)bias[channel], bit = channel * bits;
        const uint8_t *x = window + channel;
        for (unsigned tap = 0; tap < taps; tap++, bit += channels * bits) {
            sum += (2 * field_at(fields, bit, bits) - top) * x[tap * channels];
        }
        accumulators[channel] = (int32_t)sum;
    }
}
