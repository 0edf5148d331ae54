// ESPHome 2026.6.5, components/text_sensor/text_sensor.h: what the component uses; it prints what is published.
#pragma once
#include <cstdio>
#define LOG_TEXT_SENSOR(prefix, type, obj) ((void) (obj))
namespace esphome::text_sensor {
class TextSensor {
 public:
  void publish_state(const char *state) { std::printf("emotion %s\n", state); }
};
}  // namespace esphome::text_sensor
