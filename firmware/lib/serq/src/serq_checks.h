/* Checks at compile time, for generated code: what a model's own numbers say must hold of the sizes
 * that somebody else computed. */
#ifndef SERQ_CHECKS_H
#define SERQ_CHECKS_H

#include "serq_fixed.h"
#include "serq_kernel.h"

#define SERQ_PADDED(count) (((count) + SERQ_GROUP - 1) / SERQ_GROUP * SERQ_GROUP)

/* A layer's input lies within the activations, padded, at an address that is a multiple of 4. */
#define SERQ_CHECK_INPUT(layer, inputs, at) \
    SERQ_CHECK(input##layer, (at) % 4 == 0 && (at) + SERQ_PADDED(inputs) <= SERQ_ACTIVATIONS)

/* There are accumulators for all rows, padded. */
#define SERQ_CHECK_ACCUMULATORS(layer, outputs) \
    SERQ_CHECK(accumulators##layer, SERQ_PADDED(outputs) <= SERQ_ACCUMULATORS)

/* There is room for what a layer writes while it computes, padded. */
#define SERQ_CHECK_WORK(layer, bytes) SERQ_CHECK(work##layer, SERQ_PADDED(bytes) <= SERQ_WORK)

/* A layer's output, which is the next one's input, does not touch its input. */
#define SERQ_CHECK_APART(layer, inputs, at, outputs, to) \
    SERQ_CHECK(apart##layer, \
               (at) + SERQ_PADDED(inputs) <= (to) || (to) + SERQ_PADDED(outputs) <= (at))

#endif
