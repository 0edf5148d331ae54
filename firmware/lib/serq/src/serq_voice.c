#include "serq.h"

#ifdef SERQ_VOICE_MOST

#include <stddef.h>
#include <string.h>

#include "serq_checks.h"
#include "serq_fixed.h"

enum { STEP_MAX = 127, RESIDUAL_MAX = 254, HEARD = 256 };

/* The struct is what is stored: without gaps. */
SERQ_CHECK(voice, sizeof(serq_voice) == 16 + 2 * (SERQ_CLASSES + SERQ_VOICE_SUMS) + 4)
SERQ_CHECK(voice_sums, RESIDUAL_MAX *SERQ_VOICE_MOST <= INT16_MAX)
SERQ_CHECK(voice_heard, HEARD *SERQ_VOICE_MOST <= UINT16_MAX)

static const uint8_t voice_magic[4] = {'S', 'R', 'Q', 'V'};
static const uint8_t voice_model[8] = SERQ_IDENTITY;

void serq_voice_reset(serq_voice *voice)
{
    if (voice == NULL) {
        return;
    }
    memset(voice, 0, sizeof *voice);
    memcpy(voice->magic, voice_magic, sizeof voice_magic);
    memcpy(voice->model, voice_model, sizeof voice_model);
    voice->version = SERQ_VOICE_VERSION;
}

/* CRC-32 (IEEE 802.3), bit by bit: it is needed when a voice is stored, and there is no table. */
static uint32_t crc_of(const serq_voice *voice)
{
    const uint8_t *next = (const uint8_t *)voice;
    const uint8_t *end = next + offsetof(serq_voice, crc);
    uint32_t crc = UINT32_MAX;
    while (next != end) {
        crc ^= *next++;
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xedb88320U & (0U - (crc & 1)));
        }
    }
    return ~crc;
}

void serq_voice_seal(serq_voice *voice)
{
    if (voice != NULL) {
        voice->crc = crc_of(voice);
    }
}

/* The most that was heard of one class. */
static int32_t most_heard(const serq_voice *voice)
{
    int32_t most = 0;
    for (unsigned i = 0; i < SERQ_CLASSES; i++) {
        most = voice->heard[i] > most ? voice->heard[i] : most;
    }
    return most;
}

/* Whether learning can have led here; more could overflow. */
static bool possible(const serq_voice *voice)
{
    int32_t most = RESIDUAL_MAX * (int32_t)voice->windows;
    if (voice->windows > SERQ_VOICE_MOST || most_heard(voice) > HEARD * (int32_t)voice->windows) {
        return false;
    }
    for (unsigned i = 0; i < SERQ_VOICE_SUMS; i++) {
        if (voice->sums[i] > most || voice->sums[i] < -most) {
            return false;
        }
    }
    return true;
}

/* Why the bytes are no voice of this model, or 0. */
static int fault_of(const serq_voice *voice)
{
    bool whole = memcmp(voice->magic, voice_magic, sizeof voice_magic) == 0;
    if (!whole || voice->crc != crc_of(voice)) {
        return SERQ_ERROR_VOICE_DAMAGED;
    }
    bool own = memcmp(voice->model, voice_model, sizeof voice_model) == 0;
    if (!own || voice->version != SERQ_VOICE_VERSION) {
        return SERQ_ERROR_VOICE_FOREIGN;
    }
    return possible(voice) ? 0 : SERQ_ERROR_VOICE_DAMAGED;
}

int serq_voice_open(serq_voice *voice)
{
    if (voice == NULL) {
        return SERQ_ERROR_ARGUMENT;
    }
    int fault = fault_of(voice);
    if (fault != 0) {
        serq_voice_reset(voice);
    }
    return fault;
}

/* The nearest integer to sum / count, ties away from zero. */
static int32_t divide(int32_t sum, int32_t count)
{
    int32_t twice = 2 * sum;
    return (twice < 0 ? twice - count : twice + count) / (2 * count);
}

/* What all sums are divided by, but for each feature's count: a class that is heard much says
 * little of the others. */
static int32_t evidence(const serq_voice *voice)
{
    return voice->windows + (most_heard(voice) + HEARD / 2) / HEARD;
}

void serq_voice_standardize(const serq_voice *voice, const int32_t *pooled, const int32_t *center,
                            const uint16_t *scale, const uint16_t *counts, uint8_t *activations)
{
    if (voice == NULL || voice->windows == 0) {
        serq_standardize(pooled, SERQ_FEATURES, center, scale, activations);
        return;
    }
    int32_t windows = evidence(voice);
    for (unsigned i = 0; i < SERQ_FEATURES; i++) {
        int32_t step = 0;
        if (pooled[i] != SERQ_MISSING) {
            int32_t shift = divide(voice->sums[i], windows + (int32_t)counts[i]);
            step = serq_steps(pooled[i], center[i], scale[i]) - shift;
        }
        activations[i] = (uint8_t)serq_clamp(SERQ_ZERO_POINT + step, 0, SERQ_ACTIVATION_MAX);
    }
}

void serq_voice_learn(serq_voice *voice, const int32_t *pooled, const int32_t *center,
                      const uint16_t *scale, const uint16_t *counts, const int8_t *means, int label)
{
    bool full = voice->windows == SERQ_VOICE_MOST;
    int32_t windows = evidence(voice);
    means += label * SERQ_FEATURES;
    for (unsigned i = 0; i < SERQ_FEATURES; i++) {
        int32_t sum = voice->sums[i];
        int32_t residual;
        if (pooled[i] != SERQ_MISSING) {
            int32_t step = serq_steps(pooled[i], center[i], scale[i]);
            residual = serq_clamp(step, -STEP_MAX, STEP_MAX) - means[i];
        } else { /* as far as is known */
            residual = divide(sum, windows + (int32_t)counts[i]);
        }
        if (full) {
            sum -= divide(sum, SERQ_VOICE_MOST);
        }
        voice->sums[i] = (int16_t)(sum + residual);
    }
    for (unsigned i = 0; full && i < SERQ_CLASSES; i++) {
        voice->heard[i] = (uint16_t)(voice->heard[i] - divide(voice->heard[i], SERQ_VOICE_MOST));
    }
    voice->heard[label] = (uint16_t)(voice->heard[label] + HEARD);
    voice->windows = (uint16_t)(voice->windows + !full);
}

#else
typedef char serq_voice_is_empty; /* ISO C wants something in a file */
#endif
