/* An application's own code: writes down every call, in words that a test reads. */
#include "hooks.h"

#include <string.h>

static char line[96];

static void add(const char *text)
{
    strncat(line, text, sizeof line - strlen(line) - 1);
}

static void add_number(int value)
{
    char digits[12];
    char *end = digits + sizeof digits - 1;
    unsigned rest = value < 0 ? 0U - (unsigned)value : (unsigned)value;
    *end = '\0';
    do {
        *--end = (char)('0' + rest % 10U);
        rest /= 10U;
    } while (rest != 0);
    add(value < 0 ? " -" : " ");
    add(end);
}

static void finish(void)
{
    app_print(line);
    line[0] = '\0';
}

void on_start(void)
{
    app_print("started");
}

void on_decision(const app_decision *decision)
{
    add("decided ");
    add(decision->label);
    add(" | ");
    add(decision->steady_label);
    add(decision->changed ? " changed" : " kept");
    add_number(decision->answer);
    add_number(decision->steady);
    add_number(decision->decibels);
    add_number((int)decision->scores[0]);
    add_number((int)decision->margin);
    add_number(decision->confidence);
    finish();
}

void on_level(int decibels)
{
    add("level");
    add_number(decibels);
    finish();
}

void on_error(const char *what)
{
    add("error ");
    add(what);
    finish();
}
