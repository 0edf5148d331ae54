// Runs the state machine that an RP2040 driver sets up, step by step, against a made-up microphone on its pins, and
// prints the divider and the samples that the application gets.
#include <Arduino.h>

#include <cstdio>
#include <vector>

#include "audio.h"
#include "audio_rp2040.h"
#include "hardware/pio.h"
#include "serq_board.h"

static pio_registers registers_of_test;
pio_registers *const pio0 = &registers_of_test;

static std::vector<uint16_t> code;
static pio_sm_config config;
static uint32_t pins, shifted, shifted_bits, x, counter;
static void (*taker)(const void *, uint32_t);
static std::vector<uint8_t> pushed;

int pio_claim_unused_sm(pio_registers *, bool)
{
    return 0;
}

bool pio_can_add_program(pio_registers *, const pio_program_t *)
{
    return true;
}

int pio_add_program(pio_registers *, const pio_program_t *program)
{
    code.assign(program->instructions, program->instructions + program->length);
    return 0;
}

pio_sm_config pio_get_default_sm_config()
{
    return {};
}

void pio_sm_init(pio_registers *, uint, uint, const pio_sm_config *of)
{
    config = *of;
}

void pio_sm_set_consecutive_pindirs(pio_registers *, uint, uint, uint, bool)
{
}

bool rp2040_listen(const volatile void *, unsigned, dma_channel_transfer_size, void (*take)(const void *, uint32_t))
{
    taker = take;
    return true;
}

static bool clock_was;
static uint32_t frame;

static void drive(bool bit)
{
    pins = bit ? pins | 1u << config.in_pin : pins & ~(1u << config.in_pin);
}

#ifdef PDM
// A left microphone's bit while the clock is low, a right one's while it is high: of n bits, bit n of a number.
static void microphone()
{
    bool clock = pins >> config.side_pin & 1;
    if (clock && !clock_was) {
        frame++;
    }
    uint32_t left = frame * 2654435761u >> 31, right = frame * 40503u >> 15 & 1;
    drive(clock ? right : left);
    clock_was = clock;
}
#else
static bool select_was;
static int bit_of_word; // begins at the select's edge, or a clock later
static uint32_t word, word_before;

// Frame n has n * 65536 + 1 in its left slot and the negative of that in its right one, moved at falling edges.
static void microphone()
{
    bool clock = pins >> config.side_pin & 1, select = pins >> (config.side_pin + 1) & 1;
    if (clock_was && !clock) {
        if (select != select_was) {
            frame += !select;
            word_before = word;
            word = frame * 65536 + 1;
            word = select ? 0u - word : word;
            bit_of_word = SERQ_AUDIO_SLOT_MSB ? 0 : -1;
        } else {
            bit_of_word++;
        }
        if (bit_of_word == -1) {
            drive(word_before & 1); // its last bit
        } else {
            drive(bit_of_word < 32 && (word >> (31 - bit_of_word) & 1));
        }
        select_was = select;
    }
    clock_was = clock;
}
#endif

static void step(uint16_t instruction)
{
    uint32_t before = pins, low = 13 - config.side_bits;
    uint32_t side = instruction >> low & ((1u << config.side_bits) - 1), mask = ((1u << config.side_bits) - 1);
    pins = (pins & ~(mask << config.side_pin)) | side << config.side_pin;
    uint32_t operand = instruction & 0xFF;
    uint32_t next = counter == config.wrap_last ? config.wrap_first : counter + 1;
    switch (instruction >> 13) {
    case 0: // jmp x--
        next = x != 0 ? operand & 31 : next;
        x--;
        break;
    case 2: // in pins, 1
        shifted = shifted << 1 | (before >> config.in_pin & 1);
        if (++shifted_bits == config.threshold && config.autopush && !config.shift_right) {
            for (uint32_t byte = 0; byte < config.threshold / 8; byte++) {
                pushed.push_back(static_cast<uint8_t>(shifted >> 8 * byte));
            }
            shifted = shifted_bits = 0;
        }
        break;
    case 7: // set x
        x = operand & 31;
        break;
    default: // nop
        break;
    }
    counter = next;
    microphone();
}

void pio_sm_exec(pio_registers *, uint, uint instruction)
{
    uint32_t kept = counter;
    step(static_cast<uint16_t>(instruction));
    counter = kept;
}

void pio_sm_set_enabled(pio_registers *, uint, bool)
{
}

void audio_take_i2s(const int32_t *words, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        printf(" %d", static_cast<int>(words[i]));
    }
}

void audio_take_pdm(const uint16_t *words, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        printf(" %d", words[i]);
    }
}

int main()
{
    if (!audio_start()) {
        return 1;
    }
    printf("%.4f", static_cast<double>(config.divider));
    while (pushed.size() < 512) {
        step(code[counter]);
    }
    taker(pushed.data(), 512);
    printf("\n");
}
