/* What the ESP32 family's drivers share; see audio_esp32.c. */
#ifndef SERQ_AUDIO_ESP32_H
#define SERQ_AUDIO_ESP32_H

#include <stdbool.h>

#include "driver/i2s_common.h"

enum { AUDIO_BUFFERS = 4, AUDIO_FRAMES = 128 }; /* of DMA; 8 ms each at 16 kHz */

/* Enable a channel that is set up; the calling task will read. */
bool audio_listen(i2s_chan_handle_t microphone, i2s_isr_callback_t received);

/* For a callback: wake the reader. What it returns the callback returns. */
bool audio_wake(void);

#endif
