/* Converts a microphone's words on standard input to samples on standard output, in pieces of varying size; the first bytes say how. */
#include <stdio.h>
#include <string.h>

#include "serq_audio.h"

enum { WORDS = 256 };

int main(void)
{
    static serq_audio audio;
    static serq_pdm pdm;
    static int16_t samples[WORDS];
    uint8_t how[8]; /* kind, bit_shift, dc_shift, gain_shift, gain */
    uint32_t size = 1;

    if (fread(how, 1, sizeof how, stdin) != sizeof how) {
        return 2;
    }
    audio.settings.bit_shift = how[1];
    audio.settings.dc_shift = how[2];
    audio.settings.gain_shift = how[3];
    audio.settings.gain = (uint16_t)(how[4] | how[5] << 8);
    for (;;) {
        union {
            int32_t i2s[WORDS];
            int16_t pcm[WORDS];
            uint16_t raw[WORDS];
        } words;
        uint32_t asked = how[0] == 'm' ? (size & ~3u) + 4u : size;
        uint32_t count = (uint32_t)fread(&words, how[0] == 'i' ? 4 : 2, asked, stdin);
        if (count == 0) {
            return 0;
        }
        switch (how[0]) {
        case 'i':
            serq_audio_i2s(&audio, words.i2s, count, samples);
            break;
        case 'p':
            serq_audio_pcm(&audio, words.pcm, count, samples);
            break;
        case 'a':
            serq_audio_adc(&audio, words.raw, count, samples);
            break;
        default:
            serq_audio_pdm(&audio, &pdm, words.raw, count, samples);
            count /= 4;
        }
        fwrite(samples, sizeof samples[0], count, stdout);
        size = size * 5 % 251 + 1;
    }
}
