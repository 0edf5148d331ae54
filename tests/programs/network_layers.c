/* Test program: layers and their activations on stdin; accumulators and requantized outputs on stdout. Before them, standardised inputs and,
 * after them, the label. Every array has exactly its size, so that a sanitizer sees the first access beyond it. */
#include "exact_arrays.h"
#include "serq_network.h"

#define KERNEL(number, layout) \
    case number: \
        serq_dense_##layout(weights, inputs, outputs, first, activations, table, accumulators); \
        break;

#define START(bits) \
    case bits: \
        serq_dense_start##bits(bias, start[0], start[1], inputs, outputs, activations, accumulators); \
        break;

static void compute_part(uint32_t kernel, const void *weights, uint16_t inputs, uint16_t outputs, uint8_t first, const uint8_t *activations,
                         serq_table *table, int32_t *accumulators)
{
    switch (kernel) {
        KERNEL(0, planes8_1)
        KERNEL(1, planes8_2)
        KERNEL(2, planes8_3)
        KERNEL(3, planes8_4)
        KERNEL(4, dsp8)
        KERNEL(5, dsp4)
        KERNEL(6, dsp2)
        KERNEL(7, dsp1)
        KERNEL(8, mul8)
        KERNEL(9, mul4)
        KERNEL(10, vec8)
        KERNEL(11, vec4)
        KERNEL(12, vec2)
        KERNEL(13, vec1)
    default:
        exit(2);
    }
}

static void compute_layer(void)
{
    uint32_t *sizes = take(8, sizeof *sizes);
    uint16_t features = (uint16_t)sizes[0], inputs = (uint16_t)sizes[1], outputs = (uint16_t)sizes[2];
    int32_t *start = take(2, sizeof *start); /* base, factor */
    int32_t *pooled = take(features, sizeof *pooled), *center = take(features, sizeof *center);
    uint16_t *scale = take(features, sizeof *scale);
    uint8_t *standardised = room(features, 1), *given = take(inputs, 1);
    void *bias = take(sizes[7], 1); /* bytes, of sizes[6] bits */
    int32_t *accumulators = room((outputs + 7U) / 8, 8 * sizeof *accumulators);
    uint8_t *activations = room((inputs + 7U) / 8, 8), *output = room(outputs, 1);
    serq_table *table = room(1, sizeof *table);
    for (size_t i = 0; i < (inputs + 7U) / 8 * 8; i++) {
        activations[i] = i < inputs ? given[i] : 0xFF; /* serq_dense_start…() clears the tail */
    }
    serq_standardize(pooled, features, center, scale, standardised);
    give(standardised, features, 1);
    switch (sizes[6]) {
        START(8)
        START(16)
        START(24)
        START(32)
    default:
        exit(2);
    }
    for (size_t i = outputs; i < (outputs + 7U) / 8 * 8; i++) {
        accumulators[i] = (int32_t)i; /* anything */
    }
    for (uint32_t part = 0; part < sizes[3]; part++) {
        uint32_t *header = take(3, sizeof *header); /* kernel, first bit, bytes */
        compute_part(header[0], take(header[2], 1), inputs, outputs, (uint8_t)header[1], activations, table, accumulators);
    }
    give(accumulators, outputs, sizeof *accumulators);
    serq_requantize(accumulators, outputs, sizes[4], (uint8_t)sizes[5], output);
    give(output, outputs, 1);
    uint8_t label = serq_argmax(accumulators, (uint8_t)(outputs < 255 ? outputs : 255));
    give(&label, 1, 1);
}

int main(void)
{
    while (more()) {
        compute_layer();
        release();
    }
    return 0;
}
