// Teensy 4.1, analogue microphones: a periodic timer collects the conversion that it began last
// time and begins the next, so that samples are as regular as the timer. Pins A0 to A11 (converter
// 1).
#include <Arduino.h>

#include "audio.h"
#include "serq_board.h"

static IntervalTimer timer;
static uint32_t channel;

static void tick()
{
    uint16_t word = static_cast<uint16_t>(ADC1_R0);
    ADC1_HC0 = channel;
    audio_take_adc(&word, 1);
}

bool audio_start(void)
{
    analogReadResolution(12);
    analogReadAveraging(1);
    analogRead(SERQ_AUDIO_ADC_PIN);         // sets the pin up, calibrates …
    channel = ADC1_HC0 & ADC_HC_ADCH(0x1F); // … and leaves the pin's channel
    ADC1_HC0 = channel;
    return timer.begin(tick, 1e6 / SERQ_AUDIO_RATE);
}
