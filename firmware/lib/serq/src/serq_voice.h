/* serq: a voice, what was learned of one speaker (SPEC.md section 19). For models that were trained
 * for it: SERQ_VOICE_MOST is defined then.
 *
 *     static serq_voice voice;
 *     serq_voice_reset(&voice);                        // or: bytes from storage, serq_voice_open()
 *     serq_init(&state);
 *     serq_use_voice(&state, &voice);
 *     ... serq_push(), serq_classify() as ever: answers are of this voice
 *     serq_learn(&state, &voice, neutral);             // the speaker was heard, and was neutral
 *     serq_voice_seal(&voice);                         // store its sizeof(serq_voice) bytes
 *
 * A voice is personal data: how somebody speaks, on average. It holds no sound. */
#ifndef SERQ_VOICE_H
#define SERQ_VOICE_H

#include <stdint.h>

/* Errors of serq_voice_open(). */
#define SERQ_ERROR_VOICE_DAMAGED (-8) /* the bytes are no voice, or are not whole */
#define SERQ_ERROR_VOICE_FOREIGN (-9) /* the voice is of another model or runtime */

#define SERQ_VOICE_VERSION 2
#define SERQ_VOICE_SUMS (SERQ_FEATURES + (SERQ_CLASSES + SERQ_FEATURES) % 2)

/* As it is stored, too: little-endian, without gaps. */
typedef struct {
    uint8_t magic[4]; /* "SRQV" */
    uint8_t version;
    uint8_t reserved; /* 0 */
    uint16_t windows; /* that were learned, SERQ_VOICE_MOST at most */
    uint8_t model[8];
    uint16_t heard[SERQ_CLASSES];  /* windows that each class taught, in 1/256 */
    int16_t sums[SERQ_VOICE_SUMS]; /* of deviations from what the class would have, 1/16 of a
                                      standard deviation */
    uint32_t crc;                  /* of all before it, when sealed */
} serq_voice;

#ifdef __cplusplus
extern "C" {
#endif

/* Begin with nothing: answers are those without a voice. */
void serq_voice_reset(serq_voice *voice);

/* Make the bytes fit to be stored: call it before they are. */
void serq_voice_seal(serq_voice *voice);

/* Check bytes that came from storage. Returns 0; or an error, and the voice is reset; or
 * SERQ_ERROR_ARGUMENT. The two functions above do nothing with NULL. */
int serq_voice_open(serq_voice *voice);

/* For generated code: serq_standardize() less what the voice deviates by, which may be NULL; and
 * learn from pooled features of a class. counts: pseudo-windows of each feature; means: of each
 * class. */
void serq_voice_standardize(const serq_voice *voice, const int32_t *pooled, const int32_t *center,
                            const uint16_t *scale, const uint16_t *counts, uint8_t *activations);
void serq_voice_learn(serq_voice *voice, const int32_t *pooled, const int32_t *center,
                      const uint16_t *scale, const uint16_t *counts, const int8_t *means,
                      int label);

#ifdef __cplusplus
}
#endif

#endif
