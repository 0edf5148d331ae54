/* When the functions of src/app.c are called (hooks.h). */
#ifndef CALLS_H
#define CALLS_H

#include <stdint.h>

#include "hooks.h"

typedef struct {
    uint64_t energy;  /* of the samples since on_level() was called */
    uint32_t samples; /* so many */
    int last;         /* answer */
    int steady;
} calls;

/* Call on_start(). */
void calls_init(calls *state);

/* Take samples, and call on_level() whenever there are enough. */
void calls_listen(calls *state, const int16_t *samples, uint32_t count);

/* Call on_decision(). */
void calls_decide(calls *state, const serq_decision *decision, uint32_t latency_us);

#endif
