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

#include <stdint.h>

#define SERQ_ABI 3

#include "serq_model.h" /* generated: sizes, names, SERQ_MODEL_ABI */

#if SERQ_MODEL_ABI != SERQ_ABI
#error "serq_model.h was generated for another serq runtime: run serq-mcu export again"
#endif

#include "serq_frontend.h"
#include "serq_network.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SERQ_ERROR_TOO_SHORT (-1) /* fewer than two frames were pushed */
#define SERQ_ERROR_TOO_LONG \
    (-2) /* more than SERQ_MAX_FRAMES frames: call serq_init() and start again */
#define SERQ_ERROR_ENDED \
    (-3) /* zeros follow the clip already: call serq_init() before more samples */

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
        int32_t values[SERQ_VALUES]; /* mfcc or chroma */
        uint64_t power; /* sum of the bands' energies; without bands, of all bins' powers */
        uint8_t shift;  /* of the frame's samples */
    } frame;
    struct {
        int32_t pooled[SERQ_FEATURES];
        int32_t accumulators[SERQ_ACCUMULATORS];
        serq_table table;
        uint8_t
            activations[SERQ_ACTIVATIONS]; /* where each layer finds its input, serq_model.c says */
    } decision;
} serq_scratch;

/* Everything the recogniser remembers. Its members are its own affair. */
typedef struct {
    serq_scratch scratch;
    serq_pool pools[SERQ_POOLS];        /* of every coefficient of every feature block */
    int16_t samples[SERQ_FRAME_LENGTH]; /* at a multiple of 8 */
    uint32_t frames;                    /* whole frames so far */
    uint16_t filled;                    /* samples waiting in `samples` */
    uint16_t ended;                     /* whether the zeros after the clip were taken */
} serq_state;

/* Forget all that was heard. Time: constant. */
void serq_init(serq_state *state);

/* Take `count` samples of mono 16-bit PCM at SERQ_SAMPLE_RATE.
 * Returns 1 when serq_classify() can answer, 0 when it needs more, SERQ_ERROR_TOO_LONG (samples
 * beyond the limit are not taken), or SERQ_ERROR_ENDED (none is taken) if the model pads its clips
 * and has answered. Time: one frame's transform for every SERQ_HOP_LENGTH samples. */
int serq_push(serq_state *state, const int16_t *samples, uint32_t count);

/* Decide on all samples since serq_init(). More may be pushed afterwards, unless the model pads its
 * clips (SERQ_PADDING > 0): then this first takes the zeros after the clip, and nothing may be
 * pushed until serq_init(). scores: SERQ_CLASSES integers, or NULL. Returns the label's index, or
 * SERQ_ERROR_TOO_SHORT. */
int serq_classify(serq_state *state, int32_t *scores);

/* The two halves of serq_classify(), for a host that looks between them or brings its own features:
 * the pooled features of all samples (SERQ_FEATURES integers inside state, or NULL if too short),
 * and the decision on whatever stands there. */
int32_t *serq_features(serq_state *state);
int serq_decide(serq_state *state, int32_t *scores);

/* UTF-8 name of a label, "" beyond the last. */
const char *serq_label(int index);

/* The order of the stages, generated from the model (serq_model.c). For serq.c and serq_stream.c
 * alone. */
void serq_model_frame(serq_state *state);
void serq_model_features(serq_state *state);
void serq_model_network(serq_state *state);
int16_t serq_model_level(const serq_state *state); /* of the frame that was transformed last; where
                                                      the model can stream */

#ifdef __cplusplus
}
#endif

#endif
