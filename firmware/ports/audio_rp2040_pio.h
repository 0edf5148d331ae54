// RP2040: a state machine of the PIO that drives a microphone's clocks and shifts its bits in.
#pragma once
#include "hardware/clocks.h"
#include "hardware/pio.h"

struct rp2040_program {
    const uint16_t *instructions;
    uint8_t length;
    uint8_t clock_pins; // consecutive, set beside each instruction
    uint8_t word_bits;  // pushed when they have come, the first bit the highest
    uint32_t steps_a_second;
};

// Set a state machine of PIO 0 up, and stopped. Negative if there is no room.
static inline int rp2040_set_up(const rp2040_program *program, unsigned first_clock, unsigned data)
{
    pio_program_t loaded = {};
    loaded.instructions = program->instructions;
    loaded.length = program->length;
    loaded.origin = -1;
    int claimed = pio_claim_unused_sm(pio0, false);
    if (claimed < 0 || !pio_can_add_program(pio0, &loaded)) {
        return -1;
    }
    uint machine = static_cast<uint>(claimed),
         offset = static_cast<uint>(pio_add_program(pio0, &loaded));
    pio_sm_config config = pio_get_default_sm_config();
    sm_config_set_wrap(&config, offset, offset + program->length - 1U);
    sm_config_set_in_pins(&config, data);
    sm_config_set_sideset_pins(&config, first_clock);
    sm_config_set_sideset(&config, program->clock_pins, false, false);
    sm_config_set_in_shift(&config, false, true, program->word_bits);
    sm_config_set_fifo_join(&config, PIO_FIFO_JOIN_RX);
    sm_config_set_clkdiv(&config, static_cast<float>(clock_get_hz(clk_sys)) /
                                      static_cast<float>(program->steps_a_second));
    for (unsigned pin = 0; pin < program->clock_pins; pin++) {
        pio_gpio_init(pio0, first_clock + pin);
    }
    pio_gpio_init(pio0, data);
    pio_sm_init(pio0, machine, offset, &config);
    pio_sm_set_consecutive_pindirs(pio0, machine, first_clock, program->clock_pins, true);
    pio_sm_set_consecutive_pindirs(pio0, machine, data, 1, false);
    return claimed;
}
