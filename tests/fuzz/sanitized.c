/* A model's clips and streams, on each file that is named: the same in pieces as whole. The first 8
 * bytes choose the pieces. Run under sanitizers or valgrind, which say more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serq.h"
#ifdef SERQ_BLOCKS
#include "serq_stream.h"
#endif

enum { PIECES = 8, MOST = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef SERQ_BLOCKS
enum { DECISIONS = 4096 };

static uint32_t listen(const uint8_t *pieces, const int16_t *samples, uint32_t count,
                       serq_decision *found)
{
    static serq_stream stream;
    uint32_t decisions = 0;
    serq_stream_init(&stream);
    for (uint32_t i = 0; count > 0; i++) {
        uint32_t piece = pieces[i % PIECES] * 5u + 1u, left;
        const int16_t *at = samples;
        piece = piece < count ? piece : count;
        left = piece;
        while (serq_stream_push(&stream, &at, &left, found + decisions % DECISIONS) > 0) {
            decisions++;
        }
        samples += piece;
        count -= piece;
    }
    return decisions;
}

static void streams(const uint8_t *data, const int16_t *samples, uint32_t count)
{
    static const uint8_t large[PIECES] = {255, 254, 255, 253, 255, 252, 255, 251};
    static serq_decision some[DECISIONS], others[DECISIONS];
    uint32_t decisions = listen(data, samples, count, some);
    if (decisions != listen(large, samples, count, others)) {
        abort();
    }
    for (uint32_t i = 0; i < decisions && i < DECISIONS; i++) {
        if (some[i].answer != others[i].answer || some[i].margin != others[i].margin ||
            memcmp(some[i].scores, others[i].scores, sizeof some[i].scores) != 0) {
            abort();
        }
    }
}
#endif

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        uint8_t *data = malloc(MOST);
        if (file == NULL || data == NULL) {
            return 2;
        }
        size_t size = fread(data, 1, MOST, file);
        fclose(file);
        LLVMFuzzerTestOneInput(data, size);
#ifdef SERQ_BLOCKS
        uint32_t count = (uint32_t)(size - PIECES) / 2;
        int16_t *samples = malloc(count * sizeof *samples);
        memcpy(samples, data + PIECES, count * sizeof *samples);
        streams(data, samples, count);
        free(samples);
#endif
        free(data);
    }
    return 0;
}
