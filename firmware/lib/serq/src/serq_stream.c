#include "serq.h"

#ifdef SERQ_BLOCKS

#include <stddef.h>
#include <string.h>

#include "serq_checks.h"
#include "serq_stream.h"

SERQ_CHECK(stream, sizeof(serq_stream) <= SERQ_STREAM_BYTES)

/* Places lie in a ring; the newest block that has ended is before `next`. */
static unsigned place(const serq_stream *stream, unsigned age)
{
    return stream->next >= age ? stream->next - age : stream->next + SERQ_BLOCK_PLACES - age;
}

static void forget_floors(serq_stream *stream)
{
    serq_floor_init(&stream->quiet);
    for (unsigned i = 0; i < SERQ_FLOOR_PLACES; i++) {
        stream->floors[i] = SERQ_NO_FLOOR;
        stream->quiet_floors[i] = SERQ_NO_FLOOR;
    }
    stream->next_floor = 0;
}

/* A block has ended: its floor is one of the earlier ones. */
static void keep_floor(serq_floor *floor, int16_t *floors, unsigned next)
{
    if (SERQ_FLOOR_BLOCKS > 0) {
        floors[next] = floor->block;
    }
    floor->block = SERQ_NO_FLOOR;
    floor->before = SERQ_NO_FLOOR;
    for (unsigned i = 0; i < SERQ_FLOOR_PLACES; i++) {
        floor->before = floors[i] < floor->before ? floors[i] : floor->before;
    }
}

static void keep_floors(serq_stream *stream)
{
    unsigned next = stream->next_floor;
    keep_floor(&stream->state.floor, stream->floors, next);
    keep_floor(&stream->quiet, stream->quiet_floors, next);
    stream->next_floor = (uint8_t)((next + 1) % SERQ_FLOOR_PLACES);
}

/* Whether one of the blocks that may belong to the next window has speech. */
static bool spoke(const serq_stream *stream)
{
    uint32_t speech = 0;
    for (unsigned age = stream->blocks; age > 0; age--) {
        speech += stream->older[place(stream, age)].speech;
    }
    return speech > 0;
}

/* A block begins. Its frames may be passed over if nobody spoke before it in its window, and it is
 * known how loud silence is. */
static void begin_block(serq_stream *stream)
{
    stream->level_sum = 0;
    stream->heard = 0;
    stream->awake = SERQ_WAKE_RISE == 0 || SERQ_SPEECH_FRAMES == 0 ||
                    stream->quiet.before == SERQ_NO_FLOOR || spoke(stream);
    stream->state.frames = 0; /* its first frame shares samples with the last one */
}

void serq_stream_init(serq_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    serq_init(&stream->state);
    forget_floors(stream);
    stream->next = 0;
    stream->blocks = 0;
    stream->fresh = 1;
#ifdef SERQ_VOICE_MOST
    stream->voice = NULL;
    stream->wait = 0;
#endif
    begin_block(stream);
}

#ifdef SERQ_SEQUENCE

/* The ring of rows goes on from block to block: of a block only its speech is kept. */
static void merge_blocks(serq_stream *stream)
{
    stream->older[stream->next].speech = stream->state.speech;
}

#else

static void swap_words(int16_t *state, const int16_t *from, int16_t *to, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int16_t word = from[i];
        to[i] = state[i];
        state[i] = word;
    }
}

#if SERQ_HISTOGRAMS > 0

#if SERQ_PACKED_WORDS == 2

static inline uint32_t packed(const uint32_t *words)
{
    return words[0] | words[1] << 8;
}

/* Add what was packed to the words, or set them. */
static inline void unpack(uint32_t *words, uint32_t held, bool add)
{
    words[0] = (add ? words[0] : 0) + (held & 0x00ff00ff);
    words[1] = (add ? words[1] : 0) + (held >> 8 & 0x00ff00ff);
}

#else

static inline uint32_t packed(const uint32_t *word)
{
    return *word;
}

static inline void unpack(uint32_t *word, uint32_t held, bool add)
{
    *word = (add ? *word : 0) + held;
}

#endif

