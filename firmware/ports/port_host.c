/* A process of the host (POSIX): standard input and output are the line. */
#include <unistd.h>

#include "port.h"

size_t port_read(uint8_t *bytes, size_t capacity)
{
    ssize_t count = read(STDIN_FILENO, bytes, capacity);
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
        ssize_t sent = write(STDOUT_FILENO, bytes, count);
        if (sent <= 0) {
            _exit(1); /* nobody listens any more */
        }
        bytes += sent;
        count -= (size_t)sent;
    }
}

uint32_t port_cycles(void)
{
    return 0;
}

int main(void)
{
    application_run();
    return 0;
}
