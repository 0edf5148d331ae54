#include "serq.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "serq_checks.h"
#include "serq_fixed.h"
#include "serq_trace.h"

SERQ_CHECK(state, sizeof(serq_state) <= SERQ_STATE_BYTES)
SERQ_CHECK(samples_of_words, offsetof(serq_state, samples) % 4 == 0)
#ifndef SERQ_SEQUENCE
SERQ_CHECK(pools_of_words, offsetof(serq_state, pools) % 4 == 0)
SERQ_CHECK(counts_of_words, offsetof(serq_state, counts) % 4 == 0)
#if SERQ_HISTOGRAMS > 0
SERQ_CHECK(histograms_of_words, offsetof(serq_state, histograms) % 4 == 0)
#endif
#endif

enum { MIN_FRAMES = 2 }; /* a difference between frames needs two */

static inline uint32_t load_word(const int16_t *from)
{
#if defined(__GNUC__)
    from = __builtin_assume_aligned(from, 4); /* one load */
#endif
    uint32_t two;
    memcpy(&two, from, sizeof two);
    return two;
}

static inline void store_word(int16_t *to, uint32_t two)
{
#if defined(__GNUC__)
    to = __builtin_assume_aligned(to, 4);
#endif
    memcpy(to, &two, sizeof two);
}

void serq_init(serq_state *state)
{
    if (state == NULL) {
        return;
    }
    state->begun = SERQ_BEGUN;
    state->frames = 0;
    state->filled = SERQ_PADDING;
    state->kept = 0;
    state->ended = 0;
    state->grid.anchored = false;
#ifdef SERQ_SEQUENCE
    state->row = 0;
#endif
#ifdef SERQ_VOICE_MOST
    state->voice.is = NULL;
#endif
    serq_floor_init(&state->floor);
    if (SERQ_PADDING > 0) {
        memset(state->samples, 0, sizeof state->samples);
    }
}

#ifdef SERQ_SEQUENCE

/* The row of a frame whose level has that step. */
static int16_t *take_row(serq_state *state, int16_t step)
{
    unsigned row = state->row;
    state->steps[row] = step;
    state->row = (uint16_t)(row + 1 == SERQ_SEQUENCE ? 0 : row + 1);
    return state->rows + row * SERQ_COEFFICIENTS;
}

int16_t *serq_next_row(serq_state *state, int32_t level)
{
    return take_row(state, serq_step(&state->grid, level, SERQ_TIER_WIDTH));
}

#else

/* Clear whole words. The memset() of small libraries takes a byte at a time, and compilers make it
 * of a loop that they can see through. */
static void clear_words(void *memory, uint32_t bytes)
{
    int16_t *word = memory;
    for (; bytes >= 16; bytes -= 16, word += 8) {
        store_word(word, 0);
        store_word(word + 2, 0);
        store_word(word + 4, 0);
        store_word(word + 6, 0);
        SERQ_RELOAD();
    }
    for (; bytes > 0; bytes -= 4, word += 2) {
        store_word(word, 0);
        SERQ_RELOAD();
    }
}

void serq_clear_pools(serq_state *state)
{
    clear_words(state->pools, sizeof state->pools);
    clear_words(state->counts, sizeof state->counts);
#if SERQ_HISTOGRAMS > 0
    clear_words(state->histograms, sizeof state->histograms);
#endif
    state->tiers.top = SERQ_NEVER;
    state->tiers.last = SERQ_NEVER;
}

void serq_raise_top(serq_state *state, int16_t top)
{
    int32_t rise = state->tiers.top == SERQ_NEVER ? 0 : top - state->tiers.top;
    for (int32_t i = 0; i < rise && i < SERQ_TIERS; i++) {
        unsigned tier = serq_tier((int16_t)(top - i), top, SERQ_TIERS);
        for (unsigned j = tier; j < SERQ_POOLS * SERQ_TIERS; j += SERQ_TIERS) {
            clear_words(state->pools + j, sizeof *state->pools);
        }
#if SERQ_HISTOGRAMS > 0
        for (unsigned j = tier; j < SERQ_HISTOGRAMS * SERQ_TIERS; j += SERQ_TIERS) {
            clear_words(state->histograms + j, sizeof *state->histograms);
        }
#endif
        for (unsigned j = tier; j < SERQ_SELECTIONS * SERQ_TIERS; j += SERQ_TIERS) {
            clear_words(state->counts + j, sizeof *state->counts);
        }
    }
    state->tiers.top = top;
}