static void swap_histograms(serq_state *state, const serq_block *from, serq_block *to)
{
    for (unsigned i = 0; i < SERQ_HISTOGRAMS * SERQ_TIERS; i++) {
        uint32_t *words = state->histograms[i].words;
        for (unsigned j = 0; j < SERQ_HISTOGRAM_BINS / 2 / SERQ_PACKED_WORDS; j++) {
            uint32_t other = from->histograms[i].words[j];
            to->histograms[i].words[j] = packed(words);
            unpack(words, other, false);
            words += SERQ_PACKED_WORDS;
        }
    }
}

static void add_histograms(serq_state *state, const serq_block *block, uint8_t tier)
{
    for (unsigned i = tier; i < SERQ_HISTOGRAMS * SERQ_TIERS; i += SERQ_TIERS) {
        uint32_t *words = state->histograms[i].words;
        for (unsigned j = 0; j < SERQ_HISTOGRAM_BINS / 2 / SERQ_PACKED_WORDS; j++) {
            unpack(words, block->histograms[i].words[j], true);
            words += SERQ_PACKED_WORDS;
        }
    }
}

#else

static inline void swap_histograms(serq_state *state, const serq_block *from, serq_block *to)
{
    (void)state;
    (void)from;
    (void)to;
}

static inline void add_histograms(serq_state *state, const serq_block *block, uint8_t tier)
{
    (void)state;
    (void)block;
    (void)tier;
}

#endif

/* What the state holds goes to the block `to`, and `from`, which may be the same, to the state. */
static void swap_blocks(serq_state *state, const serq_block *from, serq_block *to)
{
    for (unsigned i = 0; i < SERQ_POOLS * SERQ_TIERS; i++) {
        serq_pool pool = from->pools[i];
        to->pools[i] = state->pools[i];
        state->pools[i] = pool;
    }
    for (unsigned i = 0; i < SERQ_SELECTIONS * SERQ_TIERS; i++) {
        serq_count count = from->counts[i];
        to->counts[i] = state->counts[i];
        state->counts[i] = count;
    }
    swap_histograms(state, from, to);
    swap_words(state->first, from->first, to->first, SERQ_POOLS);
    swap_words(state->last, from->last, to->last, SERQ_POOLS);
    serq_tiers tiers = from->tiers;
    to->tiers = state->tiers;
    state->tiers = tiers;
}

/* The step that a block's frames in a tier have. */
static int16_t step_of(const serq_block *block, uint8_t tier)
{
    int16_t step = block->tiers.top;
    while (serq_tier(step, block->tiers.top, SERQ_TIERS) != tier) {
        step--;
    }
    return step;
}

/* The sums of a block, as far as its frames are loud enough. */
static void add_tiers(serq_state *state, const serq_block *block)
{
    for (uint8_t tier = 0; tier < SERQ_TIERS; tier++) {
        if (serq_tier(step_of(block, tier), state->tiers.top, SERQ_TIERS) == SERQ_UNCOUNTED) {
            continue;
        }
        serq_pool_join(state->pools + tier, block->pools + tier, SERQ_POOLS, SERQ_TIERS);
        add_histograms(state, block, tier);
        for (unsigned i = tier; i < SERQ_SELECTIONS * SERQ_TIERS; i += SERQ_TIERS) {
            serq_count *count = state->counts + i;
            count->frames = (uint16_t)(count->frames + block->counts[i].frames);
            count->pairs = (uint16_t)(count->pairs + block->counts[i].pairs);
        }
    }
}

/* The window grows by the block that follows its last frame. */
static void append(serq_state *state, const serq_block *block)
{
    serq_tiers *tiers = &state->tiers;
    if (block->tiers.top > tiers->top) {
        serq_raise_top(state, block->tiers.top);
    }
    if (block->tiers.top != SERQ_NEVER) {
        add_tiers(state, block);
    }
    int16_t lower = tiers->last < block->tiers.first ? tiers->last : block->tiers.first;
    serq_place edge = {SERQ_UNCOUNTED, serq_tier(lower, tiers->top, SERQ_TIERS), false};
    serq_count_add(state->counts, &edge);
    serq_model_edges(state, block->first, edge.pair, block->tiers.first_counts);
    tiers->last = block->tiers.last;
    tiers->last_counts = block->tiers.last_counts;
    memcpy(state->last, block->last, sizeof state->last);
}

