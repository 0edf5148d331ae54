// Feeds the component 32-bit samples from standard input, a piece at a time; its loop comes after each
// piece, but not after those from `lost` on, which are more than its ring holds.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "serq_mcu.h"

int main(int, char **arguments) {
  static esphome::serq_mcu::SerqMcu component;
  esphome::microphone::MicrophoneSource source;
  esphome::sensor::Sensor confidence;
  const long lost = std::strtol(arguments[1], nullptr, 10);
  std::vector<uint8_t> piece(4 * 200);
  component.set_microphone_source(&source);
  component.set_confidence_sensor(&confidence);
  component.setup();
  for (long i = 0; source.started && std::fread(piece.data(), 1, piece.size(), stdin) == piece.size(); i++) {
    source.callback(piece);
    if (lost < 0 || i < lost || i > lost + 50) {
      component.loop();
    }
  }
  for (int i = 0; i < 100; i++) {
    component.loop();
  }
}
