/* What headers of ESPHome 2026.6.5 use of ESP-IDF 5.5 where this component includes them, to parse them here. */
#include <stdint.h>
#define ESP_LOG_LEVEL 3
extern "C" int64_t esp_timer_get_time(void);
extern "C" uint32_t esp_cpu_get_cycle_count(void);