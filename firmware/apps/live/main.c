/* Listens, and writes one line of JSON for each decision (SPEC.md section 14): for a serial
 * monitor, a log or a program. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "audio.h"
#include "calls.h"
#include "commands.h"
#include "port.h"
#include "serq_board.h"
#include "serq_stream.h"

#if SERQ_AUDIO_RATE != SERQ_SAMPLE_RATE
#error "the microphone's rate is not the model's: set audio.rate_hz to the model's sample rate"
#endif

enum { PIECE = 128, LINE = 256, GREETING_SECONDS = 10, MICROSECONDS = 1000000 };

static struct {
    serq_stream stream;
    serq_decision decision;
    int16_t samples[PIECE];
    uint8_t line[LINE]; /* written in pieces: a line may be longer */
    uint32_t used;
    uint32_t since_greeting; /* samples */
    calls calls;
#ifdef SERQ_VOICE_MOST
    commands commands;
#endif
} live;

static void put(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        live.line[live.used++] = (uint8_t)text[i];
        if (live.used == LINE) {
            port_write(live.line, LINE);
            live.used = 0;
        }
    }
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

static void end_line(void)
{
    put("\n", 1);
    port_write(live.line, live.used);
    live.used = 0;
}

void app_print(const char *text)
{
    put_text(text);
    end_line();
}

static void put_unsigned(uint32_t value)
{
    char digits[10];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put(digits + first, sizeof digits - first);
}

static void put_signed(int32_t value)
{
    if (value < 0) {
        put("-", 1);
    }
    put_unsigned(value < 0 ? 0U - (uint32_t)value : (uint32_t)value);
}

static void put_hexadecimal(uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    put(&digits[byte >> 4], 1);
    put(&digits[byte & 15], 1);
}

/* A JSON string; names are UTF-8 and may hold anything. */
static void put_string(const char *text)
{
    put("\"", 1);
    for (; *text != '\0'; text++) {
        uint8_t byte = (uint8_t)*text;
        if (byte < 0x20) {
            put_text("\\u00");
            put_hexadecimal(byte);
        } else {
            if (byte == '"' || byte == '\\') {
                put("\\", 1);
            }
            put(text, 1);
        }
    }
    put("\"", 1);
}

/* Whoever listens may come later than the start: a USB line loses what nobody takes. */
static void greet(bool again)
{
    static const uint8_t identity[8] = SERQ_IDENTITY;
    put_text("{\"serq\": \"live\", \"board\": ");
    put_string(SERQ_BOARD_NAME);
    put_text(", \"model\": \"");
    for (uint32_t i = 0; i < sizeof identity; i++) {
        put_hexadecimal(identity[i]);
    }
    put_text("\", \"labels\": [");
    for (int label = 0; label < SERQ_CLASSES; label++) {
        put_text(label == 0 ? "" : ", ");
        put_string(serq_label(label));
    }
    put_text(again ? "], \"again\": true}" : "]}");
    end_line();
    live.since_greeting = 0;
}

static void put_answer(int answer)
{
    put_text("{\"answer\": ");
    put_string(serq_label(answer));
    put_text(", \"label\": ");
    if (answer >= 0) {
        put_signed(answer);
    } else {
        put_text("null");
    }
}

#ifdef SERQ_CONFIDENCE
static void put_confidence(int percent)
{
    put_text(", \"confidence\": ");
    if (percent >= 0) {
        put_signed(percent);
    } else {
        put_text("null");
    }
}
#endif

/* `latency`: microseconds since the window's last samples came, 0 where there is no time. */
static void report(const serq_decision *decision, uint32_t latency)
{
    put_answer(decision->answer);
    put_text(", \"scores\": [");
    for (int label = 0; label < SERQ_CLASSES; label++) {
        put_text(label == 0 ? "" : ", ");
        put_signed(decision->scores[label]);
    }
    put_text("], \"margin\": ");
    put_unsigned(decision->margin);
#ifdef SERQ_CONFIDENCE
    put_confidence(serq_confidence(decision));
#endif
    put_text(", \"level\": ");
    put_signed(decision->level);
    put_text(", \"frames\": ");
    put_unsigned(decision->frames);
    put_text(", \"latency_us\": ");
    put_unsigned(latency);
    put_text(", \"waiting\": ");
    put_unsigned(audio_waiting());
    put_text(", \"overruns\": ");
    put_unsigned(audio_overruns());
#ifdef SERQ_VOICE_MOST
    put_text(", \"voice\": ");
    put_unsigned(live.commands.voice.windows);
#endif
    put_text("}");
    end_line();
}

