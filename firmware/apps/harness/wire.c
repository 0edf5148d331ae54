#include "wire.h"

#include <stdbool.h>
#include <string.h>

#include "port.h"

#define INPUT_CHUNK (SERQ_HARNESS_PAYLOAD / 4) /* bytes asked of the port at once */
#define BLOCK_MAX 255                          /* longest COBS block: its code and 254 bytes */
#define CRC_RESIDUE 0x2144DF1CU /* CRC-32 of any message followed by its own CRC-32 */

static struct {
    uint8_t input[INPUT_CHUNK];
    size_t next, filled;       /* input[next .. filled - 1] waits to be decoded */
    uint8_t output[BLOCK_MAX]; /* encoded bytes not yet sent; the last block is open */
    uint32_t used, code;       /* bytes in output, and where the open block's code will stand */
    uint32_t crc;              /* of the frame being sent */
} wire;

/* CRC-32 is linear, so a table entry is the sum of its bits' entries: the eight powers of two
 * define all 256. */
#define BIT(i, bit, entry) ((((i) >> (bit)) & 1U) * (entry))
#define CRC(i) \
    (BIT(i, 0, 0x77073096U) ^ BIT(i, 1, 0xEE0E612CU) ^ BIT(i, 2, 0x076DC419U) ^ \
     BIT(i, 3, 0x0EDB8832U) ^ BIT(i, 4, 0x1DB71064U) ^ BIT(i, 5, 0x3B6E20C8U) ^ \
     BIT(i, 6, 0x76DC4190U) ^ BIT(i, 7, 0xEDB88320U))
#define CRC4(i) CRC(i), CRC((i) + 1U), CRC((i) + 2U), CRC((i) + 3U)
#define CRC16(i) CRC4(i), CRC4((i) + 4U), CRC4((i) + 8U), CRC4((i) + 12U)
#define CRC64(i) CRC16(i), CRC16((i) + 16U), CRC16((i) + 32U), CRC16((i) + 48U)
static const uint32_t crc_table[256] = {CRC64(0U), CRC64(64U), CRC64(128U), CRC64(192U)};

uint32_t wire_crc32(uint32_t crc, const void *bytes, uint32_t count)
{
    const uint8_t *next = bytes;
    const uint8_t *end = next + count;
    crc = ~crc;
    while (next < end) {
        crc = (crc >> 8) ^ crc_table[(crc ^ *next++) & 0xFFU];
    }
    return ~crc;
}

/* The next byte of the stream, or -1 at its end. */
static int next_byte(void)
{
    if (wire.next == wire.filled) {
        wire.next = 0;
        wire.filled = port_read(wire.input, sizeof wire.input);
        if (wire.filled == 0) {
            return -1;
        }
    }
    return wire.input[wire.next++];
}

/* A frame while it is decoded. */
typedef struct {
    uint8_t *bytes;
    uint32_t capacity, length, crc;
} frame;

static void append(frame *f, uint8_t byte)
{
    if (f->length < f->capacity) {
        f->bytes[f->length] = byte;
    }
    if (f->length < UINT32_MAX) { /* a stream without delimiters saturates */
        f->length++;
    }
    f->crc = wire_crc32(f->crc, &byte, 1);
}

/* Decode up to the next delimiter. Returns 1 for a whole COBS sequence, 0 for a broken one, -1 at
 * the end of input. */
static int decode(frame *f)
{
    uint8_t code = 0xFF; /* of the block being read; all but 0xFF end in a zero that is not sent */
    uint8_t left = 0;    /* bytes missing from it */
    int byte = next_byte();
    for (; byte > 0; byte = next_byte()) {
        if (left > 0) {
            append(f, (uint8_t)byte);
            left--;
            continue;
        }
        if (code != 0xFF) {
            append(f, 0);
        }
        code = (uint8_t)byte;
        left = (uint8_t)(code - 1);
    }
    return byte < 0 ? -1 : left == 0;
}

/* Whether a decoded frame arrived as it was sent. The length says what the CRC cannot for certain:
 * that no byte is missing. */
static bool is_good(const frame *f)
{
    if (f->length < WIRE_HEADER + WIRE_CRC || f->crc != CRC_RESIDUE ||
        f->bytes[1] != WIRE_PROTOCOL) {
        return false;
    }
    return f->length - WIRE_HEADER - WIRE_CRC == (uint32_t)(f->bytes[2] | f->bytes[3] << 8);
}

uint32_t wire_receive(uint8_t *bytes, uint32_t capacity)
{
    for (;;) {
        frame f = {bytes, capacity, 0, 0};
        int whole = decode(&f);
        if (whole < 0) {
            return 0;
        }
        if (whole > 0 && is_good(&f)) {
            return f.length - WIRE_CRC;
        }
    }
}

/* Send what is complete, keep the open block. */
static void flush_closed_blocks(void)
{
    port_write(wire.output, wire.code);
    memmove(wire.output, wire.output + wire.code, wire.used - wire.code);
    wire.used -= wire.code;
    wire.code = 0;
}

static void reserve_byte(void)
{
    if (wire.used == sizeof wire.output) {
        flush_closed_blocks();
    }
    wire.used++;
}

static void close_block(void)
{
    wire.output[wire.code] = (uint8_t)(wire.used - wire.code);
    wire.code = wire.used;
}

static void encode(uint8_t byte)
{
    if (wire.used - wire.code == BLOCK_MAX) {
        close_block();
        reserve_byte();
    }
    if (byte == 0) {
        close_block();
        reserve_byte();
    } else {
        reserve_byte();
        /* NOLINTNEXTLINE(clang-analyzer-security.ArrayBound): reserve_byte() made room */
        wire.output[wire.used - 1] = byte;
    }
}

void wire_begin(uint8_t type, uint32_t number, uint16_t length)
{
    wire.used = 1;
    wire.code = 0;
    wire.crc = 0;
    wire_put_u8(type);
    wire_put_u8(WIRE_PROTOCOL);
    wire_put_u16(length);
    wire_put_u32(number);
}

void wire_put(const void *bytes, uint32_t count)
{
    const uint8_t *next = bytes;
    const uint8_t *end = next + count;
    wire.crc = wire_crc32(wire.crc, bytes, count);
    while (next < end) {
        encode(*next++);
    }
}

void wire_put_u8(uint8_t value)
{
    wire_put(&value, 1);
}

void wire_put_u16(uint16_t value)
{
    wire_put_u8((uint8_t)(value & 0xFFU));
    wire_put_u8((uint8_t)(value >> 8));
}

void wire_put_u32(uint32_t value)
{
    wire_put_u16((uint16_t)(value & 0xFFFFU));
    wire_put_u16((uint16_t)(value >> 16));
}

void wire_end(void)
{
    wire_put_u32(wire.crc);
    close_block();
    reserve_byte();
    wire.output[wire.used - 1] = 0; /* the delimiter */
    wire.code = wire.used;
    flush_closed_blocks();
}
