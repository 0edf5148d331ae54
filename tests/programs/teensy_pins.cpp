// Says whether the Teensy's driver starts with the pin that SERQ_AUDIO_ADC_PIN names.
#include <Arduino.h>

#include "audio.h"

volatile uint32_t ADC1_R0, ADC1_HC0;

void analogReadResolution(int)
{
}

void analogReadAveraging(int)
{
}

int analogRead(uint8_t)
{
    return 0;
}

void audio_take_adc(const uint16_t *, uint32_t)
{
}

int main()
{
    return audio_start() ? 0 : 1;
}
