#include "serq_functions.h"

#include "serq_fixed.h"

enum {
    Q12 = 1 << 12,
    Q15 = 1 << 15,
    SIGMOID_REACH = 10 * Q12 - 1,
    SIGMOID_BITS = 8,
    POWER_BITS = 7
};

/* The sigmoid of 0, 1/16, 2/16 ... 10 in Q15. */
static const uint16_t sigmoids[161] = {
    16384, 16896, 17407, 17916, 18421, 18923, 19420, 19912, 20397, 20874, 21344, 21804, 22255,
    22696, 23127, 23547, 23955, 24352, 24737, 25110, 25471, 25819, 26155, 26479, 26790, 27090,
    27377, 27653, 27917, 28169, 28411, 28642, 28862, 29072, 29272, 29462, 29644, 29816, 29979,
    30135, 30282, 30422, 30555, 30680, 30799, 30912, 31018, 31119, 31214, 31304, 31389, 31469,
    31545, 31616, 31684, 31747, 31807, 31864, 31917, 31968, 32015, 32060, 32102, 32141, 32179,
    32214, 32247, 32278, 32307, 32335, 32361, 32385, 32408, 32430, 32450, 32469, 32487, 32504,
    32520, 32535, 32549, 32562, 32574, 32586, 32597, 32607, 32617, 32626, 32635, 32643, 32650,
    32657, 32664, 32670, 32676, 32682, 32687, 32692, 32696, 32701, 32705, 32709, 32712, 32716,
    32719, 32722, 32725, 32727, 32730, 32732, 32734, 32736, 32738, 32740, 32742, 32743, 32745,
    32746, 32747, 32749, 32750, 32751, 32752, 32753, 32754, 32755, 32756, 32756, 32757, 32758,
    32758, 32759, 32759, 32760, 32760, 32761, 32761, 32762, 32762, 32762, 32763, 32763, 32763,
    32764, 32764, 32764, 32764, 32765, 32765, 32765, 32765, 32765, 32766, 32766, 32766, 32766,
    32766, 32766, 32766, 32766, 32767,
};

/* 2^-x of 0, 1/32, 2/32 ... 1 in Q15. */
static const uint16_t powers[33] = {
    32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386,
    25821, 25268, 24726, 24196, 23678, 23170, 22674, 22188, 21713, 21247, 20792,
    20347, 19911, 19484, 19066, 18658, 18258, 17867, 17484, 17109, 16743, 16384,
};

/* Between an entry of a table and the next one, at `fraction` of 2^bits. */
static int32_t between(const uint16_t *entry, int32_t fraction, unsigned bits)
{
    return entry[0] + serq_rshift_round((entry[1] - entry[0]) * fraction, bits);
}

void serq_rescale(int32_t *accumulators, unsigned count, int16_t multiplier, uint8_t left,
                  uint8_t right)
{
    int32_t doubled = (int32_t)(1U << left);
    for (unsigned i = 0; i < count; i++) {
        accumulators[i] =
            serq_rshift_round(serq_mulw(accumulators[i] * doubled, multiplier), right);
    }
}

int32_t serq_sigmoid(int32_t x)
{
    int32_t size = x < 0 ? -x : x;
    size = size < SIGMOID_REACH ? size : SIGMOID_REACH;
    int32_t fraction = size & ((1 << SIGMOID_BITS) - 1);
    int32_t above = between(sigmoids + (size >> SIGMOID_BITS), fraction, SIGMOID_BITS);
    return x < 0 ? Q15 - above : above;
}

int32_t serq_tanh(int32_t x)
{
    return 2 * serq_sigmoid(2 * serq_clamp(x, -5 * Q12, 5 * Q12)) - Q15;
}

int32_t serq_exp2_minus(int32_t x)
{
    int32_t octaves = x / Q12, rest = x % Q12;
    int32_t fraction = rest & ((1 << POWER_BITS) - 1);
    int32_t value = between(powers + (rest >> POWER_BITS), fraction, POWER_BITS);
    return octaves == 0 ? value : serq_rshift_round(value, octaves < 31 ? (unsigned)octaves : 31);
}
