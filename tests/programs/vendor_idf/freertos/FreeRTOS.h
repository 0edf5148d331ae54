/* What the examples use of ESP-IDF 5.5, components/freertos: a spinlock. */
#pragma once
#include "esp_err.h"
typedef struct { uint32_t owner, count; } portMUX_TYPE;
#define portMUX_INITIALIZER_UNLOCKED { 0xB33FFFFF, 0 }
void vPortEnterCritical(portMUX_TYPE *mux);
void vPortExitCritical(portMUX_TYPE *mux);
#define taskENTER_CRITICAL(mux) vPortEnterCritical(mux)
#define taskEXIT_CRITICAL(mux) vPortExitCritical(mux)
