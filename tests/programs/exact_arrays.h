/* For the test programs: arrays of exactly their size, so that a sanitizer sees the first access beyond one, to and from the host. */
#ifndef EXACT_ARRAYS_H
#define EXACT_ARRAYS_H

#include <stdio.h>
#include <stdlib.h>

static void *allocated[32]; /* all of them: reachable to the end, so none is a leak */
static size_t allocations;

/* Room for `count` values. */
static void *room(size_t count, size_t size)
{
    void *values = malloc(count * size + (count == 0));
    if (values == NULL || allocations == sizeof allocated / sizeof *allocated) {
        exit(2);
    }
    return allocated[allocations++] = values;
}

/* `count` values of standard input. */
static void *take(size_t count, size_t size)
{
    void *values = room(count, size);
    if (fread(values, size, count, stdin) != count) {
        exit(2);
    }
    return values;
}

/* Gives back all that was taken, for the next case. */
static inline void release(void)
{
    while (allocations > 0) {
        free(allocated[--allocations]);
    }
}

/* Whether standard input has another case. */
static inline int more(void)
{
    int next = getc(stdin);
    return next != EOF && ungetc(next, stdin) != EOF;
}

/* `count` values to standard output. */
static void give(const void *values, size_t count, size_t size)
{
    if (fwrite(values, size, count, stdout) != count) {
        exit(2);
    }
}

#endif
