/* An application for the tests of streams: the samples of a piece (uint16), then 16-bit samples until the input ends; pushes them piece by
 * piece and writes every decision as int32: answer, level, frames, margin, scores. */
#include "port.h"
#include "serq_stream.h"

enum { LARGEST = 1024 };

/* Bytes read, fewer than `count` at the end of the input. */
static size_t read_all(void *bytes, size_t count)
{
    size_t have = 0, more;
    while (have < count && (more = port_read((uint8_t *)bytes + have, count - have)) > 0) {
        have += more;
    }
    return have;
}

static void give(const serq_decision *decision)
{
    int32_t values[4 + SERQ_CLASSES] = {decision->answer, decision->level, decision->frames, (int32_t)decision->margin};
    for (int i = 0; i < SERQ_CLASSES; i++) {
        values[4 + i] = decision->scores[i];
    }
    port_write((const uint8_t *)values, sizeof values);
}

void application_run(void)
{
    static serq_stream stream;
    static int16_t piece[LARGEST];
    uint16_t size = 0;
    size_t have;

    read_all(&size, sizeof size);
    serq_stream_init(&stream);
    while (size <= LARGEST && (have = read_all(piece, size * sizeof *piece)) > 0) {
        const int16_t *samples = piece;
        uint32_t count = (uint32_t)(have / sizeof *piece);
        serq_decision decision;
        while (serq_stream_push(&stream, &samples, &count, &decision) > 0) {
            give(&decision);
        }
    }
}
