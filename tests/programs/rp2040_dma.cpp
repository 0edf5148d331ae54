// Runs the RP2040's driver against a made-up DMA that writes as the chip's does: a channel writes on from
// where it was, within its ring if it has one, and starts the next when it is done. The interrupt comes late by
// the words that each argument says; the samples that the application gets are printed, and whether the memory
// around the buffers was written to.
#include <Arduino.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include "audio.h"
#include "hardware/adc.h"
#include "hardware/dma.h"
#include "hardware/irq.h"

adc_registers adc_registers_of_test;

struct channel {
    dma_channel_config config;
    uintptr_t start, address;
    uint count, left;
    bool raised;
};
static channel channels_of_test[2];
static int running = -1, claimed;
static void (*handler)();
static uint16_t next_word;
static bool outside;
static std::vector<uint16_t> taken;

int dma_claim_unused_channel(bool)
{
    return claimed++;
}

dma_channel_config dma_channel_get_default_config(uint channel)
{
    return {channel, 0, false};
}

bool dma_channel_get_irq1_status(uint channel)
{
    return channels_of_test[channel].raised;
}

void dma_channel_acknowledge_irq1(uint channel)
{
    channels_of_test[channel].raised = false;
}

void dma_channel_set_write_addr(uint channel, volatile void *address, bool)
{
    channels_of_test[channel].address = reinterpret_cast<uintptr_t>(address);
}

void dma_channel_configure(uint channel, const dma_channel_config *config, volatile void *to, const volatile void *,
                           uint count, bool)
{
    uintptr_t address = reinterpret_cast<uintptr_t>(to);
    channels_of_test[channel] = {*config, address, address, count, count, false};
}

void dma_channel_start(uint channel)
{
    running = static_cast<int>(channel);
}

void irq_set_exclusive_handler(int, void (*of)())
{
    handler = of;
}

void audio_take_adc(const uint16_t *words, uint32_t count)
{
    taken.insert(taken.end(), words, words + count);
}

static void convert()
{
    channel &now = channels_of_test[running];
    if (now.address < now.start || now.address >= now.start + 2 * now.count) {
        outside = true;
    } else {
        *reinterpret_cast<uint16_t *>(now.address) = next_word;
    }
    next_word++;
    uintptr_t after = now.address + 2;
    if (now.config.ring_write && now.config.ring_bits != 0) {
        uintptr_t mask = (static_cast<uintptr_t>(1) << now.config.ring_bits) - 1;
        after = (now.address & ~mask) | (after & mask);
    }
    now.address = after;
    if (--now.left == 0) {
        now.left = now.count;
        now.raised = true;
        running = static_cast<int>(now.config.chain);
    }
}

int main(int count, char **arguments)
{
    if (!audio_start()) {
        return 1;
    }
    for (int turn = 1; turn < count; turn++) {
        int late = atoi(arguments[turn]), before = running;
        while (running == before) {
            convert();
        }
        while (late-- > 0) {
            convert();
        }
        handler();
    }
    printf("%d", outside);
    for (uint16_t word : taken) {
        printf(" %d", word);
    }
    printf("\n");
}
