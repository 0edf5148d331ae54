/* Arm and RISC-V cores in an emulator: the line is the emulator's own standard input and output,
 * reached by semihosting calls (Arm, "Semihosting for AArch32 and AArch64"; RISC-V International,
 * "RISC-V Semihosting"). */
#include "port.h"

enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { OPEN_READ_BINARY = 1, OPEN_WRITE_BINARY = 5 };
enum { EXIT_END_OF_INPUT = 0, EXIT_LINE_BROKEN = 1, EXIT_FAULT = 70 };

static uintptr_t input, output;

/* Every operation used here takes a block of words and returns a word. */
static uintptr_t semihosting(uintptr_t operation, const uintptr_t *block)
{
#if defined(__riscv)
    register uintptr_t result __asm__("a0") = operation;
    register const uintptr_t *argument __asm__("a1") = block;
    /* The three instructions are the call: uncompressed, and within one page. The alignment comes
     * first: of compressed code, it may need 2 bytes that no uncompressed instruction fills. */
    __asm__ volatile(".balign 16\n .option push\n .option norvc\n slli x0, x0, 0x1f\n ebreak\n "
                     "srai x0, x0, 7\n .option pop"
                     : "+r"(result)
                     : "r"(argument)
                     : "memory");
#else
    register uintptr_t result __asm__("r0") = operation;
    register const uintptr_t *argument __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(result) : "r"(argument) : "memory");
#endif
    return result;
}

static uintptr_t open_line(uintptr_t mode)
{
    static const char line[] = ":tt";
    const uintptr_t block[] = {(uintptr_t)line, mode, sizeof(line) - 1};
    return semihosting(SYS_OPEN, block);
}

static void leave(uintptr_t code)
{
    const uintptr_t application_exit = 0x20026;
    const uintptr_t block[] = {application_exit, code};
    semihosting(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

size_t port_read(uint8_t *bytes, size_t capacity)
{
    const uintptr_t block[] = {input, (uintptr_t)bytes, capacity};
    /* bytes not read, all of them at the end, or an error beyond */
    uintptr_t left = semihosting(SYS_READ, block);
    return left < capacity ? capacity - left : 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): as port.h declares it */
size_t port_poll(uint8_t *bytes, size_t capacity)
{
    (void)bytes;
    (void)capacity;
    return 0; /* the line is the microphone */
}

void port_write(const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        const uintptr_t block[] = {output, (uintptr_t)bytes, count};
        uintptr_t left = semihosting(SYS_WRITE, block);
        if (left >= count) {
            leave(EXIT_LINE_BROKEN);
        }
        bytes += count - left;
        count = left;
    }
}

uint32_t port_cycles(void)
{
    return 0; /* instructions are emulated, time is not */
}

/* A fault ends the run, where the C library's default would wait for ever. */
#if defined(__riscv)
static void __attribute__((aligned(4))) fault(void)
{
    leave(EXIT_FAULT);
}

static void catch_faults(void)
{
    __asm__ volatile(".option push\n .option arch, +zicsr\n csrw mtvec, %0\n .option pop"
                     :
                     : "r"(fault));
}
#else
void arm_hardfault_isr(void);

void arm_hardfault_isr(void)
{
    leave(EXIT_FAULT);
}

static void catch_faults(void)
{
}
#endif

int main(void)
{
    catch_faults();
    input = open_line(OPEN_READ_BINARY);
    output = open_line(OPEN_WRITE_BINARY);
    application_run();
    leave(EXIT_END_OF_INPUT);
    return 0;
}
