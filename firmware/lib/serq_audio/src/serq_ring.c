/* One writer, one reader. Each count is stored by one side and loaded by the other, with what it
 * stands for: the writer publishes samples by storing `written` after them, the reader frees room
 * by storing `read` after it has copied. */
#include "serq_audio.h"

#include <stddef.h>

#if defined(__GNUC__)
#define LOAD(count) __atomic_load_n(&(count), __ATOMIC_ACQUIRE)
#define STORE(count, value) __atomic_store_n(&(count), (value), __ATOMIC_RELEASE)
#else
#error "say here how your compiler loads and stores a word with acquire and release order"
#endif

bool serq_ring_init(serq_ring *ring, int16_t *samples, uint32_t size)
{
    bool good = samples != NULL && size > 0 && (size & (size - 1)) == 0;
    if (ring == NULL) {
        return false;
    }
    ring->samples = samples;
    ring->size = good ? size : 0;
    ring->written = 0;
    ring->read = 0;
    ring->overruns = 0;
    ring->gaps = 0;
    ring->passed = 0;
    return good;
}

void serq_ring_write(serq_ring *ring, const int16_t *samples, uint32_t count)
{
    uint32_t written = ring->written;
    uint32_t room =
        LOAD(ring->passed) == ring->gaps ? ring->size - (written - LOAD(ring->read)) : 0;
    uint32_t taken = count < room ? count : room;

    for (uint32_t i = 0; i < taken; i++) {
        ring->samples[(written + i) & (ring->size - 1)] = samples[i];
    }
    STORE(ring->written, written + taken);
    if (taken < count) {
        STORE(ring->overruns, ring->overruns + (count - taken));
        if (LOAD(ring->passed) == ring->gaps) {
            STORE(ring->gaps, ring->gaps + 1);
        }
    }
}

uint32_t serq_ring_read(serq_ring *ring, int16_t *samples, uint32_t capacity)
{
    /* before `written`, so that all samples before a gap are seen with it */
    uint32_t gaps = LOAD(ring->gaps);
    uint32_t read = ring->read;
    uint32_t waiting = LOAD(ring->written) - read;
    uint32_t taken = capacity < waiting ? capacity : waiting;
    for (uint32_t i = 0; i < taken; i++) {
        samples[i] = ring->samples[(read + i) & (ring->size - 1)];
    }
    STORE(ring->read, read + taken);
    if (waiting == 0) {
        STORE(ring->passed, gaps);
    }
    return taken;
}

uint32_t serq_ring_waiting(const serq_ring *ring)
{
    return LOAD(ring->written) - ring->read;
}

uint32_t serq_ring_overruns(const serq_ring *ring)
{
    return LOAD(ring->overruns);
}

uint32_t serq_ring_gaps(const serq_ring *ring)
{
    return ring->passed;
}
