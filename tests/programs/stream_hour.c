/* A test program: a long recording (16-bit samples on stdin), heard as a stream in pieces of all sizes. Each decision goes to stdout as int64:
 * samples taken so far, answer, level, frames, margin, scores, and then, where an argument is given, the scores of its window as a clip. */
#include <stdio.h>
#include <stdlib.h>

#include "serq_stream.h"

static serq_stream stream;
static int16_t *recording;
static uint32_t length;

static void take_all(void)
{
    size_t room = 0, more;
    do {
        room += 1 << 20;
        recording = realloc(recording, room * sizeof *recording);
        if (recording == NULL) {
            exit(2);
        }
        more = fread(recording + length, sizeof *recording, room - length, stdin);
        length += (uint32_t)more;
    } while (more > 0);
}

/* One sample, a few, a frame, several blocks, in no order. */
static uint32_t next_size(void)
{
    static uint32_t random = 1;
    random = random * 1664525 + 1013904223;
    uint32_t kind = random >> 28;
    return kind == 0 ? 1 : kind < 12 ? 1 + (random >> 8) % 700 : 1 + (random >> 8) % (3 * SERQ_BLOCK_FRAMES * SERQ_HOP_LENGTH);
}

static void classify_window(uint32_t end, uint32_t frames, int32_t *scores)
{
    static serq_state clip;
    uint32_t samples = (frames - 1) * SERQ_HOP_LENGTH + SERQ_FRAME_LENGTH;
    serq_init(&clip);
    clip.grid = stream.state.grid; /* their grid of levels hangs from the same frame */
    if (serq_push(&clip, recording + end - samples, samples) != 1 || clip.frames != frames) {
        exit(3);
    }
    clip.speech = UINT16_MAX; /* the stream's floor decided */
    if (serq_classify(&clip, scores) < 0) {
        exit(3);
    }
}

static void give(uint32_t end, const serq_decision *decision, int also_clips)
{
    int64_t values[5 + 2 * SERQ_CLASSES] = {end, decision->answer, decision->level, decision->frames, decision->margin};
    int32_t scores[SERQ_CLASSES] = {0};
    if (also_clips && decision->frames > 0) {
        classify_window(end, decision->frames, scores);
    }
    for (int i = 0; i < SERQ_CLASSES; i++) {
        values[5 + i] = decision->scores[i];
        values[5 + SERQ_CLASSES + i] = scores[i];
    }
    if (fwrite(values, sizeof values, 1, stdout) != 1) {
        exit(2);
    }
}

int main(int arguments, char **argument)
{
    (void)argument;
    take_all();
    serq_stream_init(&stream);
    for (uint32_t start = 0; start < length;) {
        uint32_t size = next_size(), count = size < length - start ? size : length - start;
        const int16_t *samples = recording + start;
        start += count;
        serq_decision decision;
        while (serq_stream_push(&stream, &samples, &count, &decision) > 0) {
            give((uint32_t)(samples - recording), &decision, arguments > 1);
        }
    }
    free(recording);
    return 0;
}
