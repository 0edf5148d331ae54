/* Spectral centroid: the mean position of a frame's power, for a test of extensions. */
#ifndef TOY_CENTROID_H
#define TOY_CENTROID_H

#include "serq_frontend.h"

/* The mean of the bins' positions, weighted by their powers, in 1/1024; 0 in silence. total: the
 * sum of all powers; position: of each bin, at most 1024. */
void toy_centroid(const serq_bin *bins, uint16_t count, uint64_t total, const uint16_t *position,
                  int32_t *centroid);

/* Whether a centroid lies at that bin or above. */
uint8_t toy_is_bright(const int32_t *centroid, uint16_t bin);

#endif
