/* A port from outside the package: the line is the emulator's console, and what is sent waits in a
 * buffer until it is full or the application reads. */
#include <string.h>

#include "port.h"

enum { OPEN = 0x01, WRITE = 0x05, READ = 0x06, EXIT = 0x20 };
enum { INPUT = 1, OUTPUT = 5, ROOM = 64 };

static uintptr_t console[2];
static uint8_t waiting[ROOM];
static size_t filled;

static uintptr_t host(uintptr_t operation, uintptr_t first, uintptr_t second, uintptr_t third)
{
    uintptr_t block[] = {first, second, third};
#if defined(__riscv)
    register uintptr_t result __asm__("a0") = operation;
    register uintptr_t *argument __asm__("a1") = block;
    __asm__ volatile(".balign 16\n .option push\n .option norvc\n slli x0, x0, 0x1f\n ebreak\n "
                     "srai x0, x0, 7\n .option pop"
                     : "+r"(result)
                     : "r"(argument)
                     : "memory");
#else
    register uintptr_t result __asm__("r0") = operation;
    register uintptr_t *argument __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(result) : "r"(argument) : "memory");
#endif
    return result;
}

static void flush(void)
{
    host(WRITE, console[1], (uintptr_t)waiting, filled);
    filled = 0;
}

size_t port_read(uint8_t *bytes, size_t capacity)
{
    uintptr_t left;

    flush();
    left = host(READ, console[0], (uintptr_t)bytes, capacity);
    return left < capacity ? capacity - left : 0;
}

size_t port_poll(uint8_t *bytes, size_t capacity)
{
    (void)bytes;
    (void)capacity;
    return 0;
}

void port_write(const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        size_t taken = count < ROOM - filled ? count : ROOM - filled;

        memcpy(waiting + filled, bytes, taken);
        filled += taken;
        bytes += taken;
        count -= taken;
        if (filled == ROOM) {
            flush();
        }
    }
}

uint32_t port_cycles(void)
{
    return 0;
}

int main(void)
{
    console[0] = host(OPEN, (uintptr_t) ":tt", INPUT, 3);
    console[1] = host(OPEN, (uintptr_t) ":tt", OUTPUT, 3);
    application_run();
    flush();
    host(EXIT, 0x20026, 0, 0);
    return 0;
}
