#include "serq_pitch.h"

/* Bits of a > 0 beyond 16. */
static unsigned excess_bits(uint32_t a)
{
    unsigned zeros = serq_leading_zeros(a);
    return zeros < 16 ? 16 - zeros : 0;
}

/* The lag with the best score, 0 if none has a positive one: a peak's height less the cost of its
 * lag. */
static uint32_t best_lag(const int32_t *r, uint32_t first, uint32_t count, const int16_t *cost)
{
    const int32_t *at = r + first, *end = at + count;
    int32_t best = 0;
    uint32_t found = 0;
    for (;; at++) {
        while (at < end && at[0] <= at[-1]) {
            at++;
        }
        while (at < end && at[0] < at[1]) {
            at++;
        }
        if (at >= end) {
            return found;
        }
        uint32_t lag = (uint32_t)(at - r);
        int32_t score = *at - serq_mulw(r[0], cost[lag - first]);
        if (score > best) {
            best = score;
            found = lag;
        }
    }
}

/* The place of the top of the parabola through a peak and its neighbours, Q10. */
static int32_t refined(const int32_t *r, uint32_t lag)
{
    uint32_t bend = (uint32_t)(r[lag] - r[lag - 1]) + (uint32_t)(r[lag] - r[lag + 1]);
    unsigned down = excess_bits(bend);
    int32_t slope = (r[lag + 1] - r[lag - 1]) >> down;
    return (int32_t)(lag * 1024) + serq_floor_div(slope * 512, (int32_t)(bend >> down));
}

/* part / whole in Q15, 0 < part, 0 < whole; at most 1. */
static int32_t share(int32_t part, int32_t whole)
{
    unsigned down = excess_bits((uint32_t)whole);
    uint32_t dividend = (uint32_t)((part < whole ? part : whole) >> down) << 15;
    return (int32_t)(dividend / (uint32_t)(whole >> down));
}

uint8_t serq_pitch(const int32_t *r, uint16_t first, uint16_t count, const int16_t *cost,
                   int32_t offset, int32_t threshold, const uint16_t *log_table, int32_t *pitch)
{
    uint32_t lag = best_lag(r, first, count, cost);
    if (lag == 0 || r[0] <= 0) {
        pitch[0] = 0;
        pitch[1] = 0;
        return 0;
    }
    pitch[0] = offset - serq_log2_q16((uint32_t)refined(r, lag), log_table);
    pitch[1] = share(r[lag], r[0]);
    return pitch[1] >= threshold;
}

void serq_voicing(const int32_t *pitch, uint8_t voiced, int32_t *voicing)
{
    voicing[0] = pitch[1];
    voicing[1] = voiced ? 32768 : 0;
}
