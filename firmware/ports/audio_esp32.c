/* ESP32 family under ESP-IDF 5: what its drivers share. A driver's callback runs in the interrupt
 * that a full DMA buffer raises, takes the words from the buffer itself and wakes the task that
 * reads; the channel's own queue is never waited on. */
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "audio.h"
#include "audio_esp32.h"

static TaskHandle_t reader;

bool audio_wake(void)
{
    BaseType_t woken = pdFALSE;
    vTaskNotifyGiveFromISR(reader, &woken);
    return woken == pdTRUE;
}

bool audio_listen(i2s_chan_handle_t microphone, i2s_isr_callback_t received)
{
    const i2s_event_callbacks_t callbacks = {.on_recv = received};
    reader = xTaskGetCurrentTaskHandle();
    return i2s_channel_register_event_callback(microphone, &callbacks, NULL) == ESP_OK &&
           i2s_channel_enable(microphone) == ESP_OK;
}

bool audio_wait(void)
{
    ulTaskNotifyTake(pdTRUE, portMAX_DELAY); /* blocks: the idle task runs and feeds its watchdog */
    return true;
}

uint32_t audio_micros(void)
{
    return (uint32_t)esp_timer_get_time();
}

void audio_yield(void)
{
    vTaskDelay(1);
}
