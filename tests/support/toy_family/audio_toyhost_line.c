/* An audio driver from outside the package: one sample at a time from the line. */
#include "audio.h"
#include "port.h"

bool audio_start(void)
{
    return true;
}

bool audio_wait(void)
{
    uint8_t bytes[2];
    int16_t sample;

    if (port_read(bytes, 1) == 0 || port_read(bytes + 1, 1) == 0) {
        return false;
    }
    sample = (int16_t)(bytes[0] | bytes[1] << 8);
    audio_take_pcm(&sample, 1);
    return true;
}

uint32_t audio_micros(void)
{
    return 0;
}

void audio_yield(void)
{
}
