/* The harness: answers SPEC.md section 8 over the board's byte stream, so that a host can prove
 * this firmware bit for bit. Every stage's integers come by in serq_trace(); the host gets their
 * digests, and may stop at one event and read its values. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "port.h"
#include "serq.h"
#include "serq_board.h"
#include "serq_checks.h"
#include "serq_trace.h"
#include "wire.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "digests and the wire are little-endian; this core is not"
#endif

SERQ_CHECK(digests, 4 + 5 * SERQ_STAGES <= SERQ_HARNESS_PAYLOAD) /* in one answer */

#define LATE 0xFFFFU /* a request numbered 1 .. LATE below the last one served comes too late */

enum {
    IDENTIFY = 0x01,
    BEGIN = 0x02,
    PCM = 0x03,
    FEATURES = 0x04,
    FINISH = 0x05,
    DIGESTS = 0x06,
    LABEL = 0x07,
    READ = 0x08,
    CONTINUE = 0x09,
    STAGE = 0x0A,
    GET_VOICE = 0x0B,
    PUT_VOICE = 0x0C,
    RESET_VOICE = 0x0D,
    LEARN = 0x0E,
    STOPPED = 0x8A,
    ERROR = 0xFF,
    ANSWER = 0x80 /* added to a request's type */
};

enum { FROM_PCM = 0, FROM_FEATURES = 1 }; /* modes of FINISH */
enum { BEGIN_LENGTH = 5, READ_LENGTH = 2 };

typedef enum {
    GOOD,
    UNKNOWN_REQUEST,
    BAD_LENGTH,
    OUT_OF_ORDER,
    TOO_FEW_SAMPLES,
    TOO_MANY_FRAMES,
    NOT_STOPPED,
    NO_CLIP,
    VOICE_DAMAGED,
    VOICE_FOREIGN
} verdict;

typedef struct {
    uint8_t stage;
    uint32_t crc;
} stage_digest;

/* What BEGIN says of a clip. */
typedef struct {
    uint32_t number;     /* of the request: the clip's name */
    uint8_t break_stage; /* 0: none */
    uint32_t break_event;
} clip;

static struct {
    serq_state recogniser;
    union {
        uint8_t bytes[WIRE_HEADER + SERQ_HARNESS_PAYLOAD];
        int16_t halves[(WIRE_HEADER + SERQ_HARNESS_PAYLOAD) /
                       2]; /* samples begin at byte WIRE_HEADER + 4 */
    } request;
    uint32_t last;      /* number of the last request served */
    bool heard;         /* `last` is one */
    uint32_t continued; /* number of the last CONTINUE that ended a stop */
    bool resumed;       /* `continued` is one */
    bool interrupted;   /* the request was answered by STOPPED */
    bool abandoned;     /* while it was, another BEGIN came: `clip` is that one, and what is still
                           computed is of no use */

    bool begun; /* the members below belong to `clip` */
    clip clip;
    uint32_t samples;  /* taken since BEGIN: the next expected offset */
    uint16_t features; /* how many of the first features the host has sent since BEGIN and the last
                          samples */
    uint32_t sum, sum_of_sums; /* of the input's 16-bit words */
    stage_digest digests[SERQ_STAGES];
    uint8_t stages; /* digests in use, in the order in which their stages first came by */
    bool dead;      /* it was too long: what was taken of it is of no use */
    bool finished;  /* the members below hold the clip's result */
    int8_t label;
    int32_t scores[SERQ_CLASSES];
#ifdef SERQ_VOICE_MOST
    serq_voice voice;      /* lasts from clip to clip */
    uint16_t voice_bytes;  /* of a new one that came, from its first on */
    uint8_t voice_verdict; /* on it, when it was whole */
    bool learned;          /* it has learned from the clip */
#endif

    uint32_t frontend_cycles, network_cycles;
    uint32_t
        trace_cycles;    /* running total spent in serq_trace(), to be left out of the two above */
    uint32_t break_seen; /* events of the breakpoint's stage so far */
} harness;

