#include "hooks.h"

#include <stddef.h>

#include "calls.h"

enum { LEVEL_SAMPLES = SERQ_SAMPLE_RATE / 16, LEAST_DECIBELS = -96 };

/* What stands in for a function that src/app.c does not define. */
#define UNLESS_DEFINED __attribute__((weak))

UNLESS_DEFINED void on_start(void)
{
}

UNLESS_DEFINED void on_decision(const app_decision *decision)
{
    (void)decision;
}

UNLESS_DEFINED void on_level(int decibels)
{
    (void)decibels;
}

UNLESS_DEFINED void on_error(const char *what)
{
    (void)what;
}

void calls_init(calls *state)
{
    state->energy = 0;
    state->samples = 0;
    state->last = SERQ_NO_SPEECH;
    state->steady = SERQ_NO_SPEECH;
    on_start();
}

/* Decibels of a mean square relative to 2^30: its logarithm by its leading bit and a line from
 * there, which is 0.3 dB off at most. */
static int decibels_of(uint32_t mean_square)
{
    int bit = 0;
    while (bit < 31 && (mean_square >> (bit + 1)) != 0) {
        bit++;
    }
    if (mean_square == 0) {
        return LEAST_DECIBELS;
    }
    int32_t rest = (int32_t)(((uint64_t)mean_square << 8) >> bit) - 256; /* Q8, 0 to 255 */
    int32_t level = (bit - 30) * 256 + rest;                             /* Q8 log2 */
    int decibels = level * 771 / 65536;                                  /* 3.0103 / 256, in Q16 */
    return decibels < LEAST_DECIBELS ? LEAST_DECIBELS : decibels;
}

void calls_listen(calls *state, const int16_t *samples, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        state->energy += (uint32_t)((int32_t)samples[i] * samples[i]);
        if (++state->samples == LEVEL_SAMPLES) {
            on_level(decibels_of((uint32_t)(state->energy / LEVEL_SAMPLES)));
            state->energy = 0;
            state->samples = 0;
        }
    }
}

/* Take an answer, and say whether it came twice in a row and is another than the steady one. */
static bool settle(calls *state, int answer)
{
    bool changed = answer == state->last && answer != state->steady;
    state->last = answer;
    state->steady = changed ? answer : state->steady;
    return changed;
}

void calls_decide(calls *state, const serq_decision *decision, uint32_t latency_us)
{
    bool changed = settle(state, decision->answer);
    app_decision told = {
        .label = serq_label(state->last),
        .answer = state->last,
        .steady_label = serq_label(state->steady),
        .steady = state->steady,
        .confidence = serq_confidence(decision),
        .changed = changed,
        .decibels = decision->level * 771 / 65536,
        .scores = decision->scores,
        .margin = decision->margin,
        .latency_us = latency_us,
    };
    on_decision(&told);
}
