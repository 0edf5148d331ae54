/* What recurrent layers share: a state of 32-bit words in Q15, and its activations (SPEC.md
 * section 3). */
#ifndef SERQ_RECURRENT_H
#define SERQ_RECURRENT_H

#include <stdint.h>

#include "serq_functions.h"

#define SERQ_STATE_ZERO 64 /* the activation of a state of 0 */

/* The state before the first frame, of `count` words, and the activations of its units. */
void serq_state_start(int32_t *state, unsigned count, uint8_t *active, unsigned units);

/* The state's activations, 64 + state / 2^shift, for the next frame and for the layer's output. */
void serq_state_give(const int32_t *state, unsigned units, uint8_t shift, uint8_t *active,
                     uint8_t *row);

#endif
