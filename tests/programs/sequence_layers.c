/* Test program: sequences on stdin; on stdout the windows that are cut from each, their maxima and means, and depthwise accumulators. Every
 * array has exactly its size, so that a sanitizer sees the first access beyond it. */
#include <string.h>

#include "exact_arrays.h"
#include "serq_conv1d.h"
#include "serq_depthwise.h"
#include "serq_pooling.h"

enum { FRAMES, CHANNELS, TAPS, STRIDE, DILATION, BEFORE, AFTER, COUNT, PADDING, BITS, TOP, FIELDS, NUMBERS };

static unsigned up(unsigned bytes)
{
    return (bytes + 7) / 8 * 8;
}

/* A window, and that neither cutting it nor clearing the tail behind it changes the sequence. */
static void cut(const uint32_t *of, uint8_t *sequence, const uint8_t *given, unsigned at)
{
    unsigned size = of[TAPS] * of[CHANNELS], all = of[FRAMES] * of[CHANNELS];
    uint8_t *work = room(up(size), 1);
    uint8_t *window =
        serq_cut_window(sequence, of[FRAMES], of[CHANNELS], of[TAPS], of[STRIDE], of[DILATION], of[BEFORE], at, (uint8_t)of[PADDING], work);
    uint8_t copied = window == work;
    give(window, size, 1);
    give(&copied, 1, 1);
    memset(window + size, 0, up(size) - size);
    if (memcmp(sequence, given, all) != 0 || (uintptr_t)window % 4 != 0) {
        exit(3);
    }
}

static void compute(void)
{
    uint32_t *of = take(NUMBERS, sizeof *of);
    unsigned all = of[FRAMES] * of[CHANNELS], count = of[COUNT];
    uint8_t *given = take(all, 1), *sequence = room(up(all), 1);
    uint8_t *fields = take(of[FIELDS], 1);
    int32_t *bias = take(of[CHANNELS], sizeof *bias), *sums = room(of[CHANNELS], sizeof *sums);
    uint8_t *pooled = room(count * of[CHANNELS], 1), *window = take(of[TAPS] * of[CHANNELS], 1);
    memcpy(sequence, given, all);
    for (unsigned at = 0; at < count; at++) {
        cut(of, sequence, given, at);
        free(allocated[--allocations]);
    }
    serq_depthwise(fields, of[BITS], of[TOP], bias, window, of[TAPS], of[CHANNELS], sums);
    give(sums, of[CHANNELS], sizeof *sums);
    if (of[BEFORE] == 0 && of[AFTER] == 0) {
        serq_time_maximum(sequence, count, of[CHANNELS], of[TAPS], of[STRIDE], of[DILATION], pooled);
        give(pooled, count * of[CHANNELS], 1);
        serq_time_mean(sequence, count, of[CHANNELS], of[TAPS], of[STRIDE], of[DILATION], pooled);
        give(pooled, count * of[CHANNELS], 1);
    }
}

int main(void)
{
    while (more()) {
        compute();
        release();
    }
    return 0;
}
