/* Functions in fixed point that layers share (SPEC.md section 3). Q12 and Q15: value times 2^12 and
 * 2^15. */
#ifndef SERQ_FUNCTIONS_H
#define SERQ_FUNCTIONS_H

#include <stdint.h>

/* Accumulators times multiplier * 2^left / 2^(16 + right), in place, at most 2^29 in magnitude. The
 * model's proof says that they may be shifted left. 2^14 <= multiplier < 2^15, 1 <= right <= 31 */
void serq_rescale(int32_t *accumulators, unsigned count, int16_t multiplier, uint8_t left,
                  uint8_t right);

/* 1 / (1 + e^-x) of Q12, in Q15: 1 to 32767. |x| < 2^31 */
int32_t serq_sigmoid(int32_t x);

/* tanh of Q12, in Q15: within 32766. */
int32_t serq_tanh(int32_t x);

/* 2^-x of Q12, in Q15: 0 to 32768. x >= 0 */
int32_t serq_exp2_minus(int32_t x);

#endif