static uint16_t get_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static uint32_t get_u32(const uint8_t *bytes)
{
    return get_u16(bytes) | (uint32_t)get_u16(bytes + 2) << 16;
}

static uint32_t number_of(const uint8_t *request)
{
    return get_u32(request + 4);
}

/* Wait for the next request that is not late. Returns its length without the header, or UINT32_MAX
 * at the end of input. */
static uint32_t receive(uint8_t *request, uint32_t capacity)
{
    uint32_t length;
    while ((length = wire_receive(request, capacity)) != 0) {
        uint32_t behind = harness.last - number_of(request);
        if (!harness.heard || behind == 0 || behind > LATE) {
            harness.heard = true;
            harness.last = number_of(request);
            return length - WIRE_HEADER;
        }
    }
    return UINT32_MAX;
}

/* ---- answers: each is a function of the state alone, so a request may be repeated ---- */

static void begin_answer(const uint8_t *request, uint32_t length)
{
    wire_begin((uint8_t)(request[0] | ANSWER), number_of(request), (uint16_t)length);
}

static void answer_error(const uint8_t *request, verdict code)
{
    wire_begin(ERROR, number_of(request), 2);
    wire_put_u8((uint8_t)code);
    wire_put_u8(request[0]);
    wire_end();
}

static void answer_identity(const uint8_t *request)
{
    static const uint8_t identity[8] = SERQ_IDENTITY;
    begin_answer(request,
                 1 + sizeof identity + 2 + 2 + 3 + 2 + 2 + 4 + 4 + sizeof SERQ_BOARD_NAME - 1);
    wire_put_u8(SERQ_ABI);
    wire_put(identity, sizeof identity);
    wire_put_u16(SERQ_HARNESS_PAYLOAD);
    wire_put_u16(SERQ_FEATURES);
    wire_put_u8(SERQ_CLASSES);
    wire_put_u8(SERQ_LAYERS);
    wire_put_u8(SERQ_STAGES);
    wire_put_u16(SERQ_FRAME_LENGTH);
    wire_put_u16(SERQ_HOP_LENGTH);
    wire_put_u32(SERQ_SAMPLE_RATE);
    wire_put_u32(SERQ_BOARD_CLOCK_HZ);
    wire_put(SERQ_BOARD_NAME, sizeof SERQ_BOARD_NAME - 1);
}

static void answer_label(const uint8_t *request)
{
    const char *name = serq_label(request[WIRE_HEADER]);
    uint32_t length = (uint32_t)strlen(name);
    begin_answer(request, length);
    wire_put(name, length);
}

/* Nothing beyond the last stage. */
static void answer_stage(const uint8_t *request)
{
    unsigned index = request[WIRE_HEADER];
    const serq_stage *stage = serq_stages + index;
    uint32_t length = index < SERQ_STAGES ? (uint32_t)strlen(stage->name) : 0;

    if (length == 0) {
        begin_answer(request, 0);
        return;
    }
    begin_answer(request, 2 + length);
    wire_put_u8(stage->size);
    wire_put_u8(stage->per_frame);
    wire_put(stage->name, length);
}

static void answer_result(const uint8_t *request)
{
    begin_answer(request, 1 + 4 + 4 + 4 + 4 + 4 + 4 + sizeof harness.scores);
    wire_put_u8((uint8_t)harness.label);
    wire_put_u32(harness.recogniser.frames);
    wire_put_u32(harness.frontend_cycles);
    wire_put_u32(harness.network_cycles);
    wire_put_u32(harness.clip.number);
    wire_put_u32(harness.sum);
    wire_put_u32(harness.sum_of_sums);
    wire_put(harness.scores, sizeof harness.scores);
}

