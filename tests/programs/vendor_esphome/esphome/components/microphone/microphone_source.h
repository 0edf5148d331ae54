// ESPHome 2026.6.5, components/microphone/microphone_source.h: what the component uses, with a microphone that a test feeds.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>
namespace esphome::microphone {
class MicrophoneSource {
 public:
  template<typename F> void add_data_callback(F &&data_callback) { this->callback = data_callback; }
  void start() { this->started = true; }
  bool started{false};
  std::function<void(const std::vector<uint8_t> &)> callback;
};
}  // namespace esphome::microphone