serq_place serq_place_frame(serq_state *state, int32_t level)
{
    bool begins = state->frames == 0;
    if (begins) {
        serq_clear_pools(state);
    }
    int16_t step = serq_step(&state->grid, level, SERQ_TIER_WIDTH);
    if (step > state->tiers.top) {
        serq_raise_top(state, step);
    }
    serq_place place = serq_next_place(&state->tiers, step, SERQ_TIERS, begins);
    serq_count_add(state->counts, &place);
    return place;
}

#endif

bool serq_frame_rises(serq_state *state, int32_t level)
{
    state->speech = state->frames == 0 ? 0 : state->speech;
    return serq_rises(&state->floor, level, SERQ_SPEECH_RISE);
}

void serq_add_speech(serq_state *state, bool speech)
{
    state->speech = (uint16_t)(state->speech + speech);
}

/* Whether `more` samples, and the zeros after the clip, complete the frame that makes `frames`. */
static bool reaches(const serq_state *state, uint32_t more, uint32_t frames)
{
    uint32_t samples = state->frames * SERQ_HOP_LENGTH + state->filled + more;
    return samples + SERQ_PADDING >= SERQ_FRAME_LENGTH + (frames - 1) * SERQ_HOP_LENGTH;
}

#if !SERQ_CORTEX_M
static inline void move_eight(int16_t *to, const int16_t *from)
{
    uint32_t a = load_word(from), b = load_word(from + 2), c = load_word(from + 4),
             d = load_word(from + 6);
    store_word(to, a);
    store_word(to + 2, b);
    store_word(to + 4, c);
    store_word(to + 6, d);
}
#endif

/* Copy 16 samples and go on to the next. */
static inline void move_sixteen(int16_t **to, const int16_t **from)
{
#if SERQ_THUMB2
    __asm__ volatile("ldmia %1!, {r3, r4, r5, r6, r8, r10, r12, lr}\n\t"
                     "stmia %0!, {r3, r4, r5, r6, r8, r10, r12, lr}"
                     : "+r"(*to), "+r"(*from)
                     :
                     : "r3", "r4", "r5", "r6", "r8", "r10", "r12", "lr", "memory");
#elif SERQ_CORTEX_M
    __asm__ volatile("ldmia %1!, {r3, r4, r5, r6}\n\tstmia %0!, {r3, r4, r5, r6}\n\t"
                     "ldmia %1!, {r3, r4, r5, r6}\n\tstmia %0!, {r3, r4, r5, r6}"
                     : "+l"(*to), "+l"(*from)
                     :
                     : "r3", "r4", "r5", "r6", "memory");
#else
    move_eight(*to, *from);
    move_eight(*to + 8, *from + 8);
    *to += 16;
    *from += 16;
#endif
}

/* Copy samples, if to the same array then to a lower place: two at a time where they lie alike in
 * their words. The memmove() of small libraries takes a byte at a time. */
static void move_samples(int16_t *to, const int16_t *from, uint32_t count)
{
    bool alike = (((uintptr_t)to ^ (uintptr_t)from) & 2) == 0;
    if (alike && ((uintptr_t)to & 2) != 0 && count > 0) {
        *to++ = *from++;
        count--;
    }
    for (; alike && count >= 16; count -= 16) {
        move_sixteen(&to, &from);
    }
    for (; count > 0; count--) {
        *to++ = *from++;
    }
}

/* Keep what the next frame shares with this one. */
static void next_frame(serq_state *state)
{
    state->frames++;
    state->filled = SERQ_FRAME_LENGTH - SERQ_HOP_LENGTH;
    move_samples(state->samples, state->samples + SERQ_HOP_LENGTH, state->filled);
}

bool serq_fill(serq_state *state, const int16_t *samples, uint32_t count)
{
    move_samples(state->samples + state->filled, samples, count);
    state->filled = (uint16_t)(state->filled + count);
    return state->filled == SERQ_FRAME_LENGTH;
}

void serq_take_frame(serq_state *state)
{
    serq_model_frame(state);
    next_frame(state);
}

void serq_pass_over(serq_state *state)
{
#ifdef SERQ_SEQUENCE
    take_row(state, SERQ_NEVER);
#else
    state->tiers.last = SERQ_NEVER; /* so the next frame makes no pair */
#endif
    state->kept = 0;
    next_frame(state);
}

/* Take samples, no more than a frame has room for. */
static void take(serq_state *state, const int16_t *samples, uint32_t count)
{
    if (serq_fill(state, samples, count)) {
        serq_take_frame(state);
    }
}

