/* What somebody sends to a board that listens: lines of text (SPEC.md section 14). For models that
 * can learn a voice. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "serq_stream.h"

#ifdef SERQ_VOICE_MOST

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    serq_voice voice;
    int learns; /* for serq_stream_use_voice() */

    char word[72]; /* of the line that comes: longer than any label */
    uint8_t length;
    bool loading; /* its digits are those of a voice */
    uint32_t digits;
} commands;

typedef enum { COMMAND_NONE, COMMAND_DONE, COMMAND_SHOW, COMMAND_LOADING, COMMAND_REFUSED } command;

/* Nobody is known, and nothing is learned until it is asked for. */
void commands_init(commands *state);

/* Take a byte of what was sent; a line's end says what it asked for. After COMMAND_DONE and
 * COMMAND_REFUSED the stream is to be told of the voice anew, after COMMAND_LOADING that there is
 * none. */
command commands_take(commands *state, uint8_t byte);

#endif

#endif
