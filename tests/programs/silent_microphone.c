/* A microphone whose driver refuses to start, and a clock that ends the program after three complaints. */
#include <stdlib.h>

#include "audio.h"

static uint32_t now;

bool audio_start(void)
{
    return false;
}

bool audio_wait(void)
{
    return false;
}

uint32_t audio_micros(void)
{
    return now;
}

void audio_yield(void)
{
    now += 100000;
    if (now > 2950000) {
        exit(0);
    }
}
