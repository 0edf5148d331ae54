/* Test program: front-end sizes, tables and a clip on stdin; the integers of every stage of every frame, then of each block's statistics, on
 * stdout. Every array has exactly its size, so that a sanitizer sees the first access beyond it. */
#include "exact_arrays.h"
#include "serq_fft.h"
#include "serq_frontend.h"
#include "serq_pitch.h"
#include "serq_pool.h"

/* in the order in which they come */
enum { LOG2_LENGTH, FRAME_LENGTH, HOP, SAMPLES, HEADROOM, FIRST_BIN, LOG_FLOOR, BANDS, MFCC, MFCC_BANDS, RUNS, RUN_BINS, MFCC_SHIFT, MEL_SHIFT, CHROMA_SHIFT, LEVEL_OFFSET, PITCH_BINS, LAGS, FIRST_LAG, PITCH_SCALE, PITCH_OFFSET, THRESHOLD, SIZES };

/* The sums of a block, in one tier: all frames count. */
typedef struct {
    serq_pool *pools;
    int16_t *first, *last;
    uint8_t count;
} block;

static block new_block(uint8_t count)
{
    block made = {room(count, sizeof *made.pools), room(count, sizeof *made.first), room(count, sizeof *made.last), count};
    memset(made.pools, 0, count * sizeof *made.pools);
    return made;
}

static void pool(const block *b, const int32_t *values, int32_t shift, const serq_place *place)
{
    serq_pool_add(b->pools, b->count, 1, values, (uint8_t)shift, place, b->first, b->last);
}

static void give_statistics(const block *b, const serq_count *counts)
{
    static void (*const statistics[])(const serq_pool *, uint8_t, uint8_t, const serq_count *, int32_t *) = {
        serq_pool_mean, serq_pool_sd, serq_pool_delta_mean, serq_pool_delta_sd};
    int32_t *pooled = room(b->count, sizeof *pooled);
    for (size_t i = 0; i < 4; i++) {
        statistics[i](b->pools, b->count, 1, counts, pooled);
        give(pooled, b->count, sizeof *pooled);
    }
}

