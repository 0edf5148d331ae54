/* Lines of text on standard input to what they ask for: of each byte that ends something a line, the
 * command, what is learned from and the windows of the voice. */
#include <stdio.h>

#include "commands.h"

int main(void)
{
    static commands state;
    int byte;
    commands_init(&state);
    while ((byte = getchar()) != EOF) {
        command asked = commands_take(&state, (uint8_t)byte);
        if (asked == COMMAND_SHOW) {
            const uint8_t *bytes = (const uint8_t *)&state.voice;
            for (size_t i = 0; i < sizeof state.voice; i++) {
                printf("%02x", bytes[i]);
            }
            printf("\n");
        } else if (asked != COMMAND_NONE) {
            printf("%d %d %d\n", (int)asked, state.learns, state.voice.windows);
        }
    }
    return 0;
}
