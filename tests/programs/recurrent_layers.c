/* Test program: numbers on stdin; on stdout what the functions in fixed point give for each, and the states of a recurrent layer
 * after each of several frames, with its activations, or attention's weights and means. Every array has exactly its size, so that a sanitizer sees the first access beyond it. */
#include <string.h>

#include "exact_arrays.h"
#include "serq_functions.h"
#include "serq_gru.h"
#include "serq_lstm.h"
#include "serq_pooling.h"
#include "serq_recurrent.h"

enum { FUNCTIONS, GRU, LSTM, ATTENTION };
enum { WHAT, COUNT, FRAMES, MULTIPLIER, LEFT, RIGHT, SHIFT, NUMBERS };

static void functions(const uint32_t *of)
{
    int32_t *x = take(of[COUNT], sizeof *x);
    for (unsigned i = 0; i < of[COUNT]; i++) {
        int32_t found[] = {serq_sigmoid(x[i]), serq_tanh(x[i]), serq_exp2_minus(x[i] < 0 ? -x[i] : x[i])};
        give(found, 3, sizeof *found);
    }
}

/* Sums of a frame and of a state come as accumulators, for `gates` gates. */
static void recurrent(const uint32_t *of, unsigned gates, unsigned memories)
{
    unsigned units = of[COUNT], sums = gates * units, words = memories * units;
    int32_t *state = room(words, sizeof *state);
    uint8_t *active = room(units, 1), *row = room(units, 1);
    serq_state_start(state, words, active, units);
    give(active, units, 1);
    for (unsigned frame = 0; frame < of[FRAMES]; frame++) {
        int32_t *x = take(sums, sizeof *x), *h = take(sums, sizeof *h);
        serq_rescale(x, sums, (int16_t)of[MULTIPLIER], (uint8_t)of[LEFT], (uint8_t)of[RIGHT]);
        serq_rescale(h, sums, (int16_t)of[MULTIPLIER], (uint8_t)of[LEFT], (uint8_t)of[RIGHT]);
        (of[WHAT] == GRU ? serq_gru : serq_lstm)(x, h, units, state);
        serq_state_give(state, units, (uint8_t)of[SHIFT], active, row);
        give(state, words, sizeof *state);
        give(active, units, 1);
        if (memcmp(active, row, units) != 0) {
            exit(3);
        }
        free(allocated[--allocations]);
        free(allocated[--allocations]);
    }
}

static void attention(const uint32_t *of)
{
    unsigned frames = of[FRAMES], channels = of[COUNT];
    int32_t *scores = take(frames, sizeof *scores);
    uint8_t *sequence = take(frames * channels, 1), *pooled = room(channels, 1);
    serq_attention_weights(scores, frames);
    serq_time_attention(sequence, scores, frames, channels, pooled);
    give(scores, frames, sizeof *scores);
    give(pooled, channels, 1);
}

int main(void)
{
    while (more()) {
        uint32_t *of = take(NUMBERS, sizeof *of);
        if (of[WHAT] == FUNCTIONS) {
            functions(of);
        } else if (of[WHAT] == ATTENTION) {
            attention(of);
        } else {
            recurrent(of, of[WHAT] == GRU ? 3 : 4, of[WHAT] == GRU ? 1 : 2);
        }
        release();
    }
    return 0;
}