#if SERQ_PADDING > 0
/* The zeros after the clip, once. */
static void end_clip(serq_state *state)
{
    static const int16_t zero = 0;
    for (unsigned left = state->ended ? 0 : SERQ_PADDING; left > 0; left--) {
        take(state, &zero, 1);
    }
    state->ended = 1;
}
#endif

int serq_push(serq_state *state, const int16_t *samples, uint32_t count)
{
    int refusal = serq_refusal(state);
    if (refusal != 0 || (samples == NULL && count > 0)) {
        return refusal != 0 ? refusal : SERQ_ERROR_ARGUMENT;
    }
    if (SERQ_PADDING > 0 && state->ended) {
        return SERQ_ERROR_ENDED;
    }
    while (count > 0) {
        uint32_t room = (uint32_t)(SERQ_FRAME_LENGTH - state->filled);
        uint32_t taken = count < room ? count : room;
        if (reaches(state, taken, SERQ_MAX_FRAMES + 1)) {
            return SERQ_ERROR_TOO_LONG;
        }
        take(state, samples, taken);
        samples += taken;
        count -= taken;
    }
    return reaches(state, 0, MIN_FRAMES);
}

static void leave_out_features(int32_t *pooled)
{
    for (unsigned i = 0; i < SERQ_FEATURES; i++) {
        pooled[i] = SERQ_MISSING;
    }
}

bool serq_all_missing(const int32_t *pooled)
{
    unsigned i = 0;
    while (i < SERQ_FEATURES && pooled[i] == SERQ_MISSING) {
        i++;
    }
    return i == SERQ_FEATURES;
}

int32_t *serq_features(serq_state *state)
{
    if (serq_refusal(state) != 0 || !reaches(state, 0, MIN_FRAMES)) {
        return NULL;
    }
#if SERQ_PADDING > 0
    end_clip(state);
#endif
    int32_t speech = state->speech;
    if (speech >= SERQ_SPEECH_FRAMES) {
        serq_model_features(state);
    } else {
        leave_out_features(state->scratch.decision.pooled);
    }
    SERQ_TRACE_STAGE(SERQ_STAGE_POOLED, state->scratch.decision.pooled, SERQ_FEATURES,
                     sizeof(int32_t));
    return state->scratch.decision.pooled;
}

int serq_decide(serq_state *state, int32_t *scores)
{
    int refusal = serq_refusal(state);
    if (refusal != 0) {
        return refusal;
    }
    const int32_t *accumulators = state->scratch.decision.accumulators;
    bool speech = !serq_all_missing(state->scratch.decision.pooled);
    serq_model_network(state);
    SERQ_TRACE_STAGE(SERQ_STAGE_SCORES, accumulators, SERQ_CLASSES, sizeof(int32_t));
    if (scores != NULL) {
        memcpy(scores, accumulators, SERQ_CLASSES * sizeof(int32_t));
    }
    int label = serq_argmax(accumulators, SERQ_CLASSES);
    return speech && label != SERQ_NO_SPEECH_LABEL ? label : SERQ_NO_SPEECH;
}

#ifdef SERQ_VOICE_MOST

int serq_use_voice(serq_state *state, const serq_voice *voice)
{
    int refusal = serq_refusal(state);
    if (refusal == 0) {
        state->voice.is = voice;
    }
    return refusal;
}

bool serq_learn_features(const serq_state *state, serq_voice *voice, int label)
{
    bool emotion = label >= 0 && label < SERQ_CLASSES && label != SERQ_NO_SPEECH_LABEL;
    bool teaches = emotion && !serq_all_missing(state->scratch.decision.pooled);
    if (teaches) {
        serq_model_learn(state, voice, label);
    }
    return teaches;
}

int serq_learn(const serq_state *state, serq_voice *voice, int label)
{
    int refusal = voice == NULL ? SERQ_ERROR_ARGUMENT : serq_refusal(state);
    if (refusal == 0 && !reaches(state, 0, MIN_FRAMES)) {
        refusal = SERQ_ERROR_TOO_SHORT;
    }
    if (refusal != 0) {
        return refusal;
    }
    serq_learn_features(state, voice, label);
    return voice->windows;
}

#endif

int serq_classify(serq_state *state, int32_t *scores)
{
    int refusal = serq_refusal(state);
    if (refusal == 0 && serq_features(state) == NULL) {
        refusal = SERQ_ERROR_TOO_SHORT;
    }
    return refusal != 0 ? refusal : serq_decide(state, scores);
}
