/* ESP32 family, I2S microphones: ESP-IDF 5's i2s_std driver, one slot of two in words of 32 bits.
 */
#include "driver/i2s_std.h"

#include "audio.h"
#include "audio_esp32.h"
#include "serq_board.h"

static bool received(i2s_chan_handle_t microphone, i2s_event_data_t *event, void *unused)
{
    (void)microphone;
    (void)unused;
    audio_take_i2s((const int32_t *)event->dma_buf, (uint32_t)(event->size / sizeof(int32_t)));
    return audio_wake();
}

bool audio_start(void)
{
    i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
    i2s_std_config_t standard = {
        .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(SERQ_AUDIO_RATE),
#if SERQ_AUDIO_SLOT_MSB
        .slot_cfg = I2S_STD_MSB_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
#else
        .slot_cfg =
            I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
#endif
        .gpio_cfg = {.mclk = I2S_GPIO_UNUSED,
                     .bclk = SERQ_AUDIO_I2S_CLOCK,
                     .ws = SERQ_AUDIO_I2S_SELECT,
                     .dout = I2S_GPIO_UNUSED,
                     .din = SERQ_AUDIO_I2S_DATA},
    };
    i2s_chan_handle_t microphone;

    channel.dma_desc_num = AUDIO_BUFFERS;
    channel.dma_frame_num = AUDIO_FRAMES;
    standard.slot_cfg.slot_mask = SERQ_AUDIO_RIGHT ? I2S_STD_SLOT_RIGHT : I2S_STD_SLOT_LEFT;
    return i2s_new_channel(&channel, NULL, &microphone) == ESP_OK &&
           i2s_channel_init_std_mode(microphone, &standard) == ESP_OK &&
           audio_listen(microphone, received);
}