/* The state's block goes to the ring, over the oldest if that is full, and the state becomes the
 * window: the oldest block if there are older ones, and the younger ones after it. */
static void merge_blocks(serq_stream *stream)
{
    serq_state *state = &stream->state;
    serq_block *newest = stream->older + stream->next;
    newest->speech = state->speech;
    unsigned age = stream->blocks;
    swap_blocks(state, age > 0 ? stream->older + place(stream, age) : newest, newest);
    if (age == 0) {
        serq_clear_pools(state);
    }
    while (age > 1) {
        append(state, stream->older + place(stream, --age));
    }
    append(state, newest);
}

#endif

/* The block that was kept is one of the older from now on. */
static void next_block(serq_stream *stream)
{
    stream->next = (uint8_t)(stream->next + 1 == SERQ_BLOCK_PLACES ? 0 : stream->next + 1);
    stream->blocks =
        (uint8_t)(stream->blocks + 1U < SERQ_BLOCKS ? stream->blocks + 1 : stream->blocks);
}

/* A window does not begin with a block without speech. Returns the frames of speech that are left,
 * those of the newest block among them. */
static int32_t begin_with_speech(serq_stream *stream)
{
    int32_t speech = stream->state.speech;
    for (unsigned age = stream->blocks; age > 0; age--) {
        uint16_t its = stream->older[place(stream, age)].speech;
        if (its == 0 && age == stream->blocks && SERQ_SPEECH_FRAMES > 0) {
            stream->blocks--;
        }
        speech += its;
    }
    return speech;
}

/* Averages of scores; their sums cannot overflow, as the largest score times 2^SERQ_SMOOTHING does
 * not (SPEC.md section 5). */
static void smooth(serq_stream *stream, int32_t *scores)
{
    for (unsigned i = 0; i < SERQ_CLASSES; i++) {
        int32_t sum = stream->fresh
                          ? scores[i] * ((int32_t)1 << SERQ_SMOOTHING)
                          : stream->sums[i] - (stream->sums[i] >> SERQ_SMOOTHING) + scores[i];
        stream->sums[i] = sum;
        scores[i] = sum >> SERQ_SMOOTHING;
    }
    stream->fresh = 0;
}

/* The best score's lead over all others. */
static uint32_t margin(const int32_t *scores, unsigned best)
{
    uint32_t least = UINT32_MAX;
    for (unsigned i = 0; i < SERQ_CLASSES; i++) {
        uint32_t lead = (uint32_t)scores[best] - (uint32_t)scores[i];
        least = i != best && lead < least ? lead : least;
    }
    return least;
}

#ifdef SERQ_VOICE_MOST

int serq_stream_use_voice(serq_stream *stream, serq_voice *voice, int learns)
{
    int refusal = stream == NULL ? SERQ_ERROR_ARGUMENT : serq_refusal(&stream->state);
    if (refusal != 0) {
        return refusal;
    }
    bool label = learns >= 0 && learns < SERQ_CLASSES && learns != SERQ_NO_SPEECH_LABEL;
    serq_use_voice(&stream->state, voice);
    stream->voice = voice;
    stream->learns = (int8_t)(label || learns == SERQ_LEARN_ANSWERS ? learns : SERQ_LEARN_NOTHING);
    return 0;
}

/* The features of the window are still there. */
static void learn(serq_stream *stream, const serq_decision *decision)
{
    int label = stream->learns == SERQ_LEARN_ANSWERS ? decision->answer : stream->learns;
    bool may = stream->voice != NULL && stream->wait == 0 && decision->answer != SERQ_NO_SPEECH;
    if (may && serq_learn_features(&stream->state, stream->voice, label)) {
        stream->wait = SERQ_BLOCKS;
    }
}

#else

static inline void learn(const serq_stream *stream, const serq_decision *decision)
{
    (void)stream;
    (void)decision;
}

#endif

