/* What headers of ESPHome 2026.6.5 use of ESP-IDF 5.5 where this component includes them, to parse them here. */
#pragma once
#include <stdint.h>
typedef int BaseType_t; typedef unsigned UBaseType_t; typedef uint32_t TickType_t;
typedef void *TaskHandle_t; typedef void *SemaphoreHandle_t;
#define portMAX_DELAY 0xffffffffUL
#define pdTRUE 1
#define pdMS_TO_TICKS(x) (x)
#define portTICK_PERIOD_MS 1
#define configTICK_RATE_HZ 1000
extern "C" { void vPortYield(void); SemaphoreHandle_t xSemaphoreCreateMutex(void); int xSemaphoreTake(SemaphoreHandle_t, TickType_t); int xSemaphoreGive(SemaphoreHandle_t); TickType_t xTaskGetTickCount(void); void vTaskDelay(TickType_t); bool xPortInIsrContext(void); TaskHandle_t xTaskGetCurrentTaskHandle(void); }
