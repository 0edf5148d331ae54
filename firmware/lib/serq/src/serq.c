#include "serq.h"

#include <stddef.h>
#include <string.h>

#include "serq_trace.h"

enum { MIN_FRAMES = 2 }; /* a difference between frames needs two */

void serq_init(serq_state *state)
{
    state->frames = 0;
    state->filled = 0;
}

/* A whole frame waits: transform it and keep what the next frame shares with it. */
static void take_frame(serq_state *state)
{
    serq_model_frame(state);
    state->frames++;
    state->filled = SERQ_FRAME_LENGTH - SERQ_HOP_LENGTH;
    memmove(state->samples, state->samples + SERQ_HOP_LENGTH, state->filled * sizeof(int16_t));
}

int serq_push(serq_state *state, const int16_t *samples, uint32_t count)
{
    while (count > 0) {
        uint32_t room = (uint32_t)(SERQ_FRAME_LENGTH - state->filled);
        uint32_t taken = count < room ? count : room;
        if (taken == room && state->frames == SERQ_MAX_FRAMES) {
            return SERQ_ERROR_TOO_LONG;
        }
        memcpy(state->samples + state->filled, samples, taken * sizeof(int16_t));
        state->filled = (uint16_t)(state->filled + taken);
        samples += taken;
        count -= taken;
        if (taken == room) {
            take_frame(state);
        }
    }
    return state->frames >= MIN_FRAMES;
}

int32_t *serq_features(serq_state *state)
{
    if (state->frames < MIN_FRAMES) {
        return NULL;
    }
    serq_model_features(state);
    SERQ_TRACE_STAGE(SERQ_STAGE_POOLED, state->scratch.decision.pooled, SERQ_FEATURES, sizeof(int32_t));
    return state->scratch.decision.pooled;
}

int serq_decide(serq_state *state, int32_t *scores)
{
    const int32_t *accumulators = state->scratch.decision.accumulators;
    serq_model_network(state);
    SERQ_TRACE_STAGE(SERQ_STAGE_SCORES, accumulators, SERQ_CLASSES, sizeof(int32_t));
    if (scores != NULL) {
        memcpy(scores, accumulators, SERQ_CLASSES * sizeof(int32_t));
    }
    return serq_argmax(accumulators, SERQ_CLASSES);
}

int serq_classify(serq_state *state, int32_t *scores)
{
    return serq_features(state) == NULL ? SERQ_ERROR_TOO_SHORT : serq_decide(state, scores);
}
