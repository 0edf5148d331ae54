/* A port for fuzzing: what the application reads comes from `stream_in`, what it writes goes to `stream_out`, and both end. */
#ifndef SERQ_FUZZ_STREAM_H
#define SERQ_FUZZ_STREAM_H

#include <stdint.h>
#include <string.h>

#include "port.h"

#define STREAM_CAPACITY 70000u

static struct {
    uint8_t bytes[STREAM_CAPACITY];
    size_t filled, next;
} stream_in, stream_out;

static void stream_add(const uint8_t *bytes, size_t count)
{
    size_t room = STREAM_CAPACITY - stream_in.filled;

    count = count < room ? count : room;
    memcpy(stream_in.bytes + stream_in.filled, bytes, count);
    stream_in.filled += count;
}

size_t port_read(uint8_t *bytes, size_t capacity)
{
    size_t left = stream_in.filled - stream_in.next;
    size_t count = left < capacity ? left : capacity;

    memcpy(bytes, stream_in.bytes + stream_in.next, count);
    stream_in.next += count;
    return count;
}

void port_write(const uint8_t *bytes, size_t count)
{
    if (count > STREAM_CAPACITY - stream_out.filled) { /* only the last answers matter */
        stream_out.filled = 0;
    }
    memcpy(stream_out.bytes + stream_out.filled, bytes, count);
    stream_out.filled += count;
}

uint32_t port_cycles(void)
{
    return 0;
}

#endif
