// RP2040, PDM microphones by PIO: 64 bits a sample, decimated by serq_audio_pdm. A microphone whose
// L/R is low holds its bit while the clock is low; the pin is read as it was before the step that
// moves the clock.
#include <Arduino.h>

#include "audio.h"
#include "audio_rp2040.h"
#include "audio_rp2040_pio.h"
#include "serq_board.h"

enum { BITS_A_SAMPLE = 64, STEPS_A_BIT = 2, WORD_BITS = 16 };

static void take(const void *words, uint32_t bytes)
{
    audio_take_pdm(static_cast<const uint16_t *>(words), bytes / sizeof(uint16_t));
}

bool audio_start(void)
{
    const uint16_t low = pio_encode_sideset(1, 0), high = pio_encode_sideset(1, 1);
    const uint16_t read = pio_encode_in(pio_pins, 1), wait = pio_encode_nop();
    const uint16_t left[] = {static_cast<uint16_t>(wait | low), static_cast<uint16_t>(read | high)};
    const uint16_t right[] = {static_cast<uint16_t>(wait | high),
                              static_cast<uint16_t>(read | low)};
    const rp2040_program program = {SERQ_AUDIO_RIGHT ? right : left, 2, 1, WORD_BITS,
                                    SERQ_AUDIO_RATE * BITS_A_SAMPLE * STEPS_A_BIT};
    int machine = rp2040_set_up(&program, SERQ_AUDIO_PDM_CLOCK, SERQ_AUDIO_PDM_DATA);
    if (machine < 0) {
        return false;
    }
    uint of = static_cast<uint>(machine);
    if (!rp2040_listen(&pio0->rxf[of], pio_get_dreq(pio0, of, false), DMA_SIZE_16, take)) {
        return false;
    }
    pio_sm_set_enabled(pio0, of, true);
    return true;
}
