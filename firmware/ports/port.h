/* What an application needs of a board: bytes in, bytes out, a cycle counter. One implementation a
 * chip family. The port owns the entry point (main, app_main, setup/loop) and calls
 * application_run() once, after port start-up. */
#ifndef SERQ_PORT_H
#define SERQ_PORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Wait for bytes from the host; 1..capacity bytes read, or 0 when there will never be more (host
 * and emulator: end of input). */
size_t port_read(uint8_t *bytes, size_t capacity);

/* Bytes that have come from the host already: up to capacity of them, or 0 at once. Always 0 where
 * the line is the microphone (host and emulator). */
size_t port_poll(uint8_t *bytes, size_t capacity);

/* Send all bytes; returns when they are on their way. */
void port_write(const uint8_t *bytes, size_t count);

/* A free-running cycle counter modulo 2^32, or always 0 where the chip has none. */
uint32_t port_cycles(void);

/* Supplied by the application; returns only at the end of input. */
void application_run(void);

#ifdef __cplusplus
}
#endif

#endif
