#pragma once
#include <cstdint>
typedef unsigned int uint;
enum dma_channel_transfer_size { DMA_SIZE_8, DMA_SIZE_16, DMA_SIZE_32 };
enum { DREQ_ADC = 36 };
struct dma_channel_config { uint chain, ring_bits; bool ring_write; };
int dma_claim_unused_channel(bool);
dma_channel_config dma_channel_get_default_config(uint channel);
inline void channel_config_set_transfer_data_size(dma_channel_config *, int) {}
inline void channel_config_set_read_increment(dma_channel_config *, bool) {}
inline void channel_config_set_write_increment(dma_channel_config *, bool) {}
inline void channel_config_set_dreq(dma_channel_config *, uint) {}
inline void channel_config_set_chain_to(dma_channel_config *config, uint to) { config->chain = to; }
inline void channel_config_set_ring(dma_channel_config *config, bool write, uint bits)
{
    config->ring_write = write;
    config->ring_bits = bits;
}
bool dma_channel_get_irq1_status(uint channel);
void dma_channel_acknowledge_irq1(uint channel);
inline void dma_channel_set_irq1_enabled(uint, bool) {}
void dma_channel_set_write_addr(uint channel, volatile void *address, bool trigger);
void dma_channel_configure(uint channel, const dma_channel_config *config, volatile void *to, const volatile void *,
                           uint count, bool trigger);
void dma_channel_start(uint channel);
