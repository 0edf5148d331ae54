/* The limit of a layer with ReLU6. */
#ifndef TOY_LIMIT_H
#define TOY_LIMIT_H

#include <stdint.h>

/* Replaces activations above the ceiling by it. */
void toy_limit(uint8_t *activations, uint16_t count, uint8_t ceiling);

#endif
