/* Emulators and the host: the microphone is the line itself, 16-bit little-endian samples until its
 * end. */
#include <stddef.h>
#include <string.h>

#include "audio.h"
#include "port.h"

enum { BYTES = 128 }; /* fewer than a ring holds, so that none is dropped */

bool audio_start(void)
{
    return true;
}

bool audio_wait(void)
{
    static uint8_t bytes[BYTES];
    static size_t kept; /* the first byte of a sample whose second did not come with it */
    int16_t words[BYTES / 2];
    size_t count = port_read(bytes + kept, sizeof bytes - kept);
    size_t have = kept + count;
    memcpy(words, bytes, have / 2 * 2);
    audio_take_pcm(words, (uint32_t)(have / 2));
    kept = have % 2;
    if (kept != 0) {
        bytes[0] = bytes[have - 1];
    }
    return count > 0;
}

uint32_t audio_micros(void)
{
    return 0;
}

void audio_yield(void)
{
}
