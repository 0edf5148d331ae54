#include "serq.h"

#ifdef SERQ_BLOCKS

#include <string.h>

#include "serq_checks.h"
#include "serq_stream.h"

SERQ_CHECK(stream, sizeof(serq_stream) <= SERQ_STREAM_BYTES)

/* Places lie in a ring; the newest block that has ended is before `next`. */
static unsigned place(const serq_stream *stream, unsigned age)
{
    return stream->next >= age ? stream->next - age : stream->next + SERQ_BLOCK_PLACES - age;
}

void serq_stream_init(serq_stream *stream)
{
    serq_init(&stream->state);
    stream->level_sum = 0;
    stream->next = 0;
    stream->blocks = 0;
    stream->fresh = 1;
}

/* pool += the sums of a block that lies just before its first frame: the difference between the two
 * is in neither. */
static void prepend(serq_pool *pool, const serq_block_pool *block)
{
    /* its square modulo 2^32 is the square of the signed one, below 2^32 */
    uint32_t edge = (uint32_t)(pool->first - block->last);
    pool->square += (uint64_t)block->square_high << 32 | block->square;
    pool->delta += ((uint64_t)block->delta_high << 32 | block->delta) + edge * edge;
    pool->sum += block->sum;
    pool->first = block->first;
}

static void pack(const serq_pool *pool, serq_block_pool *block)
{
    block->square = (uint32_t)pool->square;
    block->square_high = (uint16_t)(pool->square >> 32);
    block->delta = (uint32_t)pool->delta;
    block->delta_high = (uint16_t)(pool->delta >> 32);
    block->sum = pool->sum;
    block->first = pool->first;
    block->last = pool->last;
}

/* The state's pools, which hold a block, become those of the window; the block itself goes to the
 * ring, over the oldest if that is full. */
static void merge_blocks(serq_stream *stream)
{
    for (unsigned i = 0; i < SERQ_POOLS; i++) {
        serq_pool *pool = stream->state.pools + i;
        serq_pool newest = *pool;
        for (unsigned age = 1; age <= stream->blocks; age++) {
            prepend(pool, &stream->older[place(stream, age)][i]);
        }
        pack(&newest, &stream->older[stream->next][i]);
    }
}

/* The block that was merged is one of the older from now on. */
static void keep_block(serq_stream *stream, int16_t level)
{
    stream->levels[stream->next] = level;
    stream->next = (uint8_t)(stream->next + 1 == SERQ_BLOCK_PLACES ? 0 : stream->next + 1);
    stream->blocks =
        (uint8_t)(stream->blocks + 1U < SERQ_BLOCKS ? stream->blocks + 1 : stream->blocks);
}

/* A window does not begin with a quiet block. */
static void drop_quiet(serq_stream *stream)
{
    while (stream->blocks > 0 && stream->levels[place(stream, stream->blocks)] < SERQ_GATE_LEVEL) {
        stream->blocks--;
    }
}

/* Averages of scores; their sums cannot overflow, as the largest score times 2^SERQ_SMOOTHING does
 * not (SPEC.md section 5). */
static void smooth(serq_stream *stream, int32_t *scores)
{
    for (unsigned i = 0; i < SERQ_CLASSES; i++) {
        int32_t sum = stream->fresh
                          ? scores[i] * ((int32_t)1 << SERQ_SMOOTHING)
                          : stream->sums[i] - (stream->sums[i] >> SERQ_SMOOTHING) + scores[i];
        stream->sums[i] = sum;
        scores[i] = sum >> SERQ_SMOOTHING;
    }
    stream->fresh = 0;
}

/* The best score's lead over all others. */
static uint32_t margin(const int32_t *scores, unsigned best)
{
    uint32_t least = UINT32_MAX;
    for (unsigned i = 0; i < SERQ_CLASSES; i++) {
        uint32_t lead = (uint32_t)scores[best] - (uint32_t)scores[i];
        least = i != best && lead < least ? lead : least;
    }
    return least;
}

static void decide(serq_stream *stream, serq_decision *decision)
{
    serq_state *state = &stream->state;
    state->frames = (stream->blocks + (uint32_t)1) * SERQ_BLOCK_FRAMES;
    decision->frames = (uint16_t)state->frames;
    merge_blocks(stream);
    serq_classify(state, decision->scores);
    smooth(stream, decision->scores);
    uint8_t best = serq_argmax(decision->scores, SERQ_CLASSES);
    uint32_t enough = SERQ_UNSURE_MARGIN;
    decision->margin = margin(decision->scores, best);
    decision->answer = (int8_t)(decision->margin < enough ? SERQ_NOT_SURE : best);
    keep_block(stream, decision->level);
}

static void be_silent(serq_stream *stream, serq_decision *decision)
{
    memset(decision->scores, 0, sizeof decision->scores);
    decision->margin = 0;
    decision->frames = 0;
    decision->answer = SERQ_SILENCE;
    stream->fresh = 1;
}

static void end_block(serq_stream *stream, serq_decision *decision)
{
    decision->level =
        (int16_t)serq_floor_div(stream->level_sum + SERQ_BLOCK_FRAMES / 2, SERQ_BLOCK_FRAMES);
    drop_quiet(stream);
    if (stream->blocks == 0 && decision->level < SERQ_GATE_LEVEL) {
        be_silent(stream, decision);
    } else {
        decide(stream, decision);
    }
    stream->level_sum = 0;
    stream->state.frames = 0; /* the next frame begins a block; it shares samples with this one */
}

int serq_stream_push(serq_stream *stream, const int16_t **samples, uint32_t *count,
                     serq_decision *decision)
{
    serq_state *state = &stream->state;
    while (*count > 0) {
        uint32_t room = (uint32_t)(SERQ_FRAME_LENGTH - state->filled);
        uint32_t taken = *count < room ? *count : room;
        serq_push(state, *samples, taken);
        *samples += taken;
        *count -= taken;
        if (taken == room) { /* a frame was transformed */
            stream->level_sum += serq_model_level(state);
            if (state->frames == SERQ_BLOCK_FRAMES) {
                end_block(stream, decision);
                return 1;
            }
        }
    }
    return 0;
}

#else
typedef char serq_stream_is_empty; /* ISO C wants something in a file */
#endif
