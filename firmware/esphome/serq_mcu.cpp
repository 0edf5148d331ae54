#include "serq_mcu.h"

#ifdef USE_ESP32

#include <algorithm>
#include <cmath>

#include "esphome/core/log.h"
#include "serq_board.h"

namespace esphome::serq_mcu
{

static const char *const TAG = "serq_mcu";

void SerqMcu::setup()
{
    this->converter_.settings = SERQ_AUDIO_SETTINGS;
    serq_ring_init(&this->ring_, this->storage_, RING);
    serq_stream_init(&this->stream_);
    this->publish_state(serq_label(this->steady_));
    this->source_->add_data_callback(
        [this](const std::vector<uint8_t> &data) { this->take_(data); });
    this->source_->start();
}

// In the microphone's task: samples of 32 bits, left-justified.
void SerqMcu::take_(const std::vector<uint8_t> &data)
{
    const auto *words = reinterpret_cast<const int32_t *>(data.data());
    int16_t samples[64];
    for (size_t left = data.size() / sizeof(int32_t); left > 0;) {
        const auto count = static_cast<uint32_t>(std::min<size_t>(left, 64));
        serq_audio_i2s(&this->converter_, words, count, samples);
        serq_ring_write(&this->ring_, samples, count);
        words += count;
        left -= count;
    }
}

void SerqMcu::loop()
{
    int16_t samples[PIECE];
    const uint32_t count = serq_ring_read(&this->ring_, samples, PIECE);
    const uint32_t gaps = serq_ring_gaps(&this->ring_);
    if (gaps != this->gaps_) { // what was heard before does not join what comes now
        ESP_LOGW(TAG, "Sound was lost: the loop was late");
        this->gaps_ = gaps;
        serq_stream_init(&this->stream_);
    }
    this->listen_(samples, count);
}

void SerqMcu::listen_(const int16_t *samples, uint32_t count)
{
    serq_decision decision;
    while (serq_stream_push(&this->stream_, &samples, &count, &decision) > 0) {
        this->report_(decision);
    }
}

// An answer is published when it came twice in a row.
void SerqMcu::report_(const serq_decision &decision)
{
    const bool twice = decision.answer == this->last_;
    this->last_ = decision.answer;
    if (twice && decision.answer != this->steady_) {
        this->steady_ = decision.answer;
        this->publish_state(serq_label(this->steady_));
    }
    if (this->confidence_ != nullptr && decision.answer == this->steady_) {
        const int percent = serq_confidence(&decision);
        this->confidence_->publish_state(percent < 0 ? NAN : static_cast<float>(percent));
    }
}

void SerqMcu::dump_config()
{
    LOG_TEXT_SENSOR("", "Emotion", this);
    LOG_SENSOR("  ", "Confidence", this->confidence_);
}

} // namespace esphome::serq_mcu

#endif
