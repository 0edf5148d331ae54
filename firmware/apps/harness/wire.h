/* Frames of the harness protocol (SPEC.md section 8): COBS, CRC-32, and nothing about what they
 * mean. One byte stream per application, read and written through port.h. */
#ifndef SERQ_WIRE_H
#define SERQ_WIRE_H

#include <stdint.h>

/* Longest payload received or sent, in bytes; IDENTIFY tells the host. Larger is faster and costs
 * as much RAM. */
#ifndef SERQ_HARNESS_PAYLOAD
#define SERQ_HARNESS_PAYLOAD 256
#endif

#define WIRE_PROTOCOL 3 /* version, second byte of every frame */
#define WIRE_HEADER 8   /* type u8, protocol u8, payload length u16, number u32 */
#define WIRE_CRC 4

/* Wait for the next whole frame of this protocol with a good CRC; all others are dropped.
 * Keeps its first `capacity` bytes (at least WIRE_HEADER), from the type on. Returns its full
 * length without the CRC (at least WIRE_HEADER, and perhaps more than capacity), or 0 at the end of
 * input. */
uint32_t wire_receive(uint8_t *bytes, uint32_t capacity);

/* Send one frame: begin, puts of `length` bytes in all, end. */
void wire_begin(uint8_t type, uint32_t number, uint16_t length);
void wire_put(const void *bytes, uint32_t count);
void wire_put_u8(uint8_t value);
void wire_put_u16(uint16_t value);
void wire_put_u32(uint32_t value);
void wire_end(void);

/* CRC-32 (IEEE 802.3, as zlib's crc32) of `count` more bytes; start with 0. */
uint32_t wire_crc32(uint32_t crc, const void *bytes, uint32_t count);

#endif
