/* A QEMU plugin: instructions executed in address ranges, given as range=FIRST-END (hexadecimal, END excluded), written to output=PATH, one count
 * a line in the order of the ranges. QEMU's plugin interface (version 1) is declared here, as its header is not installed with every QEMU. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation, void *counter, uint64_t value);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static struct {
    uint64_t first, end, count;
} ranges[64];
static size_t used;
static char path[4096];

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        for (size_t r = 0; r < used; r++) {
            if (address >= ranges[r].first && address < ranges[r].end) {
                qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &ranges[r].count, 1);
            }
        }
    }
}

static void finished(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    FILE *file = fopen(path, "w");
    for (size_t r = 0; file != NULL && r < used; r++) {
        fprintf(file, "%" PRIu64 "\n", ranges[r].count);
    }
    if (file != NULL) {
        fclose(file);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "output=", 7) == 0 && strlen(argv[i]) < sizeof path) {
            strcpy(path, argv[i] + 7);
        } else if (used == sizeof ranges / sizeof ranges[0] || sscanf(argv[i], "range=%" SCNx64 "-%" SCNx64, &ranges[used].first, &ranges[used].end) != 2) {
            return -1;
        } else {
            used++;
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
