/* Test program: a table of logarithms, then records of a count (uint16) and so many 16-bit samples on stdin; their loudness on stdout. */
#include <stdio.h>

#include "serq_frontend.h"

enum { LARGEST = 2048 };

int main(void)
{
    static uint16_t log_table[128];
    static int16_t samples[LARGEST + 1];
    uint16_t count;
    if (fread(log_table, sizeof log_table, 1, stdin) != 1) {
        return 2;
    }
    for (unsigned record = 0; fread(&count, sizeof count, 1, stdin) == 1; record++) {
        int16_t *at = samples + record % 2; /* also where two samples do not lie in a word */
        if (count > LARGEST || fread(at, sizeof *at, count, stdin) != count) {
            return 2;
        }
        int32_t loudness = serq_loudness(at, count, log_table);
        if (fwrite(&loudness, sizeof loudness, 1, stdout) != 1) {
            return 2;
        }
    }
    return 0;
}
