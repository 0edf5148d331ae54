// nRF52840 with an Arduino core that has no PDM library: the peripheral itself (nRF52840 product
// specification, chapter PDM), two buffers in turn. Pins are numbers of port 0.
#include <Arduino.h>

#include "audio.h"
#include "serq_board.h"

#if SERQ_AUDIO_RATE != 16000
#error "this driver gives 16000 samples a second: leave audio.rate_hz at that"
#endif

enum { WORDS = 128 };                            // of a buffer: 8 ms
static const uint32_t clock_1280k = 0x0A000000U; // 32 MHz / 25; 80 of its periods are a sample
static const uint32_t ratio_80 = 1U, mono_left_falling = 1U, neutral_gain = 40U, started = 1U << 0;

static int16_t buffers[2][WORDS];
static uint32_t filling; // the buffer that was given to the peripheral last

// The chip's register that the core's header, which serves the nRF52832 too, may not name.
static volatile uint32_t &ratio()
{
    return *reinterpret_cast<volatile uint32_t *>(reinterpret_cast<uintptr_t>(NRF_PDM) + 0x520U);
}

static void give(uint32_t buffer)
{
    NRF_PDM->SAMPLE.PTR = reinterpret_cast<uintptr_t>(buffers[buffer]);
    NRF_PDM->SAMPLE.MAXCNT = WORDS;
}

// STARTED comes when the peripheral begins with a buffer, and from then on the next may be given;
// the one before is full.
extern "C" void PDM_IRQHandler(void)
{
    static bool first = true;
    if (NRF_PDM->EVENTS_STARTED == 0) {
        return;
    }
    NRF_PDM->EVENTS_STARTED = 0;
    filling ^= 1U;
    if (!first) {
        audio_take_pcm(buffers[filling], WORDS);
    }
    first = false;
    give(filling);
}

bool audio_start(void)
{
    NRF_CLOCK->TASKS_HFCLKSTART = 1; // the crystal: the peripheral's clock is as true as this
    while (NRF_CLOCK->EVENTS_HFCLKSTARTED == 0) {
    }
    NRF_PDM->PDMCLKCTRL = clock_1280k;
    ratio() = ratio_80;
    NRF_PDM->MODE = mono_left_falling;
    NRF_PDM->GAINL = neutral_gain;
    NRF_PDM->GAINR = neutral_gain;
    NRF_PDM->PSEL.CLK = SERQ_AUDIO_PDM_CLOCK;
    NRF_PDM->PSEL.DIN = SERQ_AUDIO_PDM_DATA;
    NRF_P0->PIN_CNF[SERQ_AUDIO_PDM_CLOCK] = 1U; // output, as the specification asks
    NRF_P0->PIN_CNF[SERQ_AUDIO_PDM_DATA] = 0U;  // input
    NRF_PDM->EVENTS_STARTED = 0;
    NRF_PDM->INTENSET = started;
    NVIC_SetPriority(PDM_IRQn, 6);
    NVIC_ClearPendingIRQ(PDM_IRQn);
    NVIC_EnableIRQ(PDM_IRQn);
    NRF_PDM->ENABLE = 1;
    give(0);
    NRF_PDM->TASKS_START = 1;
    return true;
}