static void answer_digests(const uint8_t *request)
{
    begin_answer(request, 4 + 5U * harness.stages);
    wire_put_u32(harness.clip.number);
    for (uint8_t i = 0; i < harness.stages; i++) {
        wire_put_u8(harness.digests[i].stage);
        wire_put_u32(harness.digests[i].crc);
    }
}

#ifdef SERQ_VOICE_MOST
static void answer_voice(const uint8_t *request)
{
    uint32_t offset = get_u16(request + WIRE_HEADER), left = sizeof harness.voice;
    offset = offset < left ? offset : left;
    left -= offset;
    if (left > SERQ_HARNESS_PAYLOAD - 4U) {
        left = SERQ_HARNESS_PAYLOAD - 4U;
    }
    serq_voice_seal(&harness.voice);
    begin_answer(request, 4 + left);
    wire_put_u16(sizeof harness.voice);
    wire_put_u16((uint16_t)offset);
    wire_put((const uint8_t *)&harness.voice + offset, left);
}
#endif

static void answer(const uint8_t *request)
{
    switch (request[0]) {
    case IDENTIFY:
        answer_identity(request);
        break;
    case PCM:
        begin_answer(request, 4);
        wire_put_u32(harness.samples);
        break;
    case FEATURES:
        begin_answer(request, 2);
        wire_put_u16(harness.features);
        break;
    case FINISH:
        answer_result(request);
        break;
    case DIGESTS:
        answer_digests(request);
        break;
    case STAGE:
        answer_stage(request);
        break;
    case LABEL:
        answer_label(request);
        break;
#ifdef SERQ_VOICE_MOST
    case GET_VOICE:
        answer_voice(request);
        break;
    case PUT_VOICE:
        begin_answer(request, 2);
        wire_put_u16(harness.voice_bytes);
        break;
    case LEARN:
        begin_answer(request, 2);
        wire_put_u16(harness.voice.windows);
        break;
#endif
    default: /* BEGIN, CONTINUE, RESET_VOICE: that it was done is all there is to say */
        begin_answer(request, 0);
        break;
    }
    wire_end();
}

/* ---- the breakpoint ---- */

/* A stage's integers where they lie. */
typedef struct {
    uint8_t stage, size;
    uint16_t count;
    const uint8_t *values;
} event;

static void answer_stopped(const event *e)
{
    wire_begin(STOPPED, number_of(harness.request.bytes), 5);
    wire_put_u8(e->stage);
    wire_put_u32(harness.clip.break_event);
    wire_end();
}

static void answer_read(const uint8_t *request, const event *e)
{
    uint32_t offset = get_u16(request + WIRE_HEADER);
    uint32_t room = (SERQ_HARNESS_PAYLOAD - 5U) / e->size;
    if (offset > e->count) {
        offset = e->count;
    }
    uint32_t count = e->count - offset < room ? e->count - offset : room;
    begin_answer(request, 5 + count * e->size);
    wire_put_u8(e->size);
    wire_put_u16((uint16_t)count);
    wire_put_u16((uint16_t)offset);
    wire_put(e->values + offset * e->size, count * e->size);
    wire_end();
}

static void name_clip(const uint8_t *begin)
{
    harness.clip.number = number_of(begin);
    harness.clip.break_stage = begin[WIRE_HEADER];
    harness.clip.break_event = get_u32(begin + WIRE_HEADER + 1);
}

/* The length that a request served at a breakpoint must have. */
static uint32_t stopped_length(uint8_t type)
{
    return type == BEGIN                    ? BEGIN_LENGTH
           : type == READ                   ? READ_LENGTH
           : type == LABEL || type == STAGE ? 1
                                            : 0;
}

