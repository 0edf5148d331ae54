#include "toy_limit.h"

void toy_limit(uint8_t *activations, uint16_t count, uint8_t ceiling)
{
    for (uint16_t i = 0; i < count; i++) {
        activations[i] = activations[i] > ceiling ? ceiling : activations[i];
    }
}
