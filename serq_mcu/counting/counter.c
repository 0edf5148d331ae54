/* QEMU plugin: counts what each call of chosen functions executes, their callees included.
 *
 * Arguments: table=FILE, out=FILE. Lines of the table (addresses in hexadecimal, sorted by their first address within each kind):
 *     F start end id call    a function; call 1: each entry begins a record of its own, call 0: all its work is one record
 *     I address next base taken   the instruction after it, its cycles, and those of a jump elsewhere; without such lines 1 and 0
 *     S end                  stores at and above this address go to the stack
 * Functions that the table does not name count for the one that called them. Lines of the output: "id instructions cycles" for each
 * record (id 0: before the first), then "stack LOWEST", the lowest address stored to on the stack.
 *
 * The plugin interface (API version 1, QEMU 4.2 and later) is declared here, as distributions do not ship its header. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, WRITES = 2 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*translate)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*execute)(unsigned, void *), int flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, void (*access)(unsigned, qemu_plugin_meminfo_t, uint64_t, void *), int flags,
                                      int kind, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*end)(qemu_plugin_id_t, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

typedef struct {
    uint64_t start, end;
    unsigned id, call;
} function;

typedef struct {
    uint64_t address, next, base, taken;
} cost;

typedef struct {
    uint64_t address, next, base, taken;
    const function *function; /* NULL: not named */
} instruction;

enum { MOST_FUNCTIONS = 1000, MOST_IDS = 1000 };

static function functions[MOST_FUNCTIONS];
static size_t function_count;
static cost *costs;
static size_t cost_count;
static uint64_t stack_end, stack_lowest = UINT64_MAX;
static FILE *out;

static struct {
    uint64_t instructions, cycles;
} merged[MOST_IDS], record;
static unsigned current; /* id */
static bool in_call;
static const instruction *last;

static void close_record(void)
{
    if (in_call) {
        fprintf(out, "%u %" PRIu64 " %" PRIu64 "\n", current, record.instructions, record.cycles);
    } else {
        merged[current].instructions += record.instructions;
        merged[current].cycles += record.cycles;
    }
    record.instructions = record.cycles = 0;
}

static void execute(unsigned cpu, void *data)
{
    const instruction *now = data;
    (void)cpu;
    if (last != NULL && last->next != now->address) {
        record.cycles += last->taken;
    }
    last = now;
    if (now->function != NULL && (now->function->id != current || (now->function->call && now->function->start == now->address))) {
        close_record();
        current = now->function->id;
        in_call = now->function->call;
    }
    record.instructions++;
    record.cycles += now->base;
}

static void store(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)cpu, (void)info, (void)data;
    if (address >= stack_end && address < stack_lowest) {
        stack_lowest = address;
    }
}

static int by_address(const void *key, const void *element)
{
    uint64_t address = *(const uint64_t *)key, other = ((const cost *)element)->address;
    return address < other ? -1 : address > other;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        instruction *made = calloc(1, sizeof *made); /* QEMU may run it as long as it lives */
        if (made == NULL) {
            abort();
        }
        made->address = qemu_plugin_insn_vaddr(insn);
        for (size_t f = 0; f < function_count; f++) {
            if (made->address >= functions[f].start && made->address < functions[f].end) {
                made->function = &functions[f];
            }
        }
        const cost *found = bsearch(&made->address, costs, cost_count, sizeof *costs, by_address);
        made->next = found != NULL ? found->next : 0;
        made->base = found != NULL ? found->base : 1;
        made->taken = found != NULL ? found->taken : 0;
        qemu_plugin_register_vcpu_insn_exec_cb(insn, execute, NO_REGISTERS, made);
        qemu_plugin_register_vcpu_mem_cb(insn, store, NO_REGISTERS, WRITES, NULL);
    }
}

static void end(qemu_plugin_id_t id, void *data)
{
    (void)id, (void)data;
    close_record();
    for (unsigned i = 0; i < MOST_IDS; i++) {
        if (merged[i].instructions > 0) {
            fprintf(out, "%u %" PRIu64 " %" PRIu64 "\n", i, merged[i].instructions, merged[i].cycles);
        }
    }
    fprintf(out, "stack %" PRIx64 "\n", stack_lowest);
    fclose(out);
}

static bool read_table(FILE *file)
{
    char line[200];
    while (fgets(line, sizeof line, file) != NULL) {
        function f;
        cost c;
        if (sscanf(line, "F %" SCNx64 " %" SCNx64 " %u %u", &f.start, &f.end, &f.id, &f.call) == 4) {
            if (function_count == MOST_FUNCTIONS || f.id >= MOST_IDS) {
                return false;
            }
            functions[function_count++] = f;
        } else if (sscanf(line, "I %" SCNx64 " %" SCNx64 " %" SCNu64 " %" SCNu64, &c.address, &c.next, &c.base, &c.taken) == 4) {
            if (cost_count % 4096 == 0 && (costs = realloc(costs, (cost_count + 4096) * sizeof *costs)) == NULL) {
                return false;
            }
            costs[cost_count++] = c;
        } else if (sscanf(line, "S %" SCNx64, &stack_end) != 1) {
            return false;
        }
    }
    return true;
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    FILE *table = NULL;
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "table=", 6) == 0) {
            table = fopen(argv[i] + 6, "r");
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            out = fopen(argv[i] + 4, "w");
        }
    }
    if (table == NULL || out == NULL || !read_table(table)) {
        fprintf(stderr, "counter: cannot use its table or output\n");
        return 1;
    }
    fclose(table);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, end, NULL);
    return 0;
}
