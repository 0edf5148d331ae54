/* serq: speech emotion recognition in integers. This is the public header for clips; serq_stream.h
 * is that for live audio.
 *
 *     static serq_state state;
 *     int32_t scores[SERQ_CLASSES];
 *     serq_init(&state);
 *     while (samples arrive) serq_push(&state, samples, count);
 *     int label = serq_classify(&state, scores);       // serq_label(label) is its name
 *
 * The caller owns all memory; its size is sizeof(serq_state). No function allocates, blocks or uses
 * floating point. */
#ifndef SERQ_H
#define SERQ_H

#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 199901L
#ifndef __cplusplus
#error "serq needs ISO C99 or newer"
#endif
#endif

#include <stdbool.h>
#include <stdint.h>

#define SERQ_ABI 7

#include "serq_model.h" /* generated: sizes, names, SERQ_MODEL_ABI */

#if SERQ_MODEL_ABI != SERQ_ABI
#error "serq_model.h was generated for another serq runtime: run serq-mcu export again"
#endif

#include "serq_frontend.h"
#include "serq_network.h"
#include "serq_pool.h"
#include "serq_sequence.h"
#include "serq_speech.h"
#ifdef SERQ_VOICE_MOST
#include "serq_voice.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Answers that are no label's index. */
#define SERQ_NO_SPEECH (-1) /* too few frames are speech, or the class of that name is the best */
#define SERQ_NOT_SURE (-2)  /* of live audio alone: the best score leads by too little */

#define SERQ_ERROR_TOO_SHORT (-3) /* fewer than two frames were pushed */
#define SERQ_ERROR_TOO_LONG \
    (-4) /* more than SERQ_MAX_FRAMES frames: call serq_init() and start again */
#define SERQ_ERROR_ENDED \
    (-5) /* zeros follow the clip already: call serq_init() before more samples */
#define SERQ_ERROR_ARGUMENT (-6) /* a pointer is NULL that may not be */
#define SERQ_ERROR_NO_INIT (-7)  /* serq_init() or serq_stream_init() was not called before */

/* Work area of a frame's transform, and of a decision; never needed at once. */
typedef union {
    struct {
        serq_bin bins[SERQ_FFT_LENGTH / 2 + 1];
#ifdef SERQ_MEL_BANDS
        serq_band bands[SERQ_MEL_BANDS];
#endif
#ifdef SERQ_PITCH_POINTS
        serq_bin lags[SERQ_PITCH_POINTS + 1]; /* the autocorrelation, and what it is made from */
        int32_t pitch[2];
#endif
        int32_t values[SERQ_VALUES]; /* of one feature block at a time */
        int32_t level;               /* of the power within the mel bands, or without them of all */
    } frame;
    struct {
        int32_t pooled[SERQ_FEATURES];
        int32_t accumulators[SERQ_ACCUMULATORS];
        serq_table table;
#ifdef SERQ_WORK
        uint8_t work[SERQ_WORK]; /* at a multiple of 4, as activations are */
#endif
        uint8_t
            activations[SERQ_ACTIVATIONS]; /* where each layer finds its input, serq_model.c says */
    } decision;
} serq_scratch;

#define SERQ_BEGUN 0x5E12 /* what serq_init() leaves in serq_state.begun */

/* Everything the recogniser remembers. Its members are its own affair. */
typedef struct {
    serq_scratch scratch;
#ifndef SERQ_SEQUENCE
    serq_pool pools[SERQ_POOLS * SERQ_TIERS]; /* of every coefficient of every feature block */
#if SERQ_HISTOGRAMS > 0
    serq_histogram histograms[SERQ_HISTOGRAMS * SERQ_TIERS]; /* of those with percentiles */
#endif
    serq_count counts[SERQ_SELECTIONS * SERQ_TIERS]; /* 0: of all frames that count; then of the
                                                        blocks that are selective */
    serq_tiers tiers;
#endif
    serq_grid grid;
    serq_floor floor;
    uint16_t speech; /* frames that are speech */
#ifndef SERQ_SEQUENCE
    int16_t first[SERQ_POOLS], last[SERQ_POOLS]; /* values of the first and latest frame */
#endif
    int16_t samples[SERQ_FRAME_LENGTH]; /* at a multiple of 4 */
    uint32_t frames;                    /* whole frames so far */
    uint16_t filled;                    /* samples waiting in `samples` */
    uint16_t kept;  /* for serq_frame_shift(), of those that come from the frame before, or 0 */
    uint16_t ended; /* whether the zeros after the clip were taken */
    uint16_t begun; /* SERQ_BEGUN */
#ifdef SERQ_SEQUENCE
    int16_t rows[SERQ_SEQUENCE * SERQ_COEFFICIENTS]; /* a ring of the last frames' values */
    int16_t steps[SERQ_SEQUENCE];                    /* of their level */
    uint16_t row;                                    /* the place of the next frame */
#endif
#ifdef SERQ_VOICE_MOST
    union {
        const serq_voice *is; /* whose answers they are, or NULL */
        uint64_t room;        /* of a pointer, on any core */
    } voice;
#endif
} serq_state;