/* Serve one request of those allowed at a breakpoint. Returns false when the work shall go on. */
static bool serve_stopped(const event *e)
{
    uint8_t request[WIRE_HEADER + BEGIN_LENGTH]; /* the longest; the interrupted request still lies
                                                    in harness.request */
    uint32_t length = receive(request, sizeof request);
    uint8_t type = request[0];
    if (length == UINT32_MAX) {
        return false;
    }
    if (number_of(request) == number_of(harness.request.bytes)) { /* the answer was lost */
        answer_stopped(e);
    } else if (type != IDENTIFY && type != LABEL && type != STAGE && type != READ &&
               type != CONTINUE && type != BEGIN) {
        answer_error(request, OUT_OF_ORDER);
    } else if (length != stopped_length(type)) {
        answer_error(request, BAD_LENGTH);
    } else if (type == BEGIN) { /* answered when the interrupted request has unwound */
        name_clip(request);
        harness.abandoned = true;
        return false;
    } else if (type == READ) {
        answer_read(request, e);
    } else {
        if (type == CONTINUE) {
            harness.continued = number_of(request);
            harness.resumed = true;
        }
        answer(request);
        return type != CONTINUE;
    }
    return true;
}

static void stop(const event *e)
{
    harness.interrupted = true;
    answer_stopped(e);
    while (serve_stopped(e)) {
    }
}

static void add_to_digest(const event *e)
{
    uint8_t i = 0;
    while (i < harness.stages && harness.digests[i].stage != e->stage) {
        i++;
    }
    if (i == SERQ_STAGES) { /* a stage that is not in the table: the host misses its digest */
        return;
    }
    if (i == harness.stages) {
        harness.stages++;
        harness.digests[i].stage = e->stage;
        harness.digests[i].crc = 0;
    }
    harness.digests[i].crc =
        wire_crc32(harness.digests[i].crc, e->values, (uint32_t)e->count * e->size);
}

void serq_trace(uint8_t stage, const void *values, uint16_t count, uint8_t size)
{
    uint32_t start = port_cycles();
    event e = {stage, size, count, values};
    if (harness.abandoned) {
        return;
    }
    add_to_digest(&e);
    if (stage == harness.clip.break_stage && harness.break_seen++ == harness.clip.break_event) {
        stop(&e);
    }
    harness.trace_cycles += port_cycles() - start;
}

/* ---- requests ---- */

/* Cycles since `start`, taken when trace_cycles was `traced`, without those of tracing. */
static uint32_t cycles_since(uint32_t start, uint32_t traced)
{
    return port_cycles() - start - (harness.trace_cycles - traced);
}

#ifdef SERQ_VOICE_MOST

static void reset_voice(void)
{
    serq_voice_reset(&harness.voice);
    harness.voice_bytes = 0;
}

/* What a host left unfinished is no voice. */
static void drop_part_of_voice(void)
{
    if (harness.voice_bytes != 0 && harness.voice_bytes != sizeof harness.voice) {
        reset_voice();
    }
}

static verdict open_voice(void)
{
    int error = serq_voice_open(&harness.voice);
    return error == 0 ? GOOD : error == SERQ_ERROR_VOICE_FOREIGN ? VOICE_FOREIGN : VOICE_DAMAGED;
}

static verdict put_voice(const uint8_t *payload, uint32_t length)
{
    uint32_t offset = length < 2 ? 0 : get_u16(payload), count = length - 2;
    if (length < 3 || offset + count > sizeof harness.voice) {
        return BAD_LENGTH;
    }
    if (offset != 0 && offset != harness.voice_bytes) {
        return offset < harness.voice_bytes ? (verdict)harness.voice_verdict : OUT_OF_ORDER;
    }
    memcpy((uint8_t *)&harness.voice + offset, payload + 2, count);
    harness.voice_bytes = (uint16_t)(offset + count);
    harness.voice_verdict = GOOD;
    if (harness.voice_bytes == sizeof harness.voice) {
        harness.voice_verdict = (uint8_t)open_voice();
    }
    return (verdict)harness.voice_verdict;
}

