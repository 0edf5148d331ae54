// Teensy 4.0 and 4.1, analogue microphones: a periodic timer collects the conversion that it began
// last time and begins the next, so that samples are as regular as the timer. Pins A0 to A11, and
// on the 4.1 A16 and A17: the others are converter 2's.
#include <Arduino.h>

#include "audio.h"
#include "serq_board.h"

static IntervalTimer timer;
static uint32_t channel;

static bool converter_1(uint8_t pin)
{
#ifdef ARDUINO_TEENSY41
    if (pin == A16 || pin == A17) {
        return true;
    }
#endif
    return pin >= A0 && pin <= A11; // pins 14 to 25
}

static void tick()
{
    uint16_t word = static_cast<uint16_t>(ADC1_R0);
    ADC1_HC0 = channel;
    audio_take_adc(&word, 1);
}

bool audio_start(void)
{
    if (!converter_1(SERQ_AUDIO_ADC_PIN)) {
        return false;
    }
    analogReadResolution(12);
    analogReadAveraging(1);
    analogRead(SERQ_AUDIO_ADC_PIN);         // sets the pin up, calibrates …
    channel = ADC1_HC0 & ADC_HC_ADCH(0x1F); // … and leaves the pin's channel
    ADC1_HC0 = channel;
    return timer.begin(tick, 1e6 / SERQ_AUDIO_RATE);
}
