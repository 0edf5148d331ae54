/* Test program: front-end sizes, tables and a clip on stdin; the integers of every stage of every frame, then of each statistic, on stdout.
 * Every array has exactly its size, so that a sanitizer sees the first access beyond it. */
#include <stdio.h>
#include <stdlib.h>

#include "serq_frontend.h"

static void *take(size_t count, size_t size)
{
    void *values = malloc(count * size);
    if (values == NULL || fread(values, size, count, stdin) != count) {
        exit(2);
    }
    return values;
}

static void *room(size_t count, size_t size)
{
    void *values = malloc(count * size);
    if (values == NULL) {
        exit(2);
    }
    return values;
}

static void give(const void *values, size_t count, size_t size)
{
    if (fwrite(values, size, count, stdout) != count) {
        exit(2);
    }
}

int main(void)
{
    int32_t *sizes = take(9, sizeof(int32_t));
    uint8_t log2_length = (uint8_t)sizes[0], headroom = (uint8_t)sizes[1], bands = (uint8_t)sizes[4], count = (uint8_t)sizes[5];
    uint8_t pool_shift = (uint8_t)sizes[6];
    uint16_t first_bin = (uint16_t)sizes[2];
    int32_t log_floor = sizes[3];
    size_t hop = (size_t)sizes[7], samples = (size_t)sizes[8], length = (size_t)1 << log2_length, bins = length / 2 + 1;

    int16_t *window = take(length, sizeof *window), *twiddle = take(length / 2, sizeof *twiddle);
    uint16_t *segment = take((bands + 1U) * 3, sizeof *segment);
    int32_t *mel_offset = take(bands, sizeof *mel_offset);
    uint16_t *log_table = take(128, sizeof *log_table);
    int16_t *dct = take((size_t)count * (bands / 2), sizeof *dct), *pcm = take(samples, sizeof *pcm);

    serq_bin *bin = room(bins, sizeof *bin);
    uint64_t *mel = room(bands, sizeof *mel);
    int32_t *log = room(bands, sizeof *log), *mfcc = room(count, sizeof *mfcc), *pooled = room(count, sizeof *pooled);
    serq_pool *pool = room(count, sizeof *pool);
    int16_t *frame = room(length, sizeof *frame);

    uint32_t frames = 0;
    for (size_t start = 0; start + length <= samples; start += hop, frames++) {
        for (size_t i = 0; i < length; i++) {
            frame[i] = pcm[start + i];
        }
        uint8_t shift = serq_frame_shift(frame, (uint16_t)length);
        serq_window(frame, window, log2_length, headroom, shift, bin);
        give(bin, length / 2, sizeof *bin);
        serq_fft(bin, twiddle, log2_length);
        serq_spectrum(bin, twiddle, log2_length);
        give(bin, bins, sizeof *bin);
        serq_power(bin, (uint16_t)bins);
        give(bin, bins, sizeof *bin);
        serq_mel(bin, first_bin, segment, bands, mel);
        give(mel, bands, sizeof *mel);
        serq_log(mel, bands, mel_offset, log_table, shift, log_floor, log);
        give(log, bands, sizeof *log);
        serq_dct(log, bands, dct, count, mfcc);
        give(mfcc, count, sizeof *mfcc);
        serq_pool_add(pool, count, mfcc, pool_shift, frames);
    }
    serq_pool_mean(pool, count, frames, pooled);
    give(pooled, count, sizeof *pooled);
    serq_pool_sd(pool, count, frames, pooled);
    give(pooled, count, sizeof *pooled);
    serq_pool_delta_sd(pool, count, frames, pooled);
    give(pooled, count, sizeof *pooled);

    void *all[] = {sizes, window, twiddle, segment, mel_offset, log_table, dct, pcm, bin, mel, log, mfcc, pooled, pool, frame};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
    return 0;
}
