#include "serq_recurrent.h"

#include <string.h>

#include "serq_network.h"

void serq_state_start(int32_t *state, unsigned count, uint8_t *active, unsigned units)
{
    memset(state, 0, count * sizeof *state);
    memset(active, SERQ_STATE_ZERO, units);
}

void serq_state_give(const int32_t *state, unsigned units, uint8_t shift, uint8_t *active,
                     uint8_t *row)
{
    for (unsigned i = 0; i < units; i++) {
        int32_t value = SERQ_STATE_ZERO + serq_rshift_round(state[i], shift);
        active[i] = row[i] = (uint8_t)serq_clamp(value, 0, SERQ_ACTIVATION_MAX);
    }
}
