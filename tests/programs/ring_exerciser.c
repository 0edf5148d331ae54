/* A ring between two threads: the writer counts upwards, the reader checks that numbers follow on each other
 * but where a gap is announced, and that nothing is lost uncounted. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "serq_audio.h"

enum { SIZE = 256, TOTAL = 2000000 };

static serq_ring ring;
static uint32_t finished; /* set by the writer when all is written */

static void *write_all(void *unused)
{
    int16_t samples[97];
    uint32_t next = 0;

    while (next < TOTAL) {
        uint32_t count = next % 97 + 1;
        for (uint32_t i = 0; i < count; i++) {
            samples[i] = (int16_t)(uint16_t)(next + i);
        }
        serq_ring_write(&ring, samples, count);
        next += count;
    }
    __atomic_store_n(&finished, next, __ATOMIC_RELEASE);
    return unused;
}

int main(void)
{
    static int16_t storage[SIZE];
    int16_t samples[61];
    uint32_t received = 0, gaps = 0, next = 0, wrong = 0;
    pthread_t writer;

    serq_ring_init(&ring, storage, SIZE);
    if (pthread_create(&writer, NULL, write_all, NULL) != 0) {
        return 2;
    }
    for (;;) {
        uint32_t done = __atomic_load_n(&finished, __ATOMIC_ACQUIRE);
        uint32_t count = serq_ring_read(&ring, samples, 61);
        if (count > 0 && serq_ring_gaps(&ring) != gaps) {
            gaps = serq_ring_gaps(&ring);
            next = (uint16_t)samples[0];
        }
        for (uint32_t i = 0; i < count; i++) {
            wrong += (uint16_t)samples[i] != (uint16_t)next++;
        }
        received += count;
        if (count == 0 && done != 0) {
            pthread_join(writer, NULL);
            printf("%u %u %u %u %u\n", done, received, serq_ring_overruns(&ring), gaps, wrong);
            return done == received + serq_ring_overruns(&ring) && wrong == 0 ? 0 : 1;
        }
        if (received % 7 == 0) { /* now and then too slow */
            sched_yield();
        }
    }
}
