/* Stage hook: with SERQ_TRACE defined, every stage's integers pass through serq_trace() as they are
 * made. */
#ifndef SERQ_TRACE_H
#define SERQ_TRACE_H

#include <stdint.h>

/* Stage identifiers (SPEC.md section 7). */
enum {
    SERQ_STAGE_WINDOW = 1,
    SERQ_STAGE_SPECTRUM = 2,
    SERQ_STAGE_POWER = 3,
    SERQ_STAGE_MEL = 4,
    SERQ_STAGE_LOG = 5,
    SERQ_STAGE_MFCC = 6,
    SERQ_STAGE_CHROMA = 7,
    SERQ_STAGE_POOLED = 16,
    SERQ_STAGE_INPUT = 17,
    SERQ_STAGE_SCORES = 31,
    SERQ_STAGE_ACCUMULATOR = 32, /* of layer 0; + 2 for each further layer */
    SERQ_STAGE_OUTPUT = 33       /* of layer 0; + 2 for each further layer */
};

#ifdef SERQ_TRACE
/* `count` little- or big-endian native integers of `size` bytes (1, 2, 4 or 8) just computed by
 * `stage`. Supplied by the application. */
void serq_trace(uint8_t stage, const void *values, uint16_t count, uint8_t size);
#define SERQ_TRACE_STAGE(stage, values, count, size) \
    serq_trace((uint8_t)(stage), (values), (uint16_t)(count), (uint8_t)(size))
#else
#define SERQ_TRACE_STAGE(stage, values, count, size) ((void)0)
#endif

#endif
