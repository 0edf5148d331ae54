// ESPHome 2026.6.5, core/log.h: what the component uses.
#pragma once
#include <cstdio>
#define ESP_LOGW(tag, text) std::printf("%s: %s\n", tag, text)
