/* What an example uses of ESP-IDF's driver/gpio.h, with its types (ESP-IDF 5.5, esp_driver_gpio). */
#pragma once

#include <stdint.h>

typedef int gpio_num_t; /* an enumeration there, to which C converts an int */
typedef enum { GPIO_MODE_INPUT = 1, GPIO_MODE_OUTPUT = 2 } gpio_mode_t;
typedef int esp_err_t;

esp_err_t gpio_reset_pin(gpio_num_t gpio_num);
esp_err_t gpio_set_direction(gpio_num_t gpio_num, gpio_mode_t mode);
esp_err_t gpio_set_level(gpio_num_t gpio_num, uint32_t level);
