#include "serq_gru.h"

#include "serq_fixed.h"
#include "serq_functions.h"

/* |state| <= 32766: rounded to nearest, it stays between the new one and the one before. So no
 * product exceeds 32767 * 65532 < 2^31. */
void serq_gru(const int32_t *x, const int32_t *h, unsigned units, int32_t *state)
{
    const int32_t *x_new = x + 2 * units, *h_new = h + 2 * units;
    for (unsigned i = 0; i < units; i++) {
        int32_t kept = serq_sigmoid(x[i] + h[i]);
        int32_t heard = serq_sigmoid(x[units + i] + h[units + i]);
        int32_t fresh = serq_tanh(x_new[i] + serq_mulw(2 * h_new[i], heard));
        state[i] = fresh + serq_rshift_round(kept * (state[i] - fresh), 15);
    }
}
