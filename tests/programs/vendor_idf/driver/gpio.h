/* What the examples use of ESP-IDF 5.5, components/esp_driver_gpio/include/driver/gpio.h. */
#pragma once
#include "esp_err.h"
typedef int gpio_num_t; /* an enumeration there, to which C converts an int */
typedef enum { GPIO_MODE_INPUT = 1, GPIO_MODE_OUTPUT = 2 } gpio_mode_t;
esp_err_t gpio_reset_pin(gpio_num_t gpio_num);
esp_err_t gpio_set_direction(gpio_num_t gpio_num, gpio_mode_t mode);
esp_err_t gpio_pullup_dis(gpio_num_t gpio_num);
int gpio_get_level(gpio_num_t gpio_num);
