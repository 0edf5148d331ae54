// ArduinoCore-mbed's PDM library: Nano 33 BLE Sense, Nano RP2040 Connect. It stops for good if a
// buffer is not taken in time, so its callback, which runs in the interrupt, takes it at once.
#include <Arduino.h>
#include <PDM.h>

#include "audio.h"
#include "serq_board.h"

#if SERQ_AUDIO_RATE != 16000
#error "the PDM library of this board gives 16000 samples a second: leave audio.rate_hz at that"
#endif

#if defined(ARDUINO_ARCH_RP2040)
enum { NEUTRAL_GAIN = 16 }; // the library's own, a factor; the rest of the gain is ours
#else
enum { NEUTRAL_GAIN = 40 }; // the peripheral's 0 dB, of 0 to 80 half decibels; the rest is ours
#endif

static void received()
{
    static int16_t words[256]; // the library's buffer of 512 bytes
    audio_take_pcm(words, static_cast<uint32_t>(PDM.read(words, sizeof words)) / sizeof words[0]);
}

bool audio_start(void)
{
    PDM.onReceive(received);
    PDM.setBufferSize(512);
#if defined(ARDUINO_ARCH_RP2040)
    PDM.setGain(NEUTRAL_GAIN); // after begin() it would set the filter up again while that runs
    return PDM.begin(1, SERQ_AUDIO_RATE) != 0;
#else
    if (PDM.begin(1, SERQ_AUDIO_RATE) == 0) {
        return false;
    }
    PDM.setGain(NEUTRAL_GAIN); // begin() has set its own
    return true;
#endif
}
