#include "serq_sequence.h"

#include "serq_network.h"

void serq_sequence_keep(int16_t *row, const int32_t *values, uint8_t count, uint8_t shift,
                        uint8_t counts)
{
    for (unsigned i = 0; i < count; i++) {
        row[i] = counts ? (int16_t)serq_rshift_round(values[i], shift) : SERQ_NO_VALUE;
    }
}

/* The row that came `age` frames before the next one. */
static unsigned place_of(unsigned next, unsigned places, unsigned age)
{
    return next >= age ? next - age : next + places - age;
}

static int16_t top_of(const int16_t *steps, unsigned next, unsigned places, unsigned frames)
{
    int16_t top = SERQ_NEVER;
    for (unsigned age = frames; age > 0; age--) {
        int16_t step = steps[place_of(next, places, age)];
        top = step > top ? step : top;
    }
    return top;
}

void serq_sequence_values(const int16_t *rows, const int16_t *steps, unsigned next, unsigned places,
                          unsigned coefficients, uint32_t frames, uint8_t tiers, int32_t *values)
{
    unsigned heard = frames < places ? (unsigned)frames : places;
    int16_t top = top_of(steps, next, places, heard);
    for (unsigned age = places; age > 0; age--, values += coefficients) {
        unsigned place = place_of(next, places, age);
        uint8_t tier = age <= heard ? serq_tier(steps[place], top, tiers) : SERQ_UNCOUNTED;
        const int16_t *row = rows + place * coefficients;
        for (unsigned i = 0; i < coefficients; i++) {
            bool there = tier != SERQ_UNCOUNTED && row[i] != SERQ_NO_VALUE;
            values[i] = there ? 16 * row[i] : SERQ_MISSING;
        }
    }
}

void serq_sequence_relate(unsigned places, unsigned coefficients, unsigned first, unsigned count,
                          int32_t *values)
{
    int32_t sum = 0, n = 0;
    for (unsigned place = 0; place < places; place++) {
        const int32_t *row = values + place * coefficients + first;
        for (unsigned i = 0; i < count; i++) {
            sum += row[i] == SERQ_MISSING ? 0 : row[i];
            n += row[i] != SERQ_MISSING;
        }
    }
    int32_t mean = n == 0 ? 0 : serq_floor_div(sum + (n >> 1), n);
    for (unsigned place = 0; place < places; place++) {
        int32_t *row = values + place * coefficients + first;
        for (unsigned i = 0; i < count; i++) {
            row[i] -= row[i] == SERQ_MISSING ? 0 : mean;
        }
    }
}

void serq_sequence_standardize(const int32_t *values, unsigned places, uint16_t coefficients,
                               const int32_t *center, const uint16_t *scale, uint8_t *activations)
{
    for (; places > 0; places--, values += coefficients, activations += coefficients) {
        serq_standardize(values, coefficients, center, scale, activations);
    }
}
