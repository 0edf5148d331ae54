/* An application of loudness.c's records, whose count is never 0 and which end with the input: their loudness. */
#include "port.h"
#include "serq_frontend.h"

enum { LARGEST = 2048 };

static bool whole(void *to, size_t bytes)
{
    size_t have = 0, more = 1;
    while (have < bytes && more > 0) {
        more = port_read((uint8_t *)to + have, bytes - have);
        have += more;
    }
    return have == bytes;
}

void application_run(void)
{
    static uint16_t log_table[128];
    static int16_t samples[LARGEST + 1];
    uint16_t count;
    bool more = whole(log_table, sizeof log_table);
    for (unsigned record = 0; more && whole(&count, sizeof count) && count <= LARGEST; record++) {
        int16_t *at = samples + record % 2; /* also where two samples do not lie in a word */
        more = whole(at, count * sizeof *at);
        int32_t loudness = serq_loudness(at, count, log_table);
        port_write((const uint8_t *)&loudness, sizeof loudness);
    }
}
