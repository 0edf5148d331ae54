// RP2040 under ArduinoCore-mbed: what its drivers share.
#pragma once
#include <stdint.h>

#include "hardware/dma.h"

// Begin to take what comes through a FIFO, in values of a DMA_SIZE, on that DMA request. False if
// there is no free channel. take() runs in an interrupt, with 512 bytes at a time.
bool rp2040_listen(const volatile void *fifo, unsigned request, dma_channel_transfer_size size,
                   void (*take)(const void *words, uint32_t bytes));
