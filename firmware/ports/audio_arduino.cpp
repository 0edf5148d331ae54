// Arduino cores: what their drivers share. Interrupts bring the samples, so there is nothing to
// block on.
#include <Arduino.h>

#include "audio.h"

bool audio_wait(void)
{
    yield();
    return true;
}

uint32_t audio_micros(void)
{
    return micros();
}

void audio_yield(void)
{
    yield();
}
