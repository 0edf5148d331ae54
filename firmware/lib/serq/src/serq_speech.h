/* Whether there is speech: frames that rise above the noise floor, the least mean of four levels so
 * far (SPEC.md section 2). */
#ifndef SERQ_SPEECH_H
#define SERQ_SPEECH_H

#include <stdbool.h>
#include <stdint.h>

#define SERQ_SMOOTHED 4
#define SERQ_NO_FLOOR INT16_MAX

typedef struct {
    int16_t recent[SERQ_SMOOTHED]; /* levels of the latest frames with sound, Q8 log2 */
    int16_t block, before;         /* floors of this block, or clip, and of those before it */
    uint8_t next, heard;           /* the place for the next level; how many there are */
} serq_floor;

void serq_floor_init(serq_floor *floor);

/* Take the level of a frame; whether it lies `rise` above the floor. */
bool serq_rises(serq_floor *floor, int32_t level, int32_t rise);

#endif
