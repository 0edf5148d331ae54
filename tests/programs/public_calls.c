/* Test program: what the public functions promise of NULL, order and sizes. Prints each promise that does not hold. */
#include <stdio.h>
#include <string.h>

#include "serq.h"
#include "serq_audio.h"
#ifdef SERQ_BLOCKS
#include "serq_stream.h"
#endif

enum { RATE = SERQ_SAMPLE_RATE, RING = 256, GUARD = 0x5A };

static int16_t second[RATE];
static int broken;

#define HOLDS(promise) holds((promise) ? NULL : #promise)

static void holds(const char *text)
{
    if (text != NULL) {
        puts(text);
        broken = 1;
    }
}

/* A state that serq_init() never saw is left as it is. */
static void order(serq_state *state, int fill)
{
    static serq_state before;
    memset(state, fill, sizeof *state);
    memcpy(&before, state, sizeof before);
    HOLDS(serq_push(state, second, RATE) == SERQ_ERROR_NO_INIT);
    HOLDS(serq_push(state, NULL, 0) == SERQ_ERROR_NO_INIT);
    HOLDS(serq_classify(state, NULL) == SERQ_ERROR_NO_INIT);
    HOLDS(serq_features(state) == NULL);
    HOLDS(serq_decide(state, NULL) == SERQ_ERROR_NO_INIT);
    HOLDS(memcmp(&before, state, sizeof before) == 0);
}

static void clips(void)
{
    static serq_state state;
    struct {
        int32_t before, scores[SERQ_CLASSES], after;
    } around;
    memset(&around, GUARD, sizeof around);
    order(&state, 0);
    order(&state, 0xFF);
    order(&state, GUARD);

    serq_init(NULL);
    HOLDS(serq_push(NULL, second, RATE) == SERQ_ERROR_ARGUMENT);
    HOLDS(serq_classify(NULL, around.scores) == SERQ_ERROR_ARGUMENT);
    HOLDS(serq_decide(NULL, around.scores) == SERQ_ERROR_ARGUMENT);
    HOLDS(serq_features(NULL) == NULL);

    serq_init(&state);
    HOLDS(serq_push(&state, NULL, 0) == 0);
    HOLDS(serq_push(&state, NULL, 1) == SERQ_ERROR_ARGUMENT);
    HOLDS(serq_classify(&state, around.scores) == SERQ_ERROR_TOO_SHORT);
    HOLDS(serq_features(&state) == NULL);
    HOLDS(serq_push(&state, second, RATE) == 1);
    HOLDS(serq_push(&state, NULL, 1) == SERQ_ERROR_ARGUMENT);

    int answer = serq_classify(&state, around.scores);
    HOLDS(answer >= SERQ_NO_SPEECH && answer < SERQ_CLASSES);
    HOLDS(around.before == around.after);
    HOLDS(serq_classify(&state, NULL) == answer);
    HOLDS(serq_features(&state) != NULL);
    HOLDS(serq_decide(&state, NULL) == answer);

    int pushed = serq_push(&state, second, RATE);
    HOLDS(pushed == (SERQ_PADDING > 0 ? SERQ_ERROR_ENDED : 1));
    serq_init(&state);
    pushed = 0;
    for (uint32_t pushes = 0; pushes <= SERQ_MAX_FRAMES && pushed >= 0; pushes++) {
        pushed = serq_push(&state, second, SERQ_HOP_LENGTH);
    }
    while (pushed >= 0) {
        pushed = serq_push(&state, second, SERQ_HOP_LENGTH);
    }
    HOLDS(pushed == SERQ_ERROR_TOO_LONG);
    HOLDS(state.frames <= SERQ_MAX_FRAMES);
    HOLDS(serq_classify(&state, NULL) >= SERQ_NO_SPEECH);
}

static void labels(void)
{
    HOLDS(strcmp(serq_label(SERQ_NO_SPEECH), "no speech") == 0);
    HOLDS(strcmp(serq_label(SERQ_NOT_SURE), "not sure") == 0);
    for (int index = SERQ_ERROR_TOO_SHORT; index >= SERQ_ERROR_NO_INIT; index--) {
        HOLDS(strcmp(serq_label(index), "") == 0);
    }
    HOLDS(strcmp(serq_label(SERQ_CLASSES), "") == 0);
    HOLDS(strcmp(serq_label(-2147483647 - 1), "") == 0);
}

#ifdef SERQ_BLOCKS
static void streams(void)
{
    static serq_stream stream, before;
    serq_decision decision;
    const int16_t *samples = second, *nothing = NULL;
    uint32_t count = RATE, none = 0;

    HOLDS(serq_stream_push(&stream, &samples, &count, &decision) == SERQ_ERROR_NO_INIT);
    serq_stream_init(NULL);
    serq_stream_init(&stream);
    memcpy(&before, &stream, sizeof before);
    HOLDS(serq_stream_push(NULL, &samples, &count, &decision) == SERQ_ERROR_ARGUMENT);
    HOLDS(serq_stream_push(&stream, NULL, &count, &decision) == SERQ_ERROR_ARGUMENT);
    HOLDS(serq_confidence(NULL) == SERQ_UNKNOWN_CONFIDENCE);
    HOLDS(serq_stream_push(&stream, &samples, NULL, &decision) == SERQ_ERROR_ARGUMENT);
    HOLDS(serq_stream_push(&stream, &samples, &count, NULL) == SERQ_ERROR_ARGUMENT);
    HOLDS(serq_stream_push(&stream, &nothing, &count, &decision) == SERQ_ERROR_ARGUMENT);
    HOLDS(samples == second && count == RATE);
    HOLDS(serq_stream_push(&stream, &nothing, &none, &decision) == 0);
    HOLDS(memcmp(&before, &stream, sizeof before) == 0);

    uint32_t decisions = 0;
    while (serq_stream_push(&stream, &samples, &count, &decision) > 0) {
        decisions++;
    }
    HOLDS(samples == second + RATE && count == 0);
    HOLDS(decisions > 0);
}
#endif

/* What is no ring has no room. */
static void rings(void)
{
    static int16_t storage[RING], taken[RING];
    serq_ring ring;
    HOLDS(!serq_ring_init(NULL, storage, RING));
    for (uint32_t size = 0; size <= RING; size++) {
        bool power = size > 0 && (size & (size - 1)) == 0;
        HOLDS(serq_ring_init(&ring, storage, size) == power);
        serq_ring_write(&ring, second, RING);
        HOLDS(serq_ring_read(&ring, taken, RING) == (power ? size : 0));
        HOLDS(serq_ring_overruns(&ring) == RING - (power ? size : 0));
    }
    HOLDS(!serq_ring_init(&ring, NULL, RING));
    serq_ring_write(&ring, second, RING);
    HOLDS(serq_ring_read(&ring, taken, RING) == 0);
}

int main(void)
{
    for (uint32_t i = 0; i < RATE; i++) {
        second[i] = (int16_t)(i * i % 20011 - 10000);
    }
    clips();
    labels();
#ifdef SERQ_BLOCKS
    streams();
#endif
    rings();
    return broken;
}
