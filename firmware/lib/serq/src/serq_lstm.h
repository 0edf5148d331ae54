/* The long short-term memory (SPEC.md section 3). */
#ifndef SERQ_LSTM_H
#define SERQ_LSTM_H

#include <stdint.h>

/* The state after a frame. x, h: sums of the frame and of the state in Q12, at most 2^29 in
 * magnitude, of `units` for each of the gates: how much of the new goes into the cell, how much of
 * the cell is kept, the new, how much of the cell the state shows. state: Q15, of `units` what it
 * shows, then the cells */
void serq_lstm(const int32_t *x, const int32_t *h, unsigned units, int32_t *state);

#endif
