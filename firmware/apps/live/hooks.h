/* Your own code: the functions of src/app.c that the firmware calls. Define those that you want, in
 * C or C++, in any file in src/; the others do nothing.
 *
 * They run between two pieces of audio. What takes longer than the microphone's ring holds
 * (SERQ_AUDIO_RING_SAMPLES, a quarter of a second at 16 kHz on most boards) loses sound: hand long
 * work, such as a network's, to a task of its own. */
#ifndef SERQ_HOOKS_H
#define SERQ_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "serq_stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A decision. `answer` is that of this moment. `steady` is the latest answer that came twice in a
 * row, "no speech" at first: it changes less often, for lights and messages. */
typedef struct {
    const char *label;        /* UTF-8: an emotion, "no speech" or "not sure" */
    int answer;               /* its place in `scores`, or SERQ_NO_SPEECH or SERQ_NOT_SURE */
    const char *steady_label; /* of `steady` */
    int steady;               /* as `answer` */
    int confidence;           /* that the best class is right, in percent, 0 to 95; -1: unknown */
    bool changed;             /* whether `steady` is another than at the decision before */
    int decibels;             /* loudness of the newest block: 0 is full scale, less is quieter */
    const int32_t *scores;    /* SERQ_CLASSES of them, averaged over the last decisions */
    uint32_t margin;          /* of the best of them over the second best */
    uint32_t latency_us;      /* that the decision took, 0 where there is no clock */
} app_decision;

/* Once, before the microphone starts. */
void on_start(void);

/* For each decision, after its line was written. */
void on_decision(const app_decision *decision);

/* Some 16 times a second: how loud it was since the last time, in decibels relative to full scale
 * (0), at least -96. */
void on_level(int decibels);

/* When the microphone does not start, or sound was lost: what happened, in English. */
void on_error(const char *what);

/* Write a line of your own among the decisions. `serq-mcu live` passes over it, unless it begins
 * with a brace. */
void app_print(const char *text);

#ifdef __cplusplus
}
#endif

#endif
