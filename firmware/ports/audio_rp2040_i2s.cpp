// RP2040, I2S microphones by PIO: 64 bit clocks a frame, two slots of 32 bits, the word select on
// the pin after the clock's. Bits are read at the rising edge. With Philips' delay the select moves
// one bit before a word begins, else with it.
#include <Arduino.h>

#include "audio.h"
#include "audio_rp2040.h"
#include "audio_rp2040_pio.h"
#include "serq_board.h"

#if SERQ_AUDIO_I2S_SELECT != SERQ_AUDIO_I2S_CLOCK + 1
#error "audio.i2s_select must be the pin after audio.i2s_clock"
#endif

enum { SLOT_BITS = 32, SLOTS = 2, STEPS_A_BIT = 2, WORDS = 128, LENGTH = 8 };
enum { CLOCK = 1, SELECT = 2 }; // of the side-set pins

// Of a slot's 32 bits the loop reads all but one.
enum { LOOPS = SLOT_BITS - 2, FIRST_LOOPS = SERQ_AUDIO_SLOT_MSB ? LOOPS : LOOPS - 1 };

static void take(const void *words, uint32_t bytes)
{
    const int32_t *both = static_cast<const int32_t *>(words); // left, right, left, …
    int32_t slot[WORDS / SLOTS];
    uint32_t frames = bytes / (SLOTS * sizeof both[0]);
    for (uint32_t i = 0; i < frames; i++) {
        slot[i] = both[SLOTS * i + SERQ_AUDIO_RIGHT];
    }
    audio_take_i2s(slot, frames);
}

static uint16_t with(uint instruction, unsigned pins)
{
    return static_cast<uint16_t>(instruction | pio_encode_sideset(2, pins));
}

bool audio_start(void)
{
    const uint16_t instructions[LENGTH] = {
        with(pio_encode_in(pio_pins, 1), CLOCK), // the left word's bits, but for the last
        with(pio_encode_jmp_x_dec(0), 0),
        with(pio_encode_in(pio_pins, 1), CLOCK),
        with(pio_encode_set(pio_x, LOOPS), SELECT),
        with(pio_encode_in(pio_pins, 1), CLOCK | SELECT), // the right word's
        with(pio_encode_jmp_x_dec(4), SELECT),
        with(pio_encode_in(pio_pins, 1), CLOCK | SELECT),
        with(pio_encode_set(pio_x, LOOPS), 0),
    };
    const rp2040_program program = {instructions, LENGTH, 2, SLOT_BITS,
                                    SERQ_AUDIO_RATE * SLOT_BITS * SLOTS * STEPS_A_BIT};
    int machine = rp2040_set_up(&program, SERQ_AUDIO_I2S_CLOCK, SERQ_AUDIO_I2S_DATA);
    if (machine < 0) {
        return false;
    }
    uint of = static_cast<uint>(machine);
    if (!rp2040_listen(&pio0->rxf[of], pio_get_dreq(pio0, of, false), DMA_SIZE_32, take)) {
        return false;
    }
    pio_sm_exec(pio0, of,
                with(pio_encode_set(pio_x, FIRST_LOOPS), 0)); // so that words begin with slots
    pio_sm_set_enabled(pio0, of, true);
    return true;
}