/* Forget all that was heard. It comes before all others: they refuse, with SERQ_ERROR_NO_INIT, a
 * state of zeros, as static memory has them, and nearly any other that it never began. NULL is
 * passed over. Time: constant. */
void serq_init(serq_state *state);

/* Take `count` samples of mono 16-bit PCM at SERQ_SAMPLE_RATE; samples may be NULL if count is 0.
 * Returns 1 when serq_classify() can answer, 0 when it needs more, SERQ_ERROR_TOO_LONG (samples
 * beyond the limit are not taken), or SERQ_ERROR_ENDED (none is taken) if the model pads its clips
 * and has answered. Or SERQ_ERROR_ARGUMENT or SERQ_ERROR_NO_INIT, as do all functions below.
 * Time: one frame's transform for every SERQ_HOP_LENGTH samples. */
int serq_push(serq_state *state, const int16_t *samples, uint32_t count);

/* Decide on all samples since serq_init(): the label's index, or SERQ_NO_SPEECH. More may be pushed
 * afterwards, unless the model pads its clips (SERQ_PADDING > 0): then this first takes the zeros
 * after the clip, and nothing may be pushed until serq_init(). scores: SERQ_CLASSES integers, or
 * NULL. Or returns SERQ_ERROR_TOO_SHORT. */
int serq_classify(serq_state *state, int32_t *scores);

/* The two halves of serq_classify(), for a host that looks between them or brings its own features:
 * the pooled features of all samples (SERQ_FEATURES integers inside state, all SERQ_MISSING without
 * speech, or NULL if too short or refused), and the decision on whatever stands there. Samples that
 * are pushed in between overwrite the features. */
int32_t *serq_features(serq_state *state);
int serq_decide(serq_state *state, int32_t *scores);

#ifdef SERQ_VOICE_MOST
/* From now on, until serq_init(), answers are of this voice; NULL: of none. It is read, not copied.
 * Returns 0, or SERQ_ERROR_ARGUMENT or SERQ_ERROR_NO_INIT, as the next one may. */
int serq_use_voice(serq_state *state, const serq_voice *voice);

/* Learn from the clip that serq_classify() or serq_features() came last for: the speaker's voice in
 * an emotion, the index of a label. That is what the speaker was asked for; or the clip's own
 * answer. Nothing is learned without speech or of anything that is no emotion: any other label, or
 * the class "no speech". Returns the windows that the voice was learned from, or
 * SERQ_ERROR_TOO_SHORT. Time: two divisions a feature. */
int serq_learn(const serq_state *state, serq_voice *voice, int label);
#endif

/* UTF-8 name of a label, "no speech" and "not sure" of those answers, "" of anything else. */
const char *serq_label(int index);

/* The order of the stages, generated from the model (serq_model.c). For serq.c and serq_stream.c
 * alone. */
void serq_model_frame(serq_state *state);
void serq_model_features(serq_state *state);
void serq_model_network(serq_state *state);
#ifdef SERQ_VOICE_MOST
void serq_model_learn(const serq_state *state, serq_voice *voice, int label);

/* For serq_stream.c and the harness: learn from whatever features stand there, as serq_learn()
 * does; whether they taught anything. */
bool serq_learn_features(const serq_state *state, serq_voice *voice, int label);
#endif
#ifndef SERQ_SEQUENCE
void serq_model_edges(serq_state *state, const int16_t *first, uint8_t pair, uint32_t first_counts);
#endif
int32_t serq_model_loudness(const serq_state *state); /* of a whole frame that waits */

/* For generated code: where a frame of this level goes; whether it rises above the noise floor, and
 * whether it then is speech. For serq_stream.c: no frame is in the pools; the loudest step rises to
 * `top`, and the tiers that leave are cleared; whether a frame is whole with `count` samples more,
 * which it has room for; transform a whole frame, or pass over it, if it is not its block's first;
 * whether no feature is there. */
#ifdef SERQ_SEQUENCE
int16_t *serq_next_row(serq_state *state, int32_t level);
#else
serq_place serq_place_frame(serq_state *state, int32_t level);
void serq_clear_pools(serq_state *state);
void serq_raise_top(serq_state *state, int16_t top);
#endif
bool serq_frame_rises(serq_state *state, int32_t level);
void serq_add_speech(serq_state *state, bool speech);
bool serq_fill(serq_state *state, const int16_t *samples, uint32_t count);
void serq_take_frame(serq_state *state);
void serq_pass_over(serq_state *state);
bool serq_all_missing(const int32_t *pooled);

/* Why a state cannot be used, or 0. */
static inline int serq_refusal(const serq_state *state)
{
    if (state == (void *)0) {
        return SERQ_ERROR_ARGUMENT;
    }
    return state->begun == SERQ_BEGUN ? 0 : SERQ_ERROR_NO_INIT;
}

#ifdef __cplusplus
}
#endif

#endif
