/* The harness: answers SPEC.md section 8 over the board's byte stream, so that a host can prove this firmware bit for bit.
 * Every stage's integers come by in serq_trace(); the host gets their digests, and may stop at one event and read its values. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "port.h"
#include "serq.h"
#include "serq_board.h"
#include "serq_trace.h"
#include "wire.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "digests and the wire are little-endian; this core is not"
#endif

#define PROTOCOL 1
#define STAGES (7 + 2 + 2 * SERQ_LAYERS) /* per frame, pooled and input, accumulator and output (or scores) of each layer */

enum {
    IDENTIFY = 0x01,
    BEGIN = 0x02,
    PCM = 0x03,
    FEATURES = 0x04,
    FINISH = 0x05,
    DIGESTS = 0x06,
    BREAK = 0x07,
    READ = 0x08,
    CONTINUE = 0x09,
    STOPPED = 0x8A,
    ERROR = 0xFF,
    ANSWER = 0x80 /* added to a request's type */
};

enum { FROM_PCM = 0, FROM_FEATURES = 1 }; /* modes of FINISH */

typedef enum { GOOD, UNKNOWN_REQUEST, BAD_LENGTH, OUT_OF_ORDER, TOO_FEW_SAMPLES, TOO_MANY_FRAMES, NOT_STOPPED } verdict;

typedef struct {
    uint8_t stage;
    uint32_t crc;
} stage_digest;

static struct {
    serq_state recogniser;
    union {
        uint8_t bytes[WIRE_HEADER + SERQ_HARNESS_PAYLOAD];
        int16_t halves[(WIRE_HEADER + SERQ_HARNESS_PAYLOAD) / 2]; /* samples begin at byte 6 */
    } request;
    bool interrupted; /* the request was answered by STOPPED */

    uint32_t samples;  /* taken since BEGIN: the next expected offset */
    uint16_t features; /* how many of the first features the host has sent since BEGIN and the last samples */
    stage_digest digests[STAGES];
    uint8_t stages; /* digests in use, in the order in which their stages first came by */

    bool finished; /* the members below hold the clip's result */
    uint8_t label;
    int32_t scores[SERQ_CLASSES];

    uint32_t frontend_cycles, network_cycles;
    uint32_t trace_cycles; /* running total spent in serq_trace(), to be left out of the two above */

    uint8_t break_stage; /* 0: none */
    uint32_t break_event;
    uint32_t break_seen; /* events of that stage so far */
} harness;

static uint16_t get_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static uint32_t get_u32(const uint8_t *bytes)
{
    return get_u16(bytes) | (uint32_t)get_u16(bytes + 2) << 16;
}

/* ---- answers: each is a function of the state alone, so a request may be repeated ---- */

static void begin_answer(const uint8_t *request)
{
    wire_begin((uint8_t)(request[0] | ANSWER), request[1]);
}

static void answer_error(const uint8_t *request, verdict code)
{
    wire_begin(ERROR, request[1]);
    wire_put_u8((uint8_t)code);
    wire_put_u8(request[0]);
    wire_end();
}

static void put_identity(void)
{
    static const uint8_t identity[8] = SERQ_IDENTITY;

    wire_put_u8(PROTOCOL);
    wire_put_u8(SERQ_ABI);
    wire_put(identity, sizeof identity);
    wire_put_u16(SERQ_HARNESS_PAYLOAD);
    wire_put_u16(SERQ_FEATURES);
    wire_put_u8(SERQ_CLASSES);
    wire_put_u8(SERQ_LAYERS);
    wire_put_u16(SERQ_FRAME_LENGTH);
    wire_put_u16(SERQ_HOP_LENGTH);
    wire_put_u32(SERQ_SAMPLE_RATE);
    wire_put_u32(SERQ_BOARD_CLOCK_HZ);
    wire_put(SERQ_BOARD_NAME, sizeof SERQ_BOARD_NAME - 1);
}

static void put_result(void)
{
    wire_put_u8(harness.label);
    wire_put_u32(harness.recogniser.frames);
    wire_put_u32(harness.frontend_cycles);
    wire_put_u32(harness.network_cycles);
    wire_put(harness.scores, sizeof harness.scores);
}

static void put_digests(void)
{
    for (uint8_t i = 0; i < harness.stages; i++) {
        wire_put_u8(harness.digests[i].stage);
        wire_put_u32(harness.digests[i].crc);
    }
}

