/* An application that has the front end alone, to be counted and tested: 16-bit samples until the input ends, then the pooled features. */
#include "port.h"
#include "serq.h"

void application_run(void)
{
    static serq_state state;
    static int16_t samples[256];
    size_t have = 0, more;

    serq_init(&state);
    while ((more = port_read((uint8_t *)samples + have, sizeof samples - have)) > 0) {
        have += more;
        if (have == sizeof samples) {
            serq_push(&state, samples, sizeof samples / sizeof samples[0]);
            have = 0;
        }
    }
    serq_push(&state, samples, (uint32_t)(have / sizeof samples[0]));
    port_write((const uint8_t *)serq_features(&state), SERQ_FEATURES * sizeof(int32_t));
}
