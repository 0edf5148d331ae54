/* Sends all that the microphone hears, for `serq-mcu record` (SPEC.md section 15): packets of one
 * length, and nothing else. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "audio.h"
#include "port.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "packets are little-endian; this core is not"
#endif

enum { SAMPLES = 120 };

/* As it goes over the line: without padding. */
typedef struct {
    uint8_t magic[4];
    uint32_t number;   /* of the packet */
    uint32_t overruns; /* samples dropped so far */
    uint32_t micros;   /* when the last sample was read; 0 where there is no time */
    int16_t samples[SAMPLES];
    uint32_t crc;
} packet;

static const uint8_t magic[4] = {'S', 'Q', 'P', '1'};

/* CRC-32 (IEEE 802.3), bit by bit: a packet is short. */
static uint32_t crc32(const uint8_t *bytes, uint32_t count)
{
    uint32_t crc = 0xFFFFFFFFU;
    while (count-- > 0) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xEDB88320U & (0U - (crc & 1U)));
        }
    }
    return ~crc;
}

/* Fill the packet with samples that follow on each other: what was there before a gap goes. False
 * at the end of input. */
static bool fill(packet *next)
{
    uint32_t count = 0, gaps = audio_gaps();
    while (count < SAMPLES) {
        uint32_t more = audio_read(next->samples + count, SAMPLES - count);
        if (more == 0) {
            return false;
        }
        if (audio_gaps() != gaps) {
            gaps = audio_gaps();
            memmove(next->samples, next->samples + count, more * sizeof next->samples[0]);
            count = 0;
        }
        count += more;
    }
    return true;
}

void application_run(void)
{
    static packet next;
    memcpy(next.magic, magic, sizeof magic);
    if (!audio_start()) {
        return; /* the host, which hears nothing, says what to check */
    }
    for (next.number = 0; fill(&next); next.number++) {
        next.overruns = audio_overruns();
        next.micros = audio_micros();
        next.crc = crc32((const uint8_t *)&next, offsetof(packet, crc));
        port_write((const uint8_t *)&next, sizeof next);
    }
}
