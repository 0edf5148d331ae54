// Arduino cores: what their drivers share. Interrupts bring the samples, and between them the core
// sleeps.
#include <Arduino.h>

#include "audio.h"

// Sleep until an interrupt, unless samples have come since the ring was found empty. Interrupts
// wait until the core sleeps: one that is pending wakes it all the same (Armv6-M and Armv7-M
// Architecture Reference Manuals, WFI), so none falls between the question and the sleep.
static void sleep_until_interrupt()
{
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
    asm volatile("cpsid i" ::: "memory");
    if (audio_waiting() == 0) {
        asm volatile("dsb\n\twfi" ::: "memory");
    }
    asm volatile("cpsie i" ::: "memory");
#endif
}

bool audio_wait(void)
{
    yield();
    sleep_until_interrupt();
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
