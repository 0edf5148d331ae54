/* Weights of 8 bits as plain bytes, row after row, each row padded with zeros to a multiple of 8. */
#ifndef TOY_BYTES_H
#define TOY_BYTES_H

#include "serq_network.h"

SERQ_DENSE(toy_bytes, uint8_t);

#endif
