// ESPHome 2026.6.5, core/component.h: what the component uses.
#pragma once
namespace esphome {
namespace setup_priority {
inline constexpr float AFTER_CONNECTION = 100.0f;
}
class Component {
 public:
  virtual void setup() {}
  virtual void loop() {}
  virtual void dump_config() {}
  virtual float get_setup_priority() const { return 0; }
};
}  // namespace esphome
