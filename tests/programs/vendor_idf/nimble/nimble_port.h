/* ESP-IDF 5.5, NimBLE porting/nimble/include/nimble/nimble_port.h. */
#pragma once
#include "esp_err.h"
esp_err_t nimble_port_init(void);
void nimble_port_run(void);