/* Once from a clip: asked again, it only answers. */
static verdict learn(const uint8_t *payload, uint32_t length)
{
    if (length != 1) {
        return BAD_LENGTH;
    }
    if (!harness.finished) {
        return OUT_OF_ORDER;
    }
    int label = (int8_t)payload[0] < 0 ? harness.label : payload[0];
    if (!harness.learned) {
        serq_learn_features(&harness.recogniser, &harness.voice, label);
    }
    harness.learned = true;
    return GOOD;
}

static verdict perform_on_voice(uint8_t type, const uint8_t *payload, uint32_t length)
{
    if (type == PUT_VOICE) {
        return put_voice(payload, length);
    }
    if (length != (type == GET_VOICE ? 2U : 0U)) {
        return BAD_LENGTH;
    }
    if (type == RESET_VOICE) {
        reset_voice();
    }
    return GOOD;
}

#endif

static void begin(void)
{
    serq_init(&harness.recogniser);
#ifdef SERQ_VOICE_MOST
    drop_part_of_voice();
    serq_use_voice(&harness.recogniser, &harness.voice);
    harness.learned = false;
#endif
    harness.begun = true;
    harness.samples = 0;
    harness.features = 0;
    harness.sum = 0;
    harness.sum_of_sums = 0;
    harness.stages = 0;
    harness.dead = false;
    harness.finished = false;
    harness.frontend_cycles = 0;
    harness.network_cycles = 0;
    harness.break_seen = 0;
}

/* What the host compares with its own sums: not a CRC, so that no damage can pass both the frames'
 * CRC and this. */
static void add_to_sums(const void *words, uint32_t count)
{
    const uint8_t *next = words;
    const uint8_t *end = next + 2 * count;
    for (; next < end; next += 2) {
        harness.sum += get_u16(next);
        harness.sum_of_sums += harness.sum;
    }
}

static verdict push(const int16_t *samples, uint32_t count)
{
    uint32_t start = port_cycles();
    uint32_t traced = harness.trace_cycles;
    /* they lie in the recogniser's scratch memory, where the frame's transform writes */
    harness.features = 0;
    if (serq_push(&harness.recogniser, samples, count) < 0) {
        harness.dead = true;
        return TOO_MANY_FRAMES;
    }
    harness.frontend_cycles += cycles_since(start, traced);
    harness.samples += count;
    add_to_sums(samples, count);
    return GOOD;
}

static verdict take_samples(const uint8_t *payload, uint32_t length)
{
    if (length < 4 || (length - 4) % 2 != 0) {
        return BAD_LENGTH;
    }
    uint32_t offset = get_u32(payload), count = (length - 4) / 2;
    if (offset < harness.samples || count == 0) {
        return offset <= harness.samples ? GOOD : OUT_OF_ORDER;
    }
    if (offset > harness.samples || harness.finished) {
        return OUT_OF_ORDER;
    }
    return push(harness.request.halves + (WIRE_HEADER + 4) / 2, count);
}

static verdict take_features(const uint8_t *payload, uint32_t length)
{
    if (length < 2 || (length - 2) % 4 != 0) {
        return BAD_LENGTH;
    }
    uint32_t index = get_u16(payload), end = index + (length - 2) / 4;
    if (end > SERQ_FEATURES) {
        return BAD_LENGTH;
    }
    if (index > harness.features || harness.finished) {
        return OUT_OF_ORDER;
    }
    memcpy(harness.recogniser.scratch.decision.pooled + index, payload + 2, length - 2);
    if (end > harness.features) {
        harness.features = (uint16_t)end;
    }
    return GOOD;
}

static verdict pool_samples(void)
{
    uint32_t start = port_cycles();
    uint32_t traced = harness.trace_cycles;
    if (serq_features(&harness.recogniser) == NULL) {
        return TOO_FEW_SAMPLES;
    }
    harness.frontend_cycles += cycles_since(start, traced);
    return GOOD;
}

