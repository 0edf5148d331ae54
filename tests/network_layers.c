/* Test program: a layer and activations on stdin; accumulators and requantized outputs on stdout. Before them, standardised inputs and,
 * after them, the label. Every array has exactly its size, so that a sanitizer sees the first access beyond it. */
#include <stdio.h>
#include <stdlib.h>

#include "serq_network.h"

static void *arrays[16]; /* all that were allocated: reachable to the end, so none is a leak */

static void *room(size_t count, size_t size)
{
    static int used;
    void *values = malloc(count * size);
    if (values == NULL) {
        exit(2);
    }
    return arrays[used++] = values;
}

static void *take(size_t count, size_t size)
{
    void *values = room(count, size);
    if (fread(values, size, count, stdin) != count) {
        exit(2);
    }
    return values;
}

static void give(const void *values, size_t count, size_t size)
{
    if (fwrite(values, size, count, stdout) != count) {
        exit(2);
    }
}

int main(void)
{
    uint32_t *sizes = take(7, sizeof *sizes);
    uint16_t features = (uint16_t)sizes[0], inputs = (uint16_t)sizes[1], outputs = (uint16_t)sizes[2];
    int32_t *pooled = take(features, sizeof *pooled), *center = take(features, sizeof *center);
    uint16_t *multiplier = take(features, sizeof *multiplier);
    uint8_t *shift = take(features, sizeof *shift), *standardised = room(features, 1);
    uint8_t *weights = take(sizes[4], 1), *given = take(inputs, 1);
    int32_t *bias = take(outputs, sizeof *bias), *accumulators = room(outputs, sizeof *accumulators);
    uint8_t *activations = room((inputs + 7U) / 8, 8), *output = room(outputs, 1);
    uint16_t *table = room(SERQ_PLANES8_TABLE, sizeof *table);
    for (size_t i = 0; i < (inputs + 7U) / 8 * 8; i++) {
        activations[i] = i < inputs ? given[i] : 0xFF; /* the kernel clears the tail */
    }
    serq_standardize(pooled, features, center, multiplier, shift, standardised);
    give(standardised, features, 1);
    serq_dense_planes8(weights, bias, inputs, outputs, (uint8_t)sizes[3], activations, table, accumulators);
    give(accumulators, outputs, sizeof *accumulators);
    serq_requantize(accumulators, outputs, sizes[5], (uint8_t)sizes[6], output);
    give(output, outputs, 1);
    uint8_t label = serq_argmax(accumulators, (uint8_t)(outputs < 255 ? outputs : 255));
    give(&label, 1, 1);
    return 0;
}