#ifdef SERQ_VOICE_MOST

static void use_voice(void)
{
    serq_stream_use_voice(&live.stream, &live.commands.voice, live.commands.learns);
}

/* What is learned from, and from how many windows so far. */
static void report_voice(bool refused)
{
    int learns = live.commands.learns;
    put_text("{\"voice\": ");
    put_unsigned(live.commands.voice.windows);
    put_text(", \"learns\": ");
    put_string(learns >= 0                    ? serq_label(learns)
               : learns == SERQ_LEARN_ANSWERS ? "answers"
                                              : "nothing");
    put_text(refused ? ", \"refused\": true}" : "}");
    end_line();
}

static void show_voice(void)
{
    const uint8_t *bytes = (const uint8_t *)&live.commands.voice;
    put_text("{\"stored\": \"");
    for (uint32_t i = 0; i < sizeof live.commands.voice; i++) {
        put_hexadecimal(bytes[i]);
    }
    put_text("\"}");
    end_line();
}

/* Do what somebody has sent meanwhile. */
static void obey(void)
{
    uint8_t bytes[16];
    size_t count;
    while ((count = port_poll(bytes, sizeof bytes)) != 0) {
        for (size_t i = 0; i < count; i++) {
            command asked = commands_take(&live.commands, bytes[i]);
            if (asked == COMMAND_LOADING) {
                serq_stream_use_voice(&live.stream, NULL, SERQ_LEARN_NOTHING);
            } else if (asked == COMMAND_SHOW) {
                show_voice();
            } else if (asked != COMMAND_NONE) {
                use_voice();
                report_voice(asked == COMMAND_REFUSED);
            }
        }
    }
}

#else

static inline void use_voice(void)
{
}

static inline void obey(void)
{
}

#endif

static void start_stream(void)
{
    serq_stream_init(&live.stream);
    use_voice();
}

static void listen(const int16_t *samples, uint32_t count)
{
    uint32_t start = audio_micros();
    live.since_greeting += count;
    calls_listen(&live.calls, samples, count);
    while (serq_stream_push(&live.stream, &samples, &count, &live.decision) > 0) {
        if (live.since_greeting >= GREETING_SECONDS * SERQ_SAMPLE_RATE) {
            greet(true);
        }
        uint32_t latency = audio_micros() - start;
        report(&live.decision, latency);
        calls_decide(&live.calls, &live.decision, latency);
        audio_yield();
    }
}

/* Let a second pass. False where there is no clock. */
static bool second_passes(void)
{
    uint32_t start = audio_micros();
    audio_yield();
    if (audio_micros() == 0) {
        return false;
    }
    while (audio_micros() - start < MICROSECONDS) {
        audio_yield();
    }
    return true;
}

static void complain(void)
{
    bool again = false;
    on_error("the microphone's driver did not start");
    do {
        greet(again);
        put_text(
            "{\"error\": \"the microphone's driver did not start: check the pins in board.toml\"}");
        end_line();
        again = true;
    } while (second_passes());
}

void application_run(void)
{
    uint32_t count, gaps = 0;
#ifdef SERQ_VOICE_MOST
    commands_init(&live.commands);
#endif
    start_stream();
    calls_init(&live.calls);
    if (!audio_start()) {
        complain();
        return;
    }
    greet(false);
    while ((count = audio_read(live.samples, PIECE)) != 0) {
        if (audio_gaps() != gaps) { /* what was heard before does not join what comes now */
            gaps = audio_gaps();
            start_stream();
            on_error("sound was lost: something took too long");
        }
        listen(live.samples, count);
        obey();
    }
}
