/* An application that only listens, to be counted: 16-bit samples until the input ends, heard as a
 * stream; then the answers that were labels. With LEARNS, it learns the speaker's voice from its
 * answers. */
#include "port.h"
#include "serq_stream.h"

void application_run(void)
{
    static serq_stream stream;
    static int16_t samples[256];
    uint32_t answers = 0;
    size_t have = 0, more;

    serq_stream_init(&stream);
#if LEARNS
    static serq_voice voice;
    serq_voice_reset(&voice);
    serq_stream_use_voice(&stream, &voice, SERQ_LEARN_ANSWERS);
#endif
    while ((more = port_read((uint8_t *)samples + have, sizeof samples - have)) > 0) {
        have += more;
        if (have == sizeof samples) {
            const int16_t *next = samples;
            uint32_t count = sizeof samples / sizeof samples[0];
            serq_decision decision;
            while (serq_stream_push(&stream, &next, &count, &decision)) {
                answers += decision.answer >= 0;
            }
            have = 0;
        }
    }
    port_write((const uint8_t *)&answers, sizeof answers);
}