int main(void)
{
    const int32_t *size = take(SIZES, sizeof *size);
    size_t length = (size_t)1 << size[LOG2_LENGTH], frame_length = (size_t)size[FRAME_LENGTH];
    uint16_t bins = (uint16_t)(length / 2 + 1), first_bin = (uint16_t)size[FIRST_BIN], runs = (uint16_t)size[RUNS];
    uint32_t points = (uint32_t)length / 2;
    uint8_t bands = (uint8_t)size[BANDS], count = (uint8_t)size[MFCC], mfcc_bands = (uint8_t)size[MFCC_BANDS], classes = runs ? SERQ_PITCH_CLASSES : 0;

    const int16_t *window = take(frame_length, sizeof *window), *twiddle = take(length / 2, sizeof *twiddle);
    const uint16_t *segment = take(bands ? (bands + 1U) * 3 : 0, sizeof *segment);
    const int32_t *mel_offset = take(bands, sizeof *mel_offset);
    const uint16_t *log_table = take(128, sizeof *log_table);
    const int16_t *dct = take((size_t)count * (mfcc_bands / 2), sizeof *dct);
    const uint16_t *run = take((size_t)runs * 3, sizeof *run);
    const int16_t *weight = take((size_t)size[RUN_BINS] * 4, sizeof *weight);
    uint32_t pitch_bins = (uint32_t)size[PITCH_BINS], pitch_points = pitch_bins / 2, log2_pitch = 31 - serq_leading_zeros(pitch_points | 1);
    const uint16_t *pitch_weight = take(pitch_bins, sizeof *pitch_weight), *compress = take(pitch_bins ? 64 : 0, sizeof *compress);
    const int16_t *cost = take((size_t)size[LAGS], sizeof *cost), *short_twiddle = take(pitch_points, sizeof *short_twiddle);
    const int16_t *pcm = take((size_t)size[SAMPLES], sizeof *pcm);

    serq_bin *bin = room(bins, sizeof *bin);
    serq_band *band = room(bands, sizeof *band);
    int32_t *mfcc = room(count, sizeof *mfcc), *chroma = room(classes, sizeof *chroma);
    serq_bin *lags = room(pitch_bins ? pitch_points + 1 : 0, sizeof *lags);
    block mfcc_block = new_block(count), mel_block = new_block(bands), chroma_block = new_block(classes);
    serq_count counts = {0, 0};
    serq_tiers tiers = {0, 0, 0, 0, 0};
    int16_t *samples = room(frame_length, sizeof *samples);
    uint16_t kept = 0;

    for (size_t start = 0; start + frame_length <= (size_t)size[SAMPLES]; start += (size_t)size[HOP]) {
        serq_place place = serq_next_place(&tiers, 0, 1, start == 0);
        serq_count_add(&counts, &place);
        for (size_t i = 0; i < frame_length; i++) {
            samples[i] = pcm[start + i];
        }
        uint8_t shift = serq_frame_shift(samples, (uint16_t)frame_length, (uint16_t)size[HOP], &kept);
        uint32_t log2_points = (uint32_t)size[LOG2_LENGTH] - 1;
        unsigned down = (unsigned)(size[LOG2_LENGTH] + size[HEADROOM]);
        serq_window(samples, window, (uint32_t)frame_length, shift, down, log2_points, bin);
        give(bin, points, sizeof *bin);
        serq_fft(samples, window, (uint32_t)frame_length, shift, down, twiddle, log2_points, bin);
        serq_spectrum(bin, twiddle, points);
        give(bin, bins, sizeof *bin);
        serq_power(bin, bins);
        for (uint16_t i = 0; i < bins; i++) {
            uint64_t power = serq_add_power(bin + i, 1, 0);
            give(&power, 1, sizeof power);
        }
        uint64_t power = 0;
        uint16_t read = 0;
        if (bands > 0) {
            power = serq_mel(bin + first_bin, segment, bands, band);
            for (unsigned j = 0; j <= bands; j++) {
                read = (uint16_t)(read + segment[3 * j]);
            }
            give(band, bands, sizeof *band);
            uint64_t energy = serq_log(band, bands, mel_offset, log_table, shift, size[LOG_FLOOR]);
            give(band->log, bands, sizeof *band->log);
            int32_t level = serq_level(energy, shift, size[LEVEL_OFFSET], log_table);
            give(&level, 1, sizeof level);
            pool(&mel_block, band->log, size[MEL_SHIFT], &place);
            serq_dct(band->log, mfcc_bands, dct, count, mfcc);
            give(mfcc, count, sizeof *mfcc);
            pool(&mfcc_block, mfcc, size[MFCC_SHIFT], &place);
        }
        uint16_t end = (uint16_t)(bands > 0 ? first_bin + read : 0);
        power = serq_add_power(bin, bands > 0 ? first_bin : 0, power);
        power = serq_add_power(bin + end, (uint16_t)(bins - end), power);
        if (bands == 0) {
            int32_t level = serq_level(power, shift, size[LEVEL_OFFSET], log_table);
            give(&level, 1, sizeof level);
        }
        if (pitch_bins > 0) {
            uint32_t last = (uint32_t)(size[FIRST_LAG] + size[LAGS]), stride = points / pitch_bins;
            const int32_t *r =
                serq_correlate(bin, power, pitch_weight, compress, twiddle, stride, short_twiddle, log2_pitch, (unsigned)size[PITCH_SCALE], last, lags);
            int32_t pitch[2], voicing[2];
            uint8_t voiced = serq_pitch(r, (uint16_t)size[FIRST_LAG], (uint16_t)size[LAGS], cost, size[PITCH_OFFSET], size[THRESHOLD], log_table, pitch);
            give(pitch, 2, sizeof *pitch);
            serq_voicing(pitch, voiced, voicing);
            give(voicing, 2, sizeof *voicing);
        }
        if (runs > 0) {
            serq_chroma(bin, bins, power, run, runs, weight, chroma);
            give(chroma, classes, sizeof *chroma);
            pool(&chroma_block, chroma, size[CHROMA_SHIFT], &place);
        }
    }
    give_statistics(&mfcc_block, &counts);
    give_statistics(&mel_block, &counts);
    give_statistics(&chroma_block, &counts);

    while (allocations > 0) {
        free(allocated[--allocations]);
    }
    return 0;
}