static void answer(const uint8_t *request)
{
    begin_answer(request);
    switch (request[0]) {
    case IDENTIFY:
        put_identity();
        break;
    case PCM:
        wire_put_u32(harness.samples);
        break;
    case FEATURES:
        wire_put_u16(harness.features);
        break;
    case FINISH:
        put_result();
        break;
    case DIGESTS:
        put_digests();
        break;
    default: /* BEGIN, BREAK, CONTINUE: that it was done is all there is to say */
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
    wire_begin(STOPPED, harness.request.bytes[1]);
    wire_put_u8(e->stage);
    wire_put_u32(harness.break_event);
    wire_end();
}

static void answer_read(const uint8_t *request, const event *e)
{
    uint32_t offset = get_u16(request + WIRE_HEADER);
    uint32_t room = (SERQ_HARNESS_PAYLOAD - 5u) / e->size;
    uint32_t count;

    if (offset > e->count) {
        offset = e->count;
    }
    count = e->count - offset < room ? e->count - offset : room;
    begin_answer(request);
    wire_put_u8(e->size);
    wire_put_u16((uint16_t)count);
    wire_put_u16((uint16_t)offset);
    wire_put(e->values + offset * e->size, count * e->size);
    wire_end();
}

/* Serve one request of those allowed at a breakpoint. Returns false when the work shall go on. */
static bool serve_stopped(const event *e)
{
    uint8_t request[WIRE_HEADER + 2]; /* READ is the longest; the interrupted request still lies in harness.request */
    uint32_t length = wire_receive(request, sizeof request);

    if (length == 0) { /* end of input */
        return false;
    }
    length -= WIRE_HEADER;
    if (request[0] == harness.request.bytes[0] && request[1] == harness.request.bytes[1]) { /* repeated: the answer was lost */
        answer_stopped(e);
    } else if (request[0] != IDENTIFY && request[0] != READ && request[0] != CONTINUE) {
        answer_error(request, OUT_OF_ORDER);
    } else if (length != (request[0] == READ ? 2 : 0)) {
        answer_error(request, BAD_LENGTH);
    } else if (request[0] == READ) {
        answer_read(request, e);
    } else {
        answer(request);
        return request[0] != CONTINUE;
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
    if (i == STAGES) { /* more stages than the model can have: the host misses this one's digest */
        return;
    }
    if (i == harness.stages) {
        harness.stages++;
        harness.digests[i].stage = e->stage;
        harness.digests[i].crc = 0;
    }
    harness.digests[i].crc = wire_crc32(harness.digests[i].crc, e->values, (uint32_t)e->count * e->size);
}

void serq_trace(uint8_t stage, const void *values, uint16_t count, uint8_t size)
{
    uint32_t start = port_cycles();
    event e = {stage, size, count, values};

    add_to_digest(&e);
    if (stage == harness.break_stage && harness.break_seen++ == harness.break_event) {
        stop(&e);
    }
    harness.trace_cycles += port_cycles() - start;
}

/* ---- requests ---- */

/* Cycles since `start`, which was taken when trace_cycles was `traced`, without those of tracing. */
static uint32_t cycles_since(uint32_t start, uint32_t traced)
{
    return port_cycles() - start - (harness.trace_cycles - traced);
}

static void begin(void)
{
    serq_init(&harness.recogniser);
    harness.samples = 0;
    harness.features = 0;
    harness.stages = 0;
    harness.finished = false;
    harness.frontend_cycles = 0;
    harness.network_cycles = 0;
    harness.break_seen = 0;
}

static verdict push(const int16_t *samples, uint32_t count)
{
    uint32_t start = port_cycles();
    uint32_t traced = harness.trace_cycles;

    harness.features = 0; /* they lie in the recogniser's scratch memory, where the frame's transform writes */
    if (serq_push(&harness.recogniser, samples, count) < 0) {
        return TOO_MANY_FRAMES;
    }
    harness.frontend_cycles += cycles_since(start, traced);
    harness.samples += count;
    return GOOD;
}

static verdict take_samples(const uint8_t *payload, uint32_t length)
{
    uint32_t offset, count;

    if (length < 4 || (length - 4) % 2 != 0) {
        return BAD_LENGTH;
    }
    offset = get_u32(payload);
    count = (length - 4) / 2;
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
    uint32_t index, end;

    if (length < 2 || (length - 2) % 4 != 0) {
        return BAD_LENGTH;
    }
    index = get_u16(payload);
    end = index + (length - 2) / 4;
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
    if (harness.features != SERQ_FEATURES) {
        return OUT_OF_ORDER;
    }
    serq_trace(SERQ_STAGE_POOLED, harness.recogniser.scratch.decision.pooled, SERQ_FEATURES, sizeof(int32_t));
    return GOOD;
}

static void decide(void)
{
    uint32_t start = port_cycles();
    uint32_t traced = harness.trace_cycles;

    harness.label = (uint8_t)serq_decide(&harness.recogniser, harness.scores);
    harness.network_cycles = cycles_since(start, traced);
    harness.finished = true;
}

static verdict finish(const uint8_t *payload, uint32_t length)
{
    verdict pooled;

    if (length != 1 || payload[0] > FROM_FEATURES) {
        return BAD_LENGTH;
    }
    if (harness.finished) {
        return GOOD;
    }
    pooled = payload[0] == FROM_FEATURES ? pool_sent_features() : pool_samples();
    if (pooled == GOOD) {
        decide();
    }
    return pooled;
}

static verdict set_breakpoint(const uint8_t *payload, uint32_t length)
{
    if (length != 5) {
        return BAD_LENGTH;
    }
    harness.break_stage = payload[0];
    harness.break_event = get_u32(payload + 1);
    harness.break_seen = 0;
    return GOOD;
}

/* Do what a request asks; the answer comes after. */
static verdict perform(uint8_t type, const uint8_t *payload, uint32_t length)
{
    switch (type) {
    case BEGIN:
        if (length != 0) {
            return BAD_LENGTH;
        }
        begin();
        return GOOD;
    case PCM:
        return take_samples(payload, length);
    case FEATURES:
        return take_features(payload, length);
    case FINISH:
        return finish(payload, length);
    case BREAK:
        return set_breakpoint(payload, length);
    case IDENTIFY:
    case DIGESTS:
        return length == 0 ? GOOD : BAD_LENGTH;
    case READ:
    case CONTINUE:
        return NOT_STOPPED;
    default:
        return UNKNOWN_REQUEST;
    }
}

static void serve(const uint8_t *request, uint32_t length)
{
    verdict result;

    harness.interrupted = false;
    result = perform(request[0], request + WIRE_HEADER, length - WIRE_HEADER);
    if (harness.interrupted) {
        return; /* answered by STOPPED; the host asks again */
    }
    if (result == GOOD) {
        answer(request);
    } else {
        answer_error(request, result);
    }
}

void application_run(void)
{
    uint8_t *request = harness.request.bytes;
    uint32_t length;

    begin();
    while ((length = wire_receive(request, sizeof harness.request.bytes)) != 0) {
        if (length <= sizeof harness.request.bytes) {
            serve(request, length);
        }
    }
}
