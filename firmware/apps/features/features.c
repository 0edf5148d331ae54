/* The front end as a function of a computer: the pooled features of a whole clip for any
 * specification, whose sizes and tables come at run time. Training and evaluation call it as a
 * shared library (serq_mcu/frontend/native.py), so that they see what devices compute. */
#include "features.h"

#include <string.h>

#include "serq_fft.h"
#include "serq_frontend.h"

enum { MAX_LENGTH = 2048, MAX_VALUES = 128 };

/* One frame's work area. */
typedef struct {
    serq_bin bins[MAX_LENGTH / 2 + 1];
    serq_band bands[MAX_VALUES];
    int32_t values[MAX_VALUES];
    int16_t samples[MAX_LENGTH];
} workspace;

/* The sums of each kind of block. */
typedef struct {
    serq_pool mfcc[MAX_VALUES], mel[MAX_VALUES], chroma[SERQ_PITCH_CLASSES];
} sums;

static void add_chroma(const serq_features_spec *spec, workspace *work, uint64_t power,
                       uint16_t first, uint16_t end, uint32_t frame, sums *pools)
{
    uint16_t bins = (uint16_t)((1U << spec->log2_length) / 2 + 1);
    power = serq_add_power(work->bins, first, power); /* what no mel band reads */
    power = serq_add_power(work->bins + end, (uint16_t)(bins - end), power);
    serq_chroma(work->bins, bins, power, spec->chroma_run, (uint16_t)spec->chroma_runs,
                spec->chroma_weight, work->values);
    serq_pool_add(pools->chroma, SERQ_PITCH_CLASSES, work->values, (uint8_t)spec->chroma_shift,
                  frame);
}

static void add_frame(const serq_features_spec *spec, workspace *work, uint32_t frame, sums *pools)
{
    uint32_t length = (uint32_t)spec->frame_length, log2_points = (uint32_t)spec->log2_length - 1,
             points = (uint32_t)1 << log2_points;
    uint8_t bands = (uint8_t)spec->bands, count = (uint8_t)spec->mfcc;
    uint8_t shift = serq_frame_shift(work->samples, (uint16_t)length);
    serq_fft(work->samples, spec->window, length, shift,
             (unsigned)(spec->log2_length + spec->headroom), spec->twiddle, log2_points,
             work->bins);
    serq_spectrum(work->bins, spec->twiddle, points);
    serq_power(work->bins, (uint16_t)(points + 1));
    uint64_t power = 0;
    uint16_t first = 0, end = 0;
    if (bands > 0) {
        first = end = (uint16_t)spec->first_bin;
        power = serq_mel(work->bins + first, spec->segment, bands, work->bands);
        for (unsigned i = 0; i <= bands; i++) {
            end = (uint16_t)(end + spec->segment[3 * i]);
        }
        int32_t *log = work->bands->log;
        serq_log(work->bands, bands, spec->mel_offset, spec->log_table, shift, spec->log_floor);
        if (spec->mel_shift > 0) {
            serq_pool_add(pools->mel, bands, log, (uint8_t)spec->mel_shift, frame);
        }
        if (count > 0) {
            serq_dct(log, bands, spec->dct, count, work->values);
            serq_pool_add(pools->mfcc, count, work->values, (uint8_t)spec->mfcc_shift, frame);
        }
    }
    if (spec->chroma_runs > 0) {
        add_chroma(spec, work, power, first, end, frame, pools);
    }
}

static int32_t *statistics(const serq_pool *pool, uint8_t count, uint32_t frames, int32_t *out)
{
    serq_pool_mean(pool, count, frames, out);
    serq_pool_sd(pool, count, frames, out + count);
    serq_pool_delta_sd(pool, count, frames, out + 2 * count);
    return out + 3 * count;
}

uint32_t serq_clip_features(const serq_features_spec *spec, const int16_t *pcm, uint32_t count,
                            int32_t *out)
{
    workspace work;
    sums pools;
    uint32_t frames = 0, length = (uint32_t)spec->frame_length;
    for (uint32_t start = 0; start + length <= count; start += (uint32_t)spec->hop, frames++) {
        memcpy(work.samples, pcm + start, length * sizeof *pcm);
        add_frame(spec, &work, frames, &pools);
    }
    if (frames < 2) { /* a difference between frames needs two */
        return frames;
    }
    if (spec->mfcc > 0) {
        out = statistics(pools.mfcc, (uint8_t)spec->mfcc, frames, out);
    }
    if (spec->mel_shift > 0) {
        out = statistics(pools.mel, (uint8_t)spec->bands, frames, out);
    }
    if (spec->chroma_runs > 0) {
        (void)statistics(pools.chroma, SERQ_PITCH_CLASSES, frames, out);
    }
    return frames;
}
