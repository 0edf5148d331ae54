// The PIO's instructions as the RP2040 datasheet, 3.4, encodes them; what the driver sets up is kept for the test.
#pragma once
#include <cstdint>
typedef unsigned int uint;
struct pio_program_t { const uint16_t *instructions; uint8_t length; int8_t origin; };
struct pio_sm_config {
    uint wrap_first, wrap_last, in_pin, side_pin, side_bits, threshold;
    bool shift_right, autopush;
    float divider;
};
struct pio_registers { volatile uint32_t rxf[4]; };
extern pio_registers *const pio0;
enum { PIO_FIFO_JOIN_RX = 2 };
enum pio_src_dest { pio_pins = 0, pio_x = 1 };
inline uint pio_encode_in(pio_src_dest from, uint bits) { return 0x4000u | (from << 5) | bits; }
inline uint pio_encode_jmp_x_dec(uint to) { return 0x0040u | to; }
inline uint pio_encode_set(pio_src_dest to, uint value) { return 0xE000u | (to << 5) | value; }
inline uint pio_encode_nop() { return 0xA042u; }
inline uint pio_encode_sideset(uint bits, uint value) { return value << (13 - bits); }
int pio_claim_unused_sm(pio_registers *, bool);
bool pio_can_add_program(pio_registers *, const pio_program_t *);
int pio_add_program(pio_registers *, const pio_program_t *program);
pio_sm_config pio_get_default_sm_config();
inline void sm_config_set_wrap(pio_sm_config *c, uint first, uint last) { c->wrap_first = first; c->wrap_last = last; }
inline void sm_config_set_in_pins(pio_sm_config *c, uint pin) { c->in_pin = pin; }
inline void sm_config_set_sideset_pins(pio_sm_config *c, uint pin) { c->side_pin = pin; }
inline void sm_config_set_sideset(pio_sm_config *c, uint bits, bool, bool) { c->side_bits = bits; }
inline void sm_config_set_in_shift(pio_sm_config *c, bool right, bool push, uint threshold)
{
    c->shift_right = right;
    c->autopush = push;
    c->threshold = threshold;
}
inline void sm_config_set_fifo_join(pio_sm_config *, int) {}
inline void sm_config_set_clkdiv(pio_sm_config *c, float divider) { c->divider = divider; }
inline void pio_gpio_init(pio_registers *, uint) {}
inline uint pio_get_dreq(pio_registers *, uint, bool) { return 4; }
void pio_sm_init(pio_registers *, uint, uint, const pio_sm_config *config);
void pio_sm_set_consecutive_pindirs(pio_registers *, uint, uint pin, uint count, bool out);
void pio_sm_exec(pio_registers *, uint, uint instruction);
void pio_sm_set_enabled(pio_registers *, uint, bool);
