/* What headers of ESPHome 2026.6.5 use of ESP-IDF 5.5 where this component includes them, to parse them here. */
#pragma once
#include "FreeRTOS.h"
