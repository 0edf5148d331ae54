// audio_arduino.cpp on a Cortex-M in an emulator that counts time in instructions: the core sleeps until SysTick
// brings a sample; and wherever the interrupt falls, it is not slept over, though none ever follows.
#include <Arduino.h>
#include <stdio.h>
#include <stdlib.h>

#include "audio.h"

static volatile uint32_t *const systick = reinterpret_cast<volatile uint32_t *>(0xE000E010U);
static volatile uint32_t *const vector_table = reinterpret_cast<volatile uint32_t *>(0xE000ED08U);
static uint32_t vectors[64] __attribute__((aligned(256)));
static volatile uint32_t samples;

extern "C" uint32_t audio_waiting(void)
{
    return samples;
}

static void tick()
{
    systick[0] = 0; // no interrupt follows
    samples = samples + 1;
}

void yield()
{
}

unsigned long micros()
{
    return 0;
}

static uint32_t waited(uint32_t cycles)
{
    samples = 0;
    systick[1] = cycles;
    systick[2] = 0;
    systick[0] = 7;
    audio_wait();
    return samples;
}

int main()
{
    vectors[15] = reinterpret_cast<uint32_t>(tick);
    *vector_table = reinterpret_cast<uint32_t>(vectors);
    uint32_t late = waited(25000);
    for (uint32_t cycles = 400; cycles > 0; cycles--) {
        waited(cycles);
    }
    printf("%lu\n", static_cast<unsigned long>(late));
    exit(0);
}
