// ESPHome 2026.6.5, components/sensor/sensor.h: what the component uses; it prints what is published.
#pragma once
#include <cstdio>
#define LOG_SENSOR(prefix, type, obj) ((void) (obj))
namespace esphome::sensor {
class Sensor {
 public:
  void publish_state(float state) { std::printf("confidence %.0f\n", static_cast<double>(state)); }
};
}  // namespace esphome::sensor
