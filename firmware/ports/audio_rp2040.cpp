// RP2040 under ArduinoCore-mbed: DMA fills two buffers that start each other, and an interrupt
// takes the full one. Each channel's addresses wrap within its own buffer, so that a late interrupt
// costs samples and no memory.
#include <Arduino.h>

#include "audio_rp2040.h"
#include "hardware/irq.h"

enum { BYTES = 512, RING_BITS = 9 };

static uint8_t buffers[2][BYTES] __attribute__((aligned(1U << RING_BITS))); // whole rings
static_assert(BYTES == 1U << RING_BITS, "a buffer is one ring of the DMA's addresses");
static uint channels[2];
static uint32_t next; // the channel that is full next: they take turns
static void (*taker)(const void *words, uint32_t bytes);

static void full()
{
    // in turn also where both are full, because this comes late
    for (uint32_t i = 0; i < 2 && dma_channel_get_irq1_status(channels[next]); i++) {
        dma_channel_acknowledge_irq1(channels[next]);
        taker(buffers[next], BYTES);
        next ^= 1U;
    }
}

bool rp2040_listen(const volatile void *fifo, unsigned request, dma_channel_transfer_size size,
                   void (*take)(const void *words, uint32_t bytes))
{
    int first = dma_claim_unused_channel(false), second = dma_claim_unused_channel(false);
    if (first < 0 || second < 0) {
        return false;
    }
    taker = take;
    channels[0] = static_cast<uint>(first);
    channels[1] = static_cast<uint>(second);
    for (uint32_t i = 0; i < 2; i++) {
        dma_channel_config config = dma_channel_get_default_config(channels[i]);
        channel_config_set_transfer_data_size(&config, size);
        channel_config_set_read_increment(&config, false);
        channel_config_set_write_increment(&config, true);
        channel_config_set_ring(&config, true, RING_BITS);
        channel_config_set_dreq(&config, request);
        channel_config_set_chain_to(&config, channels[i ^ 1U]);
        dma_channel_set_irq1_enabled(channels[i], true);
        dma_channel_configure(channels[i], &config, buffers[i], fifo, BYTES >> size, false);
    }
    irq_set_exclusive_handler(DMA_IRQ_1, full);
    irq_set_enabled(DMA_IRQ_1, true);
    dma_channel_start(channels[0]);
    return true;
}
