/* The pooled features of a whole clip, for a specification that is known at run time only. Not for
 * devices: theirs is generated. */
#ifndef SERQ_FEATURES_H
#define SERQ_FEATURES_H

#include <stdint.h>

/* Sizes, scalars and tables of SPEC.md section 2, which the caller has proved
 * (FrontendTables.check). A pool shift of 0: no such block. */
typedef struct {
    int32_t log2_length, frame_length, hop, headroom, first_bin, log_floor;
    int32_t bands;       /* of mel; 0 without mfcc and mel blocks */
    int32_t mfcc;        /* coefficients; 0 without an mfcc block */
    int32_t chroma_runs; /* 0 without a chroma block */
    int32_t mfcc_shift, mel_shift, chroma_shift;
    const int16_t *window, *twiddle;
    const uint16_t *segment;
    const int32_t *mel_offset;
    const uint16_t *log_table;
    const int16_t *dct;
    const uint16_t *chroma_run;
    const int16_t *chroma_weight;
} serq_features_spec;

/* Pool all whole frames of `count` samples. out: for mfcc, mel and chroma in turn, if there is such
 * a block, the means, deviations and deviations of differences of its coefficients. Returns the
 * number of frames; with fewer than 2, out is as it was. At most 4096 frames. */
uint32_t serq_clip_features(const serq_features_spec *spec, const int16_t *pcm, uint32_t count,
                            int32_t *out);

#endif
