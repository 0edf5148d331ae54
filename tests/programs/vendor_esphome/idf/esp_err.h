/* What headers of ESPHome 2026.6.5 use of ESP-IDF 5.5 where this component includes them, to parse them here. */
#pragma once
typedef int esp_err_t;
#define ESP_OK 0
