#include "serq_lstm.h"

#include "serq_fixed.h"
#include "serq_functions.h"

/* A frame adds less than 2^15 to a cell, so that within 4096 frames none reaches 2^27. */
void serq_lstm(const int32_t *x, const int32_t *h, unsigned units, int32_t *state)
{
    int32_t *cell = state + units;
    for (unsigned i = 0; i < units; i++) {
        const int32_t *x_gate = x + i, *h_gate = h + i;
        int32_t taken = serq_sigmoid(x_gate[0] + h_gate[0]);
        int32_t kept = serq_sigmoid(x_gate[units] + h_gate[units]);
        int32_t fresh = serq_tanh(x_gate[2 * units] + h_gate[2 * units]);
        int32_t shown = serq_sigmoid(x_gate[3 * units] + h_gate[3 * units]);
        cell[i] = serq_rshift_round(serq_mulw(4 * cell[i], kept), 1) +
                  serq_rshift_round(taken * fresh, 15);
        state[i] = serq_rshift_round(shown * serq_tanh(serq_rshift_round(cell[i], 3)), 15);
    }
}
