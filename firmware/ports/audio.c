/* From a driver's words to an application's samples, on any board. */
#include "audio.h"

#include "serq_audio.h"
#include "serq_board.h"
#include "serq_fixed.h"

SERQ_CHECK(ring_size, SERQ_AUDIO_RING_SAMPLES > 0 &&
                          (SERQ_AUDIO_RING_SAMPLES & (SERQ_AUDIO_RING_SAMPLES - 1)) == 0)

enum { PIECE = 64 }; /* samples converted at once, on the stack of whoever brings the words */

static int16_t storage[SERQ_AUDIO_RING_SAMPLES];
static serq_ring ring = {storage, SERQ_AUDIO_RING_SAMPLES, 0, 0, 0, 0, 0};
static serq_audio converter = {SERQ_AUDIO_SETTINGS, 0, 0};

void audio_take_i2s(const int32_t *words, uint32_t count)
{
    int16_t samples[PIECE];
    for (uint32_t i = 0; i < count; i += PIECE) {
        uint32_t piece = count - i < PIECE ? count - i : PIECE;
        serq_audio_i2s(&converter, words + i, piece, samples);
        serq_ring_write(&ring, samples, piece);
    }
}

void audio_take_pcm(const int16_t *words, uint32_t count)
{
    int16_t samples[PIECE];
    for (uint32_t i = 0; i < count; i += PIECE) {
        uint32_t piece = count - i < PIECE ? count - i : PIECE;
        serq_audio_pcm(&converter, words + i, piece, samples);
        serq_ring_write(&ring, samples, piece);
    }
}

void audio_take_adc(const uint16_t *words, uint32_t count)
{
    int16_t samples[PIECE];
    for (uint32_t i = 0; i < count; i += PIECE) {
        uint32_t piece = count - i < PIECE ? count - i : PIECE;
        serq_audio_adc(&converter, words + i, piece, samples);
        serq_ring_write(&ring, samples, piece);
    }
}

void audio_take_pdm(const uint16_t *words, uint32_t count)
{
    static serq_pdm decimator;
    int16_t samples[PIECE];
    for (uint32_t i = 0; i < count; i += 4 * PIECE) {
        uint32_t piece = count - i < 4 * PIECE ? count - i : 4 * PIECE;
        serq_audio_pdm(&converter, &decimator, words + i, piece, samples);
        serq_ring_write(&ring, samples, piece / 4);
    }
}

uint32_t audio_read(int16_t *samples, uint32_t capacity)
{
    uint32_t count;
    while ((count = serq_ring_read(&ring, samples, capacity)) == 0) {
        if (!audio_wait()) {
            return 0;
        }
    }
    return count;
}

uint32_t audio_waiting(void)
{
    return serq_ring_waiting(&ring);
}

uint32_t audio_gaps(void)
{
    return serq_ring_gaps(&ring);
}

uint32_t audio_overruns(void)
{
    return serq_ring_overruns(&ring);
}
