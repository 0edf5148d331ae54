#include "toy_bytes.h"

#include "serq_kernel.h"

SERQ_DENSE(toy_bytes, uint8_t)
{
    (void)table;
    for (uint16_t row = 0; row < outputs; row++) {
        uint32_t sum = 0;
        for (unsigned i = 0; i < serq_padded(inputs); i++) {
            sum += (uint32_t)(*weights++ * activations[i]);
        }
        serq_add(accumulators + row, sum << (first + 1));
    }
}
