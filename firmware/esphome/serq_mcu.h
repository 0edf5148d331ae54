// The emotion of a stream of audio as a text sensor of ESPHome. The microphone's task writes to a
// ring, and ESPHome's loop reads from it and decides.
#pragma once

#ifdef USE_ESP32

#include <cstdint>
#include <vector>

#include "esphome/components/microphone/microphone_source.h"
#include "esphome/components/sensor/sensor.h"
#include "esphome/components/text_sensor/text_sensor.h"
#include "esphome/core/component.h"
#include "serq_amalgamated.h"

namespace esphome::serq_mcu
{

class SerqMcu : public text_sensor::TextSensor, public Component
{
  public:
    void set_microphone_source(microphone::MicrophoneSource *source)
    {
        this->source_ = source;
    }
    void set_confidence_sensor(sensor::Sensor *confidence)
    {
        this->confidence_ = confidence;
    }

    void setup() override;
    void loop() override;
    void dump_config() override;
    float get_setup_priority() const override
    {
        return setup_priority::AFTER_CONNECTION;
    }

  protected:
    static constexpr uint32_t RING = 8192; // samples: half a second, which the loop may be late
    static constexpr uint32_t PIECE = 256; // samples

    void take_(const std::vector<uint8_t> &data);
    void listen_(const int16_t *samples, uint32_t count);
    void report_(const serq_decision &decision);

    microphone::MicrophoneSource *source_{nullptr};
    sensor::Sensor *confidence_{nullptr};
    serq_audio converter_{};
    serq_ring ring_{};
    serq_stream stream_{};
    int16_t storage_[RING];
    uint32_t gaps_{0};
    int last_{SERQ_NO_SPEECH};
    int steady_{SERQ_NO_SPEECH};
};

} // namespace esphome::serq_mcu

#endif
