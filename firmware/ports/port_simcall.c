/* Xtensa cores in QEMU's sim machine: the line is QEMU's own standard input and output, reached by
 * the simcall instruction (operation in a2, arguments in a3 to a5; result in a2). */
#include "port.h"

enum { SYS_EXIT = 1, SYS_READ = 3, SYS_WRITE = 4 };
enum { STANDARD_INPUT = 0, STANDARD_OUTPUT = 1 };
enum { EXIT_END_OF_INPUT = 0, EXIT_LINE_BROKEN = 1 };

static int32_t simcall(int32_t operation, int32_t first, int32_t second, int32_t third)
{
    register int32_t a2 __asm__("a2") = operation;
    register int32_t a3 __asm__("a3") = first;
    register int32_t a4 __asm__("a4") = second;
    register int32_t a5 __asm__("a5") = third;
    __asm__ volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5) : "memory");
    return a2;
}

static void leave(int32_t code)
{
    simcall(SYS_EXIT, code, 0, 0);
    for (;;) {
    }
}

size_t port_read(uint8_t *bytes, size_t capacity)
{
    int32_t count = simcall(SYS_READ, STANDARD_INPUT, (int32_t)bytes, (int32_t)capacity);
    return count > 0 ? (size_t)count : 0;
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
        int32_t sent = simcall(SYS_WRITE, STANDARD_OUTPUT, (int32_t)bytes, (int32_t)count);
        if (sent <= 0) {
            leave(EXIT_LINE_BROKEN);
        }
        bytes += sent;
        count -= (size_t)sent;
    }
}

uint32_t port_cycles(void)
{
    return 0; /* instructions are emulated, time is not */
}

int main(void)
{
    application_run();
    leave(EXIT_END_OF_INPUT);
    return 0;
}
