// RP2040, analogue microphones: the converter runs freely at the rate. Pins are GPIO 26 to 29.
#include <Arduino.h>

#include "hardware/adc.h"

#include "audio.h"
#include "audio_rp2040.h"
#include "serq_board.h"

enum { FIRST_PIN = 26 };
static const uint32_t adc_clock = 48000000U;

static void take(const void *words, uint32_t bytes)
{
    audio_take_adc(static_cast<const uint16_t *>(words), bytes / sizeof(uint16_t));
}

bool audio_start(void)
{
    adc_init();
    adc_gpio_init(SERQ_AUDIO_ADC_PIN);
    adc_select_input(SERQ_AUDIO_ADC_PIN - FIRST_PIN);
    adc_fifo_setup(true, true, 1, false, false);
    adc_hw->div = (adc_clock / SERQ_AUDIO_RATE - 1U) << 8; // a conversion every div + 1 periods
    if (!rp2040_listen(&adc_hw->fifo, DREQ_ADC, DMA_SIZE_16, take)) {
        return false;
    }
    adc_run(true);
    return true;
}
