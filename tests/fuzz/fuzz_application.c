/* The whole harness application, with a model, on a stream of good frames and bad bytes.
 * A byte of the input with bit 7 set: so many raw bytes follow. Any other: a frame of that type; the next byte says how its number
 * follows the last, the one after how many bytes of payload come: below 200 as many, from there on 7 more each time. */
#include "stream.h"
#include "main.c" /* with its state */

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t take(const uint8_t **data, size_t *size, uint8_t *to, size_t count)
{
    size_t taken = count < *size ? count : *size;

    memcpy(to, *data, taken);
    *data += taken;
    *size -= taken;
    return (uint32_t)taken;
}

static void add_frame(uint8_t type, uint32_t number, const uint8_t *payload, uint32_t length)
{
    stream_out.filled = 0;
    wire_begin(type, number, (uint16_t)length);
    wire_put(payload, length);
    wire_end();
    stream_add(stream_out.bytes, stream_out.filled);
}

static void make_stream(const uint8_t *data, size_t size)
{
    uint8_t bytes[600], head[3];
    uint32_t number = 0;

    while (size > 0) {
        take(&data, &size, head, 1);
        if (head[0] & 0x80) {
            stream_add(bytes, take(&data, &size, bytes, head[0] & 0x7F));
            continue;
        }
        if (take(&data, &size, head + 1, 2) < 2) {
            return;
        }
        number += head[1] < 250 ? 1u : head[1] == 250 ? 0u : head[1] == 251 ? 0xFFFFFFFFu : head[1] * 0x01010101u;
        add_frame(head[0] & 0x1F, number, bytes, take(&data, &size, bytes, head[2] < 200 ? head[2] : 200u + 7u * (head[2] - 200u)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&harness, 0, sizeof harness);
    memset(&stream_in, 0, sizeof stream_in);
    make_stream(data, size);
    application_run();
    if (harness.stages > SERQ_STAGES || harness.features > SERQ_FEATURES || harness.label >= SERQ_CLASSES) {
        abort();
    }
    return 0;
}
