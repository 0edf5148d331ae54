/* serq: live audio. A decision after each block of frames, on a window of the last blocks (SPEC.md
 * section 12).
 *
 *     static serq_stream stream;
 *     serq_decision decision;
 *     serq_stream_init(&stream);
 *     for (each piece of audio: const int16_t *samples, uint32_t count) {
 *         while (serq_stream_push(&stream, &samples, &count, &decision) > 0) {
 *             // decision.answer: the index of a label, SERQ_NO_SPEECH or SERQ_NOT_SURE
 *         }
 *     }
 *
 * Pieces may have any length, one sample or several blocks: no decision is lost, and decisions do
 * not depend on how audio is cut. The caller owns all memory, sizeof(serq_stream): it grows with
 * SERQ_BLOCKS, not with the window's length. A stream has no end and no counter that could
 * overflow. After a gap (samples that were lost), call serq_stream_init(). */
#ifndef SERQ_STREAM_H
#define SERQ_STREAM_H

#include "serq.h"

#ifndef SERQ_BLOCKS
#error \
    "this model has no parameters for live audio: its specification pads clips, or it was made without them; serq-mcu quantize makes them"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Places for the blocks that a window has besides the one that ends it. */
#define SERQ_BLOCK_PLACES (SERQ_BLOCKS > 1 ? SERQ_BLOCKS - 1 : 1)
#define SERQ_FLOOR_PLACES (SERQ_FLOOR_BLOCKS > 0 ? SERQ_FLOOR_BLOCKS : 1)

typedef struct {
    int32_t scores[SERQ_CLASSES]; /* averaged over decisions as SERQ_SMOOTHING says; zeros without
                                     speech */
    uint32_t margin;              /* of the best of them over the second best */
    uint16_t frames;              /* of the window; 0 without speech */
    int16_t level; /* of the newest block: Q8 log2 of power relative to full scale; dB = level
                    * 3.0103 / 256 */
    int8_t answer; /* index of a label, SERQ_NO_SPEECH or SERQ_NOT_SURE */
} serq_decision;

/* As serq_histogram, but two words in one if counts, SERQ_BLOCK_FRAMES at most, fit a byte. */
#if SERQ_BLOCK_FRAMES < 256
#define SERQ_PACKED_WORDS 2
#else
#define SERQ_PACKED_WORDS 1
#endif

typedef struct {
    uint32_t words[SERQ_HISTOGRAM_BINS / 2 / SERQ_PACKED_WORDS];
} serq_block_histogram;

/* A block that has ended. */
typedef struct {
#ifndef SERQ_SEQUENCE
    serq_pool pools[SERQ_POOLS * SERQ_TIERS];
#if SERQ_HISTOGRAMS > 0
    serq_block_histogram histograms[SERQ_HISTOGRAMS * SERQ_TIERS];
#endif
    serq_count counts[SERQ_SELECTIONS * SERQ_TIERS];
    serq_tiers tiers;
    int16_t first[SERQ_POOLS], last[SERQ_POOLS];
#endif
    uint16_t speech; /* frames that are speech */
} serq_block;

#ifdef SERQ_VOICE_MOST
/* What a voice is learned from, besides the index of a label: the emotion that was asked for. */
#define SERQ_LEARN_NOTHING (-2)
#define SERQ_LEARN_ANSWERS (-1) /* the stream's own, where it is sure */
#endif

/* Everything a stream remembers. Its members are its own affair. */
typedef struct {
    serq_state state; /* its pools hold the block that is being heard */
    serq_block older[SERQ_BLOCK_PLACES];
    int32_t sums[SERQ_CLASSES];        /* averages of scores times 2^SERQ_SMOOTHING */
    int32_t level_sum;                 /* over the frames of this block that were transformed */
    serq_floor quiet;                  /* the floor of loudness */
    int16_t floors[SERQ_FLOOR_PLACES]; /* of noise, of earlier blocks */
    int16_t quiet_floors[SERQ_FLOOR_PLACES]; /* of loudness, likewise */
    uint16_t heard;                          /* frames of this block that were transformed */
    uint8_t next;       /* the place for the next block that ends: after the newest */
    uint8_t blocks;     /* that have ended and still belong to the window */
    uint8_t next_floor; /* the place for the next floors */
    bool awake;         /* whether all further frames of this block are transformed */
    uint8_t fresh;      /* whether averages start with the next decision */
#ifdef SERQ_VOICE_MOST
    serq_voice *voice; /* or NULL */
    int8_t learns;     /* a label, SERQ_LEARN_ANSWERS or SERQ_LEARN_NOTHING */
    uint8_t wait;      /* blocks until a window shares none with the one that was learned last */
#endif
} serq_stream;

/* Forget all that was heard; it comes before serq_stream_push(). NULL is passed over. Time:
 * constant. */
void serq_stream_init(serq_stream *stream);

/* Take samples of mono 16-bit PCM at SERQ_SAMPLE_RATE until a decision is due or none is left;
 * *samples and *count move past those taken. Returns 1 when a block has ended: `decision` is
 * written, call again with what is left. Returns 0 when all samples are taken; SERQ_ERROR_ARGUMENT
 * if any pointer is NULL (but *samples may be, if *count is 0) or SERQ_ERROR_NO_INIT, with nothing
 * taken. Time: one frame's transform for every SERQ_HOP_LENGTH samples, and the network's for every
 * block unless there is no speech in the window. While nobody speaks and nothing rises, a frame
 * costs the sums of its samples alone, but for the first one of a block. */
int serq_stream_push(serq_stream *stream, const int16_t **samples, uint32_t *count,
                     serq_decision *decision);

/* How likely the best class of a decision is the right one: percent, 0 to 95 in steps of
 * SERQ_CONFIDENCE_STEP, as calibrated on the validation clips of the model's training. Or
 * SERQ_UNKNOWN_CONFIDENCE: without speech, and of a model that was not calibrated. */
#define SERQ_CONFIDENCE_STEP 5
#define SERQ_UNKNOWN_CONFIDENCE (-1)
int serq_confidence(const serq_decision *decision);

#ifdef SERQ_VOICE_MOST
/* From now on, until serq_stream_init(), answers are of this voice, and it learns from each window
 * with speech that shares no block with the one before: the emotion that was asked for
 * (enrolment), the stream's own answers, or nothing. NULL: no voice. Returns 0, or
 * SERQ_ERROR_ARGUMENT or SERQ_ERROR_NO_INIT. */
int serq_stream_use_voice(serq_stream *stream, serq_voice *voice, int learns);
#endif

#ifdef __cplusplus
}
#endif

#endif
