#include "centroid.h"

void toy_centroid(const serq_bin *bins, uint16_t count, uint64_t total, const uint16_t *position,
                  int32_t *centroid)
{
    unsigned right = 0; /* powers are taken to 20 bits together */
    uint32_t sum = 0, weighted = 0;
    for (; total >= 1UL << 20; total >>= 1) {
        right++;
    }
    for (unsigned i = 0; i < count; i++) {
        uint32_t power = (uint32_t)(serq_plus_power(0, bins + i) >> right);
        sum += power;
        weighted += power * position[i];
    }
    if (sum == 0) {
        sum = 1;
    }
    *centroid = (int32_t)((weighted / sum << 10) + (weighted % sum << 10) / sum);
}

uint8_t toy_is_bright(const int32_t *centroid, uint16_t bin)
{
    return *centroid >= (int32_t)bin << 10;
}
