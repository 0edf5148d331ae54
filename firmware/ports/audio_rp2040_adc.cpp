// RP2040 under ArduinoCore-mbed, analogue microphones: the converter runs freely at the rate, DMA
// fills two buffers that start each other, and an interrupt takes the full one. Each channel's
// addresses wrap within its own buffer, so that a late interrupt costs samples and no memory. Pins
// are GPIO 26 to 29.
#include <Arduino.h>

#include "hardware/adc.h"
#include "hardware/dma.h"
#include "hardware/irq.h"

#include "audio.h"
#include "serq_board.h"

enum { WORDS = 128, RING_BITS = 8, FIRST_PIN = 26 }; // of a buffer: 8 ms at 16 kHz
static const uint32_t adc_clock = 48000000U;

static uint16_t buffers[2][WORDS] __attribute__((aligned(1U << RING_BITS))); // whole rings
static_assert(sizeof buffers[0] == 1U << RING_BITS, "a buffer is one ring of the DMA's addresses");
static uint channels[2];
static uint32_t next; // the channel that is full next: they take turns

static void full()
{
    // in turn also where both are full, because this comes late
    for (uint32_t i = 0; i < 2 && dma_channel_get_irq1_status(channels[next]); i++) {
        dma_channel_acknowledge_irq1(channels[next]);
        audio_take_adc(buffers[next], WORDS);
        next ^= 1U;
    }
}

static void set_up(uint32_t i)
{
    dma_channel_config config = dma_channel_get_default_config(channels[i]);
    channel_config_set_transfer_data_size(&config, DMA_SIZE_16);
    channel_config_set_read_increment(&config, false);
    channel_config_set_write_increment(&config, true);
    channel_config_set_ring(&config, true, RING_BITS);
    channel_config_set_dreq(&config, DREQ_ADC);
    channel_config_set_chain_to(&config, channels[i ^ 1U]);
    dma_channel_set_irq1_enabled(channels[i], true);
    dma_channel_configure(channels[i], &config, buffers[i], &adc_hw->fifo, WORDS, false);
}

bool audio_start(void)
{
    int first = dma_claim_unused_channel(false), second = dma_claim_unused_channel(false);
    if (first < 0 || second < 0) {
        return false;
    }
    channels[0] = static_cast<uint>(first);
    channels[1] = static_cast<uint>(second);
    adc_init();
    adc_gpio_init(SERQ_AUDIO_ADC_PIN);
    adc_select_input(SERQ_AUDIO_ADC_PIN - FIRST_PIN);
    adc_fifo_setup(true, true, 1, false, false);
    adc_hw->div = (adc_clock / SERQ_AUDIO_RATE - 1U) << 8; // a conversion every div + 1 periods
    set_up(0);
    set_up(1);
    irq_set_exclusive_handler(DMA_IRQ_1, full);
    irq_set_enabled(DMA_IRQ_1, true);
    dma_channel_start(channels[0]);
    adc_run(true);
    return true;
}
