#include "commands.h"

#ifdef SERQ_VOICE_MOST

#include <string.h>

void commands_init(commands *state)
{
    memset(state, 0, sizeof *state);
    serq_voice_reset(&state->voice);
    state->learns = SERQ_LEARN_NOTHING;
}

static bool is(const commands *state, const char *text)
{
    return strcmp(state->word, text) == 0;
}

/* The label of this name, or what learns else. */
static bool choose(commands *state, const char *name)
{
    for (int label = 0; label < SERQ_CLASSES; label++) {
        if (label != SERQ_NO_SPEECH_LABEL && strcmp(name, serq_label(label)) == 0) {
            state->learns = label;
            return true;
        }
    }
    if (strcmp(name, "answers") == 0) {
        state->learns = SERQ_LEARN_ANSWERS;
        return true;
    }
    if (strcmp(name, "nothing") == 0) {
        state->learns = SERQ_LEARN_NOTHING;
        return true;
    }
    return false;
}

static command load(commands *state)
{
    bool whole = state->digits == 2 * sizeof state->voice;
    int error = serq_voice_open(&state->voice);
    if (!whole) {
        serq_voice_reset(&state->voice);
    }
    return whole && error == 0 ? COMMAND_DONE : COMMAND_REFUSED;
}

static command do_line(commands *state)
{
    static const char learn[] = "learn ";
    if (state->loading) {
        return load(state);
    }
    if (is(state, "")) {
        return COMMAND_NONE;
    }
    if (is(state, "voice")) {
        serq_voice_seal(&state->voice);
        return COMMAND_SHOW;
    }
    if (is(state, "forget")) {
        serq_voice_reset(&state->voice);
        return COMMAND_DONE;
    }
    bool learns = strncmp(state->word, learn, sizeof learn - 1) == 0;
    return learns && choose(state, state->word + sizeof learn - 1) ? COMMAND_DONE : COMMAND_REFUSED;
}

/* The value of a hexadecimal digit, or -1. */
static int digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9'   ? byte - '0'
           : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                                        : -1;
}

/* A digit of the voice that is sent; any other byte spoils it. */
static void take_digit(commands *state, uint8_t byte)
{
    uint8_t *bytes = (uint8_t *)&state->voice;
    int value = digit(byte);
    uint32_t at = state->digits / 2;
    if (value < 0 || at >= sizeof state->voice) {
        state->digits = UINT32_MAX; /* it stays so */
    }
    if (state->digits == UINT32_MAX) {
        return;
    }
    bytes[at] = (uint8_t)(state->digits % 2 == 0 ? value << 4 : bytes[at] | value);
    state->digits++;
}

command commands_take(commands *state, uint8_t byte)
{
    if (byte == '\r') {
        return COMMAND_NONE;
    }
    if (byte == '\n') {
        state->word[state->length] = '\0';
        command found = do_line(state);
        state->length = 0;
        state->loading = false;
        return found;
    }
    if (state->loading) {
        take_digit(state, byte);
        return COMMAND_NONE;
    }
    state->word[state->length] = (char)byte;
    if (state->length < sizeof state->word - 1) {
        state->length++; /* what is longer is no command */
    }
    if (state->length == 6 && strncmp(state->word, "voice ", 6) == 0) {
        state->loading = true;
        state->digits = 0;
        return COMMAND_LOADING;
    }
    return COMMAND_NONE;
}

#else
typedef char commands_are_empty; /* ISO C wants something in a file */
#endif