static verdict pool_sent_features(void)
{
    const int32_t *pooled = harness.recogniser.scratch.decision.pooled;
    if (harness.features != SERQ_FEATURES || harness.samples != 0) {
        return OUT_OF_ORDER;
    }
    add_to_sums(pooled, 2U * SERQ_FEATURES);
    serq_trace(SERQ_STAGE_POOLED, pooled, SERQ_FEATURES, sizeof(int32_t));
    return GOOD;
}

static void decide(void)
{
    uint32_t start = port_cycles();
    uint32_t traced = harness.trace_cycles;
    harness.label = (int8_t)serq_decide(&harness.recogniser, harness.scores);
    harness.network_cycles = cycles_since(start, traced);
    harness.finished = true;
}

static verdict finish(const uint8_t *payload, uint32_t length)
{
    if (length != 1 || payload[0] > FROM_FEATURES) {
        return BAD_LENGTH;
    }
    if (harness.finished) {
        return GOOD;
    }
    verdict pooled = payload[0] == FROM_FEATURES ? pool_sent_features() : pool_samples();
    if (pooled == GOOD) {
        decide();
    }
    return pooled;
}

/* What belongs to a clip. */
static verdict perform_in_clip(uint8_t type, const uint8_t *payload, uint32_t length)
{
    if (!harness.begun) {
        return NO_CLIP;
    }
    if (harness.dead) {
        return TOO_MANY_FRAMES;
    }
    switch (type) {
    case PCM:
        return take_samples(payload, length);
    case FEATURES:
        return take_features(payload, length);
    case FINISH:
        return finish(payload, length);
#ifdef SERQ_VOICE_MOST
    case LEARN:
        return learn(payload, length);
#endif
    default: /* DIGESTS */
        return length == 0 ? GOOD : BAD_LENGTH;
    }
}

/* Do what a request asks; the answer comes after. */
static verdict perform(const uint8_t *request, uint32_t length)
{
    switch (request[0]) {
    case IDENTIFY:
        return length == 0 ? GOOD : BAD_LENGTH;
    case LABEL:
    case STAGE:
        return length == 1 ? GOOD : BAD_LENGTH;
    case BEGIN:
        if (length != BEGIN_LENGTH) {
            return BAD_LENGTH;
        }
        name_clip(request);
        begin();
        return GOOD;
    case PCM:
    case FEATURES:
    case FINISH:
    case DIGESTS:
#ifdef SERQ_VOICE_MOST
    case LEARN:
#endif
        return perform_in_clip(request[0], request + WIRE_HEADER, length);
#ifdef SERQ_VOICE_MOST
    case GET_VOICE:
    case PUT_VOICE:
    case RESET_VOICE:
        return perform_on_voice(request[0], request + WIRE_HEADER, length);
#endif
    case CONTINUE: /* repeated, as its answer was lost */
        return harness.resumed && number_of(request) == harness.continued && length == 0
                   ? GOOD
                   : NOT_STOPPED;
    case READ:
        return NOT_STOPPED;
    default:
        return UNKNOWN_REQUEST;
    }
}

/* The BEGIN that came while a request was interrupted. */
static void begin_afresh(void)
{
    harness.abandoned = false;
    begin();
    wire_begin(BEGIN | ANSWER, harness.clip.number, 0);
    wire_end();
}

static void serve(const uint8_t *request, uint32_t length)
{
    harness.interrupted = false;
    verdict result = perform(request, length);
    if (harness.abandoned) {
        begin_afresh();
    } else if (harness.interrupted) {
        return; /* answered by STOPPED; the host asks again */
    } else if (result == GOOD) {
        answer(request);
    } else {
        answer_error(request, result);
    }
}

void application_run(void)
{
    uint8_t *request = harness.request.bytes;
    uint32_t length;
#ifdef SERQ_VOICE_MOST
    reset_voice();
#endif
    while ((length = receive(request, sizeof harness.request.bytes)) != UINT32_MAX) {
        if (length <= SERQ_HARNESS_PAYLOAD) {
            serve(request, length);
        }
    }
}
