/* What the core at hand can do. Each answer may be given with -D instead, and SERQ_PORTABLE takes C
 * everywhere; results are the same. */
#ifndef SERQ_CORES_H
#define SERQ_CORES_H

/* Whether a 32 x 32 to 64 bit product is an instruction or two (1), or a library call to be avoided
 * (0). */
#ifndef SERQ_LONG_MULTIPLY
#if (defined(__arm__) && defined(__thumb__) && !defined(__thumb2__)) || \
    (defined(__riscv) && !defined(__riscv_mul)) || defined(__XTENSA_CALL0_ABI__)
#define SERQ_LONG_MULTIPLY 0 /* Cortex-M0 and M0+, RV32 without M, Xtensa LX106 */
#else
#define SERQ_LONG_MULTIPLY 1
#endif
#endif

#if defined(__GNUC__) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && \
    !defined(SERQ_PORTABLE)
#define SERQ_CORTEX_M 1
#else
#define SERQ_CORTEX_M 0
#endif

/* Cortex-M3 and larger. */
#if SERQ_CORTEX_M && defined(__thumb2__)
#define SERQ_THUMB2 1
#else
#define SERQ_THUMB2 0
#endif

/* Whether the intrinsics of the Arm DSP extension and the assembly of serq_thumb2.S serve:
 * Cortex-M4, M7, M33. */
#ifndef SERQ_DSP
#if SERQ_CORTEX_M && defined(__ARM_FEATURE_DSP) && !defined(__ARM_BIG_ENDIAN)
#define SERQ_DSP 1
#else
#define SERQ_DSP 0
#endif
#endif

/* Whether the vectors of integers of Cortex-M55 and M85 serve (Helium). */
#ifndef SERQ_HELIUM
#if SERQ_DSP && defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define SERQ_HELIUM 1
#else
#define SERQ_HELIUM 0
#endif
#endif

/* Whether a quotient of 32 bits is an instruction of a few cycles. */
#ifndef SERQ_DIVIDE
#if defined(__ARM_FEATURE_IDIV)
#define SERQ_DIVIDE 1
#else
#define SERQ_DIVIDE 0
#endif
#endif

/* Whether the assembly of serq_thumb1.S serves: Cortex-M0, M0+, M23. */
#ifndef SERQ_THUMB1
#if SERQ_CORTEX_M && !defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN)
#define SERQ_THUMB1 1
#else
#define SERQ_THUMB1 0
#endif
#endif

#endif
