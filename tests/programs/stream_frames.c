/* A test program with a trace: the samples of a piece (uint16) and 16-bit samples on stdin, heard as a stream; how many frames of each block
 * were transformed goes to stdout as int32. */
#include <stdio.h>

#include "serq_stream.h"
#include "serq_trace.h"

static int32_t transformed;

void serq_trace(uint8_t stage, const void *values, uint16_t count, uint8_t size)
{
    (void)values;
    (void)count;
    (void)size;
    transformed += stage == SERQ_STAGE_LEVEL;
}

int main(void)
{
    static serq_stream stream;
    static int16_t piece[UINT16_MAX];
    uint16_t size;
    size_t have;

    if (fread(&size, sizeof size, 1, stdin) != 1) {
        return 2;
    }
    serq_stream_init(&stream);
    while ((have = fread(piece, sizeof *piece, size, stdin)) > 0) {
        const int16_t *samples = piece;
        uint32_t count = (uint32_t)have;
        serq_decision decision;
        while (serq_stream_push(&stream, &samples, &count, &decision) > 0) {
            if (fwrite(&transformed, sizeof transformed, 1, stdout) != 1) {
                return 2;
            }
            transformed = 0;
        }
    }
    return 0;
}
