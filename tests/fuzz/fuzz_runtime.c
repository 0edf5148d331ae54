/* The recogniser on any samples in any pieces: the same answer as in one piece. The first 8 bytes choose the pieces. */
#include <stdlib.h>
#include <string.h>

#include "serq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECES = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static serq_state whole, pieced;
    int32_t scores[SERQ_CLASSES], others[SERQ_CLASSES];
    uint32_t count, done = 0;
    int16_t *samples;

    if (size < PIECES + 2) {
        return 0;
    }
    count = (uint32_t)(size - PIECES) / 2;
    samples = malloc(count * sizeof *samples);
    memcpy(samples, data + PIECES, count * sizeof *samples);
    serq_init(&whole);
    serq_init(&pieced);
    int ready = serq_push(&whole, samples, count), label = 0;
    for (uint32_t i = 0; done < count; i++) {
        uint32_t piece = data[i % PIECES] + 1u < count - done ? data[i % PIECES] + 1u : count - done;
        label = serq_push(&pieced, samples + done, piece);
        done += piece;
    }
    if (label != ready) {
        abort();
    }
    label = serq_classify(&whole, scores);
    if (label != serq_classify(&pieced, others) || (label == SERQ_ERROR_TOO_SHORT) != (ready == 0)) {
        abort();
    }
    if (label >= 0 && (memcmp(scores, others, sizeof scores) != 0 || *serq_label(label) == '\0' || *serq_label(SERQ_CLASSES) != '\0')) {
        abort();
    }
    free(samples);
    return 0;
}
