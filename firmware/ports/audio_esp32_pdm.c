/* ESP32 and ESP32-S3, PDM microphones: ESP-IDF 5's i2s_pdm driver with the decimator that these two
 * chips have in hardware. Both slots are read, because a buffer of one slot alone has its samples
 * swapped on the ESP32. */
#include "driver/i2s_pdm.h"

#include "audio.h"
#include "audio_esp32.h"
#include "serq_board.h"

static bool received(i2s_chan_handle_t microphone, i2s_event_data_t *event, void *unused)
{
    const int16_t *words = (const int16_t *)event->dma_buf; /* left, right, left, … */
    uint32_t frames = (uint32_t)(event->size / (2 * sizeof(int16_t)));
    int16_t slot[AUDIO_FRAMES];
    (void)microphone;
    (void)unused;
    for (uint32_t i = 0; i < frames && i < AUDIO_FRAMES; i++) {
        slot[i] = words[2 * i + SERQ_AUDIO_RIGHT];
    }
    audio_take_pcm(slot, frames < AUDIO_FRAMES ? frames : AUDIO_FRAMES);
    return audio_wake();
}

bool audio_start(void)
{
    /* I2S_NUM_0 is the one with the decimator */
    i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_0, I2S_ROLE_MASTER);
    const i2s_pdm_rx_config_t pdm = {
        .clk_cfg = I2S_PDM_RX_CLK_DEFAULT_CONFIG(SERQ_AUDIO_RATE),
        .slot_cfg =
            I2S_PDM_RX_SLOT_PCM_FMT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_16BIT, I2S_SLOT_MODE_STEREO),
        .gpio_cfg = {.clk = SERQ_AUDIO_PDM_CLOCK, .din = SERQ_AUDIO_PDM_DATA},
    };
    i2s_chan_handle_t microphone;

    channel.dma_desc_num = AUDIO_BUFFERS;
    channel.dma_frame_num = AUDIO_FRAMES;
    return i2s_new_channel(&channel, NULL, &microphone) == ESP_OK &&
           i2s_channel_init_pdm_rx_mode(microphone, &pdm) == ESP_OK &&
           audio_listen(microphone, received);
}
