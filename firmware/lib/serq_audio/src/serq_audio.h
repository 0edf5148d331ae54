/* Between a microphone's driver and the recogniser: raw samples to PCM (SPEC.md section 13), and
 * the ring they wait in. Portable C99 in integers. The caller owns all memory; no function
 * allocates, blocks or uses floating point. All but serq_ring_init() run in interrupts and check
 * nothing: no pointer may be NULL, memory holds `count` words or samples (serq_audio_pdm() gives
 * count / 4), and settings are those that serq-mcu computes for a microphone. */
#ifndef SERQ_AUDIO_H
#define SERQ_AUDIO_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How raw samples become PCM; made by serq-mcu from a microphone's file. */
typedef struct {
    uint8_t bit_shift;  /* bits by which an I2S sample comes too late, 0 to 8 */
    uint8_t dc_shift;   /* the DC offset is followed with a time constant of 2^dc_shift samples, at
                           most 2^11; 0: it stays */
    uint8_t gain_shift; /* the gain is gain / 2^gain_shift from 20-bit to 16-bit samples, 1/16 being
                           0 dB */
    uint16_t gain;      /* 512 to 1023 */
} serq_audio_settings;

/* What a conversion remembers: begin with zeros but for the settings. */
typedef struct {
    serq_audio_settings settings;
    uint8_t started;
    int32_t level; /* DC offset, in 2^-dc_shift of a 20-bit step */
} serq_audio;

/* `count` words to as many samples; words and samples may be the same memory where they are of one
 * size. Time: count. */
void serq_audio_i2s(serq_audio *audio, const int32_t *words, uint32_t count,
                    int16_t *samples); /* left-justified in 32 bits */
void serq_audio_pcm(serq_audio *audio, const int16_t *words, uint32_t count,
                    int16_t *samples); /* signed 16 bits, of a decimator in hardware */
void serq_audio_adc(serq_audio *audio, const uint16_t *words, uint32_t count,
                    int16_t *samples); /* 12 bits around 2048; higher bits do not count */

enum { SERQ_PDM_DECIMATION = 64, SERQ_PDM_TAPS = 63 };

/* A decimator for raw PDM: begin with zeros. */
typedef struct {
    uint32_t integrators[4], combs[4];
    int16_t history[SERQ_PDM_TAPS + 1]; /* a ring at four times the samples' rate, for the filter */
    uint8_t newest;
} serq_pdm;

/* PDM bits, 16 a word and the first the highest, to samples: one for every 4 words. `count` is a
 * multiple of 4; words beyond one are dropped. Time: count. */
void serq_audio_pdm(serq_audio *audio, serq_pdm *pdm, const uint16_t *words, uint32_t count,
                    int16_t *samples);

/* Samples on their way from one writer (an interrupt, a callback, a task) to one reader; neither
 * waits for the other. When there is no room, samples are dropped and counted until the reader has
 * emptied the ring: so a gap is always between two reads. */
typedef struct {
    int16_t *samples;
    uint32_t size;          /* of `samples`: a power of two */
    uint32_t written, read; /* running counts modulo 2^32; the writer's and the reader's */
    uint32_t overruns;      /* samples dropped so far, modulo 2^32; the writer's */
    uint32_t gaps, passed;  /* gaps begun, the writer's, and gaps that the reader has come to */
} serq_ring;

/* Make an empty ring of `size` samples. False if a pointer is NULL or the size is no power of two:
 * then the ring, unless it is NULL, has no room. */
bool serq_ring_init(serq_ring *ring, int16_t *samples, uint32_t size);

/* The writer's. */
void serq_ring_write(serq_ring *ring, const int16_t *samples, uint32_t count);

/* The reader's: up to `capacity` samples, 0 if none wait. */
uint32_t serq_ring_read(serq_ring *ring, int16_t *samples, uint32_t capacity);

/* For the reader: samples that wait, samples dropped so far, and gaps before what the next read
 * gives. */
uint32_t serq_ring_waiting(const serq_ring *ring);
uint32_t serq_ring_overruns(const serq_ring *ring);
uint32_t serq_ring_gaps(const serq_ring *ring);

#ifdef __cplusplus
}
#endif

#endif
