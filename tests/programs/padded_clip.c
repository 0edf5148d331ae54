/* Test program: a model that pads its clips. Pushes a clip of argv[1] samples in pieces of argv[2], asks twice, goes on, starts again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serq.h"

static int16_t clip[20000];
static serq_state state;
static int32_t pooled[SERQ_FEATURES];

static int push(uint32_t count, uint32_t piece)
{
    int ready = 0;
    for (uint32_t start = 0; start < count; start += piece) {
        ready = serq_push(&state, clip + start, piece < count - start ? piece : count - start);
    }
    return ready;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    uint32_t count = (uint32_t)strtoul(argv[1], NULL, 10), piece = (uint32_t)strtoul(argv[2], NULL, 10);
    for (uint32_t i = 0; i < count; i++) {
        clip[i] = (int16_t)(i * i % 20011 - 10000);
    }
    serq_init(&state);
    int ready = push(count, piece), label = serq_classify(&state, NULL);
    if (label < 0) {
        printf("%d %d\n", ready, label);
        return 0;
    }
    memcpy(pooled, serq_features(&state), sizeof pooled);
    int again = serq_classify(&state, NULL), refused = serq_push(&state, clip, 1);
    serq_init(&state);
    push(count, count);
    int same = memcmp(pooled, serq_features(&state), sizeof pooled) == 0;
    printf("%d %d %d %d %d\n", ready, label, again == label, refused, same);
    return 0;
}
