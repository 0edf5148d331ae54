/* What an application that listens needs of a board beside port.h: its microphone's samples, and
 * time. audio.c has what all boards share; one file a chip family and interface,
 * audio_DRIVER_INTERFACE, has the driver. */
#ifndef SERQ_AUDIO_PORT_H
#define SERQ_AUDIO_PORT_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- for the application ---- */

/* Begin to listen. False: the driver refuses, which no second try will change. */
bool audio_start(void);

/* Wait for samples: 1..capacity of them, or 0 when there will never be more (emulator and host: the
 * end of the clip). */
uint32_t audio_read(int16_t *samples, uint32_t capacity);

/* Samples that wait to be read, samples dropped so far because nobody read them in time, and the
 * gaps that this left before what the last audio_read() gave: never within it. */
uint32_t audio_waiting(void);
uint32_t audio_overruns(void);
uint32_t audio_gaps(void);

/* Microseconds modulo 2^32, or always 0 where time is emulated. */
uint32_t audio_micros(void);

/* Let the system's own work run for a moment (an idle task, and the watchdog that it feeds),
 * however far behind the application is. */
void audio_yield(void);

/* ---- from audio.c to a driver, and back ---- */

/* Words of the microphone, from any context that only this driver uses; never waits. */
void audio_take_i2s(const int32_t *words, uint32_t count);
void audio_take_pcm(const int16_t *words, uint32_t count);
void audio_take_adc(const uint16_t *words, uint32_t count);
void audio_take_pdm(const uint16_t *words, uint32_t count); /* a multiple of 4 */

/* The driver's: return when more words may have come; false when none ever will. */
bool audio_wait(void);

#ifdef __cplusplus
}
#endif

#endif
