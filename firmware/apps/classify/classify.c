/* A model's library as functions of a computer, called in a shared library (by
 * serq_mcu/listening/engine.py and serq_mcu/extraction/extractor.py). */
#include <stddef.h>
#include <string.h>

#ifdef SERQ_CAN_STREAM
#include "serq_stream.h"
#else
#include "serq.h"
#endif

/* NOLINTBEGIN(misc-use-internal-linkage): Python calls these */

/* A clip's label, or an error of serq.h. scores: SERQ_CLASSES; voice: a serq_voice, or NULL. */
int32_t classify_clip(const int16_t *samples, uint32_t count, int32_t *scores, const void *voice)
{
    static serq_state state;
    serq_init(&state);
#ifdef SERQ_VOICE_MOST
    serq_use_voice(&state, voice);
#else
    (void)voice;
#endif
    int result = serq_push(&state, samples, count);
    return result < 0 ? result : serq_classify(&state, scores);
}

uint32_t state_bytes(void)
{
    return sizeof(serq_state);
}

/* A clip's pooled features, SERQ_FEATURES integers; returns 0, or an error of serq.h. `memory`:
 * state_bytes(), at a multiple of 8; several may be in use at once. */
int32_t clip_features(void *memory, const int16_t *samples, uint32_t count, int32_t *features)
{
    serq_state *state = memory;
    int result;
    const int32_t *pooled;

    serq_init(state);
    result = serq_push(state, samples, count);
    if (result < 0) {
        return result;
    }
    pooled = serq_features(state);
    if (pooled == NULL) {
        return SERQ_ERROR_TOO_SHORT;
    }
    memcpy(features, pooled, SERQ_FEATURES * sizeof(int32_t));
    return 0;
}

#ifdef SERQ_CAN_STREAM

uint32_t stream_bytes(void)
{
    return sizeof(serq_stream);
}

void stream_start(void *stream)
{
    serq_stream_init(stream);
}

#ifdef SERQ_VOICE_MOST
void stream_use_voice(void *stream, void *voice, int32_t learns)
{
    serq_stream_use_voice(stream, voice, learns);
}
#endif

/* Takes samples until a decision is due or none is left, and returns how many; `decided` says
 * which. `decision`: answer, level, frames and margin, then SERQ_CLASSES scores. */
uint32_t stream_push(void *stream, const int16_t *samples, uint32_t count, int32_t *decision,
                     int32_t *decided)
{
    serq_decision found;
    uint32_t left = count;
    *decided = serq_stream_push(stream, &samples, &left, &found);
    if (*decided > 0) {
        decision[0] = found.answer;
        decision[1] = found.level;
        decision[2] = found.frames;
        decision[3] = (int32_t)found.margin;
        memcpy(decision + 4, found.scores, sizeof found.scores);
    }
    return count - left;
}

#endif

/* NOLINTEND(misc-use-internal-linkage) */
