/* The frame parser on any bytes; and any payload, framed by it, comes back as it was. */
#include "stream.h"
#include "wire.c" /* with its state */

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void application_run(void)
{
}

static void restart(void)
{
    memset(&wire, 0, sizeof wire);
    memset(&stream_in, 0, sizeof stream_in);
}

static void parse(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(WIRE_HEADER + data[0]); /* exactly as large as it says, for the sanitizer's sake */
    uint32_t length;

    restart();
    stream_add(data + 1, size - 1);
    while ((length = wire_receive(bytes, WIRE_HEADER + data[0])) != 0) {
        if (length < WIRE_HEADER) {
            abort();
        }
    }
    free(bytes);
}

static void send_and_receive(const uint8_t *data, size_t size)
{
    static uint8_t back[WIRE_HEADER + 4096];

    restart();
    stream_out.filled = 0;
    wire_begin(data[0], 0x12345678u, (uint16_t)(size - 1));
    wire_put(data + 1, (uint32_t)(size - 1));
    wire_end();
    stream_add(stream_out.bytes, stream_out.filled);
    if (wire_receive(back, sizeof back) != WIRE_HEADER + size - 1 || back[0] != data[0] || memcmp(back + WIRE_HEADER, data + 1, size - 1) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && size <= 4096) {
        parse(data, size);
        send_and_receive(data, size);
    }
    return 0;
}
