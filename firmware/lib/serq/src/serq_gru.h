/* The gated recurrent unit (SPEC.md section 3). */
#ifndef SERQ_GRU_H
#define SERQ_GRU_H

#include <stdint.h>

/* The state after a frame. x, h: sums of the frame and of the state in Q12, at most 2^29 in
 * magnitude, of `units` for each of the gates: how much of the state is kept, how much of it the
 * new one hears, the new one. state: Q15 */
void serq_gru(const int32_t *x, const int32_t *h, unsigned units, int32_t *state);

#endif
