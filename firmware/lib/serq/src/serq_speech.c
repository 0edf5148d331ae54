#include "serq_speech.h"

#include "serq_pool.h"

void serq_floor_init(serq_floor *floor)
{
    floor->block = SERQ_NO_FLOOR;
    floor->before = SERQ_NO_FLOOR;
    floor->next = 0;
    floor->heard = 0;
}

bool serq_rises(serq_floor *floor, int32_t level, int32_t rise)
{
    if (level <= SERQ_LEVEL_MIN) {
        return false;
    }
    floor->recent[floor->next] = (int16_t)level;
    floor->next = (uint8_t)((floor->next + 1U) % SERQ_SMOOTHED);
    if (floor->heard < SERQ_SMOOTHED - 1) {
        floor->heard++;
        return false;
    }
    const int16_t *recent = floor->recent;
    int32_t mean = (recent[0] + recent[1] + recent[2] + recent[3]) >> 2;
    floor->block = (int16_t)(mean < floor->block ? mean : floor->block);
    int32_t least = floor->block < floor->before ? floor->block : floor->before;
    return level - least >= rise;
}
