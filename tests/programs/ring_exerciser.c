/* A ring between two threads: the writer counts upwards, the reader checks that numbers follow on
 * each other except where a gap is announced, and that nothing is lost uncounted. Three phases:
 *
 * turns: the threads take turns by a script, so that every kind of write and read certainly comes;
 *        what each loses, takes and announces is known exactly.
 * slow:  the writer runs free, and the reader waits for a loss before it reads. Only the ring
 *        stands between the threads, and there certainly are gaps.
 * free:  both run free. Whether there are gaps is the scheduler's business.
 *
 * Prints the samples written, received and lost, and the gaps of each phase. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "serq_audio.h"

enum { SIZE = 256, LONGEST = 300, ROUNDS = 32, SLOW_GAPS = 100, FREE_SAMPLES = 1000000 };

typedef struct {
    enum { WRITE, READ } kind;
    uint32_t count;    /* samples to write; room of the reader */
    uint32_t expected; /* samples lost; samples taken */
    uint32_t gaps;     /* announced in this round, after this turn */
} turn;

static const turn turns[] = {
    {WRITE, 200, 0, 0}, /* there is room */
    {READ, 50, 50, 0},
    {WRITE, 90, 0, 0},
    {WRITE, 97, 81, 0}, /* a part of it fits: the first gap */
    {WRITE, 5, 5, 0},   /* nothing fits */
    {READ, 100, 100, 0},
    {WRITE, 40, 40, 0}, /* there is room, but the reader has not passed the gap */
    {READ, 200, 156, 0},
    {WRITE, 10, 10, 0}, /* the ring is empty, but the reader does not know of it */
    {READ, 61, 0, 1},   /* now it does */
    {READ, 61, 0, 1},
    {WRITE, 30, 0, 1},
    {READ, 61, 30, 1},   /* first samples after the gap */
    {WRITE, 300, 44, 1}, /* more than the ring: the second gap */
    {READ, 256, 256, 1},
    {READ, 1, 0, 2},
    {WRITE, 256, 0, 2}, /* the ring is filled exactly: no gap */
    {READ, 300, 256, 2},
    {READ, 1, 0, 2},
};

enum { TURNS = sizeof turns / sizeof turns[0], GAPS_OF_A_ROUND = 2 };

static serq_ring ring;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint32_t turns_done;
static uint32_t wrong_turns; /* as `turns_done`, guarded by `mutex`; constant after all turns */

static uint32_t stop; /* the reader has seen enough */

static void begin_turn(uint32_t number)
{
    pthread_mutex_lock(&mutex);
    while (turns_done < number) {
        pthread_cond_wait(&changed, &mutex);
    }
    pthread_mutex_unlock(&mutex);
}

static void end_turn(uint32_t number, int right)
{
    pthread_mutex_lock(&mutex);
    if (!right) {
        fprintf(stderr, "turn %u of round %u is wrong\n", number % TURNS, number / TURNS);
        wrong_turns++;
    }
    turns_done = number + 1;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
}

/* ---- writer ---- */

static uint32_t written;

static void write_next(uint32_t count)
{
    int16_t samples[LONGEST];

    for (uint32_t i = 0; i < count; i++) {
        samples[i] = (int16_t)(uint16_t)(written + i);
    }
    serq_ring_write(&ring, samples, count);
    written += count;
}

static void *write_all(void *unused)
{
    for (uint32_t number = 0; number < ROUNDS * TURNS; number++) {
        const turn *now = &turns[number % TURNS];
        if (now->kind == WRITE) {
            begin_turn(number);
            uint32_t before = serq_ring_overruns(&ring);
            write_next(now->count);
            end_turn(number, serq_ring_overruns(&ring) - before == now->expected);
        }
    }
    begin_turn(ROUNDS * TURNS); /* when the reader's last turn is over */
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        uint32_t before = serq_ring_overruns(&ring);
        write_next(written % 97 + 1);
        if (serq_ring_overruns(&ring) != before) {
            sched_yield(); /* else the writer would only count what is lost */
        }
    }
    return unused;
}

/* ---- reader ---- */

static uint32_t received, gaps, next, wrong_samples;

static uint32_t read_next(uint32_t capacity)
{
    int16_t samples[LONGEST];
    uint32_t count = serq_ring_read(&ring, samples, capacity);

    if (count > 0 && serq_ring_gaps(&ring) != gaps) {
        gaps = serq_ring_gaps(&ring);
        next = (uint16_t)samples[0];
    }
    for (uint32_t i = 0; i < count; i++) {
        wrong_samples += (uint16_t)samples[i] != (uint16_t)next++;
    }
    received += count;
    return count;
}

static void read_in_turns(void)
{
    for (uint32_t number = 0; number < ROUNDS * TURNS; number++) {
        const turn *now = &turns[number % TURNS];
        if (now->kind == READ) {
            begin_turn(number);
            uint32_t taken = read_next(now->count);
            uint32_t announced = number / TURNS * GAPS_OF_A_ROUND + now->gaps;
            end_turn(number, taken == now->expected && serq_ring_gaps(&ring) == announced);
        }
    }
}

static void read_slowly(void)
{
    uint32_t enough = gaps + SLOW_GAPS;

    while (gaps < enough) {
        uint32_t before = serq_ring_overruns(&ring);
        while (serq_ring_overruns(&ring) == before) {
            sched_yield();
        }
        while (read_next(61) > 0) {
        }
    }
}

static void read_freely(void)
{
    uint32_t enough = received + FREE_SAMPLES;

    while (received < enough) {
        if (read_next(61) == 0) {
            sched_yield();
        }
    }
}

int main(void)
{
    static int16_t storage[SIZE];
    pthread_t writer;

    serq_ring_init(&ring, storage, SIZE);
    if (pthread_create(&writer, NULL, write_all, NULL) != 0) {
        return 2;
    }
    read_in_turns();
    begin_turn(ROUNDS * TURNS);
    if (wrong_turns > 0) {
        return 1; /* what runs free might never end in such a ring */
    }
    uint32_t in_turns = serq_ring_gaps(&ring);
    read_slowly();
    uint32_t slow = gaps - in_turns;
    read_freely();
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(writer, NULL);
    while (read_next(61) > 0) {
    }
    printf("%u %u %u %u %u %u\n", written, received, serq_ring_overruns(&ring), in_turns, slow,
           gaps - in_turns - slow);
    if (wrong_samples > 0) {
        fprintf(stderr, "%u samples do not follow on the one before\n", wrong_samples);
    }
    return written == received + serq_ring_overruns(&ring) && wrong_samples == 0 ? 0 : 1;
}