int serq_confidence(const serq_decision *decision)
{
#ifdef SERQ_CONFIDENCE
    static const uint32_t leads[] = SERQ_CONFIDENCE;
    if (decision != NULL && decision->frames > 0) {
        int steps = 0;
        for (unsigned i = 0; i < sizeof leads / sizeof leads[0]; i++) {
            steps += decision->margin >= leads[i];
        }
        return steps * SERQ_CONFIDENCE_STEP;
    }
#else
    (void)decision;
#endif
    return SERQ_UNKNOWN_CONFIDENCE;
}

/* The answer to the window that the state holds, whose features are there. */
static void decide(serq_stream *stream, serq_decision *decision)
{
    serq_state *state = &stream->state;
    decision->frames = (uint16_t)state->frames;
    serq_decide(state, decision->scores);
    smooth(stream, decision->scores);
    int best = serq_argmax(decision->scores, SERQ_CLASSES);
    uint32_t enough = SERQ_UNSURE_MARGIN;
    decision->margin = margin(decision->scores, (unsigned)best);
    decision->answer = (int8_t)(decision->margin < enough ? SERQ_NOT_SURE : best);
    if (best == SERQ_NO_SPEECH_LABEL) {
        decision->answer = SERQ_NO_SPEECH;
    }
}

static void hear_no_speech(serq_stream *stream, serq_decision *decision)
{
    memset(decision->scores, 0, sizeof decision->scores);
    decision->margin = 0;
    decision->frames = 0;
    decision->answer = SERQ_NO_SPEECH;
    stream->fresh = 1;
}

static void end_block(serq_stream *stream, serq_decision *decision)
{
    serq_state *state = &stream->state;
    int32_t speech = begin_with_speech(stream);
    decision->level = (int16_t)serq_floor_div(stream->level_sum + stream->heard / 2, stream->heard);
    if (SERQ_SPEECH_FRAMES == 0 || speech > 0) {
        merge_blocks(stream);
        state->frames = (stream->blocks + (uint32_t)1) * SERQ_BLOCK_FRAMES;
        state->speech = (uint16_t)speech;
        next_block(stream);
    }
#ifdef SERQ_VOICE_MOST
    stream->wait = (uint8_t)(stream->wait - (stream->wait > 0));
#endif
    if (speech >= SERQ_SPEECH_FRAMES && !serq_all_missing(serq_features(state))) {
        decide(stream, decision);
        learn(stream, decision);
    } else {
        hear_no_speech(stream, decision);
    }
    keep_floors(stream);
    begin_block(stream);
}

/* Whether the whole frame that waits is passed over: nothing has risen in its block so far. */
static bool sleeps(serq_stream *stream)
{
    if (SERQ_WAKE_RISE > 0 && SERQ_SPEECH_FRAMES > 0) {
        int32_t loudness = serq_model_loudness(&stream->state);
        bool rises = serq_rises(&stream->quiet, loudness, SERQ_WAKE_RISE);
        stream->awake = stream->awake || rises;
    }
    return !stream->awake && stream->state.frames > 0;
}

static void hear_frame(serq_stream *stream)
{
    serq_state *state = &stream->state;
    if (sleeps(stream)) {
        serq_pass_over(state);
        return;
    }
    serq_take_frame(state);
    stream->level_sum += state->scratch.frame.level;
    stream->heard++;
}

int serq_stream_push(serq_stream *stream, const int16_t **samples, uint32_t *count,
                     serq_decision *decision)
{
    if (stream == NULL || samples == NULL || count == NULL || decision == NULL ||
        (*samples == NULL && *count > 0)) {
        return SERQ_ERROR_ARGUMENT;
    }
    serq_state *state = &stream->state;
    int refusal = serq_refusal(state);
    if (refusal != 0) {
        return refusal;
    }
    while (*count > 0) {
        uint32_t room = (uint32_t)(SERQ_FRAME_LENGTH - state->filled);
        uint32_t taken = *count < room ? *count : room;
        bool whole = serq_fill(state, *samples, taken);
        *samples += taken;
        *count -= taken;
        if (whole) {
            hear_frame(stream);
            if (state->frames == SERQ_BLOCK_FRAMES) {
                end_block(stream, decision);
                return 1;
            }
        }
    }
    return 0;
}

#else
typedef char serq_stream_is_empty; /* ISO C wants something in a file */
#endif
