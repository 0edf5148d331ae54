#include "serq_audio.h"

#include "serq_fixed.h"

enum { HALF_SCALE = 1 << 19 }; /* of the 20-bit precursor of a sample */

/* A 20-bit value without its DC offset. */
static int32_t without_level(serq_audio *audio, int32_t value)
{
    uint32_t shift = audio->settings.dc_shift;
    if (shift == 0) {
        return value;
    }
    if (!audio->started) {
        audio->started = 1;
        audio->level = value * (1 << shift);
    }
    int32_t rest = value - ((audio->level + (1 << (shift - 1))) >> shift);
    audio->level += rest;
    return rest;
}

static int16_t sample(serq_audio *audio, int32_t value)
{
    uint32_t shift = audio->settings.gain_shift;
    int32_t product = without_level(audio, value) * audio->settings.gain; /* below 2^20 x 2^10 */
    return (int16_t)serq_clamp((product + (1 << (shift - 1))) >> shift, INT16_MIN, INT16_MAX);
}

void serq_audio_i2s(serq_audio *audio, const int32_t *words, uint32_t count, int16_t *samples)
{
    uint32_t shift = 12U - audio->settings.bit_shift;
    for (uint32_t i = 0; i < count; i++) {
        samples[i] = sample(audio, serq_clamp(words[i] >> shift, -HALF_SCALE, HALF_SCALE - 1));
    }
}

void serq_audio_pcm(serq_audio *audio, const int16_t *words, uint32_t count, int16_t *samples)
{
    for (uint32_t i = 0; i < count; i++) {
        samples[i] = sample(audio, words[i] * 16);
    }
}

void serq_audio_adc(serq_audio *audio, const uint16_t *words, uint32_t count, int16_t *samples)
{
    for (uint32_t i = 0; i < count; i++) {
        samples[i] = sample(audio, ((int32_t)(words[i] & 0xFFFU) - 2048) * 256);
    }
}

/* Half of a symmetric low-pass in 2^-14 for 64 kHz: to 6.4 kHz flat within 0.11 dB together with
 * the integrators' droop, from 9.6 kHz (which folds to 6.4) at least 54 dB down. The last is the
 * middle. */
static const int16_t half_filter[(SERQ_PDM_TAPS + 1) / 2] = {
    -3,   -4,   1,    12, 23,  25,  9,   -22, -54,  -63,  -32,  35, 105,  131,  77,   -48,
    -185, -245, -161, 59, 313, 444, 324, -59, -550, -869, -733, 2,  1236, 2631, 3730, 4126,
};

/* 16 bits through four integrators and, once, four combs: their sum weighted to 2^16, so that the
 * middle is 2^15. */
static int16_t decimate16(serq_pdm *pdm, uint32_t bits)
{
    uint32_t a = pdm->integrators[0], b = pdm->integrators[1], c = pdm->integrators[2],
             d = pdm->integrators[3];

    /* modulo 2^32: what overflows here the combs take back */
    for (uint32_t bit = 0; bit < 16; bit++) {
        a += bits >> (15 - bit) & 1U;
        b += a;
        c += b;
        d += c;
    }
    pdm->integrators[0] = a;
    pdm->integrators[1] = b;
    pdm->integrators[2] = c;
    pdm->integrators[3] = d;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t last = pdm->combs[i];
        pdm->combs[i] = d;
        d -= last;
    }
    return (int16_t)serq_clamp((int32_t)d - 32768, INT16_MIN, INT16_MAX);
}

static int32_t filter(const serq_pdm *pdm)
{
    enum { MASK = SERQ_PDM_TAPS, MIDDLE = SERQ_PDM_TAPS / 2 };
    uint32_t oldest = pdm->newest + 2U; /* the ring holds one more than the filter sees */
    int32_t sum = half_filter[MIDDLE] * pdm->history[(oldest + MIDDLE) & MASK];
    for (uint32_t i = 0; i < MIDDLE; i++) {
        sum += half_filter[i] * (pdm->history[(oldest + i) & MASK] +
                                 pdm->history[(oldest + SERQ_PDM_TAPS - 1 - i) & MASK]);
    }
    return sum >> 10; /* the taps' magnitudes sum to less than 2^15: 2^30 at most, to 20 bits */
}

void serq_audio_pdm(serq_audio *audio, serq_pdm *pdm, const uint16_t *words, uint32_t count,
                    int16_t *samples)
{
    enum { WORDS = SERQ_PDM_DECIMATION / 16 };
    for (uint32_t i = 0; i < count / WORDS; i++) {
        for (uint32_t j = 0; j < WORDS; j++) {
            pdm->newest = (uint8_t)((pdm->newest + 1) & SERQ_PDM_TAPS);
            pdm->history[pdm->newest] = decimate16(pdm, words[WORDS * i + j]);
        }
        samples[i] = sample(audio, serq_clamp(filter(pdm), -HALF_SCALE, HALF_SCALE - 1));
    }
}
