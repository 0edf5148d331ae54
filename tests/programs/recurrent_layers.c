/* Test program: numbers on stdin; on stdout what the functions in fixed point give for each, and the states of a recurrent layer
 * after each of several frames, with its activations. Every array has exactly its size, so that a sanitizer sees the first access beyond it. */
#include <string.h>

#include "exact_arrays.h"
#include "serq_functions.h"
#include "serq_gru.h"
#include "serq_recurrent.h"

enum { FUNCTIONS, GRU };
enum { WHAT, COUNT, FRAMES, MULTIPLIER, LEFT, RIGHT, SHIFT, NUMBERS };

static void functions(const uint32_t *of)
{
    int32_t *x = take(of[COUNT], sizeof *x);
    for (unsigned i = 0; i < of[COUNT]; i++) {
        int32_t found[] = {serq_sigmoid(x[i]), serq_tanh(x[i])};
        give(found, 2, sizeof *found);
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
        serq_gru(x, h, units, state);
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

int main(void)
{
    while (more()) {
        uint32_t *of = take(NUMBERS, sizeof *of);
        if (of[WHAT] == FUNCTIONS) {
            functions(of);
        } else {
            recurrent(of, 3, 1);
        }
        release();
    }
    return 0;
}
