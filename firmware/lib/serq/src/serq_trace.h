/* Stage hook: with SERQ_TRACE = 1, every stage's integers pass through serq_trace() as they are
 * made. With SERQ_TRACE = 0, the model brings its table of stages, but computes as a product does,
 * to be counted. */
#ifndef SERQ_TRACE_H
#define SERQ_TRACE_H

#include <stdint.h>

/* A stage of the model's own table: its name, bytes of an integer, whether every frame has one
 * event of it or every decision. Its number is its place in the table, counted from 1. */
typedef struct {
    const char *name;
    uint8_t size, per_frame;
} serq_stage;

#ifdef SERQ_TRACE
extern const serq_stage serq_stages[]; /* SERQ_STAGES of them, generated */

/* `count` little- or big-endian native integers of `size` bytes (1, 2, 4 or 8) just computed by
 * `stage`. Supplied by the application. */
void serq_trace(uint8_t stage, const void *values, uint16_t count, uint8_t size);
#endif

#if defined(SERQ_TRACE) && SERQ_TRACE
#define SERQ_TRACE_STAGE(stage, values, count, size) \
    serq_trace((uint8_t)(stage), (values), (uint16_t)(count), (uint8_t)(size))
#else
#define SERQ_TRACE_STAGE(stage, values, count, size) ((void)0)
#endif

#endif
