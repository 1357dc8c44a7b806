/*
 * The C floor of the benchmarks: what a VMM written in C pays for the same work on the same tables.
 *
 *     floor scan IMAGE        visits every leaf through a function pointer
 *     floor translate IMAGE   translates pages in no order
 *
 * IMAGE is laid out as table-image.ts says. For each number N read from standard input the work is done N times over and
 * one line of JSON is printed: elapsed and processor time in ns, units handled, and what one time over yielded.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define DEVFN 8
#define HAW 48
#define LOOKUPS 16384
#define PAGE 4096ull
#define P 1ull
#define READ 1u
#define PS (1ull << 7)
#define SNP (1ull << 11)
#define TM (1ull << 62)
#define ADDRESS 0x000ffffffffff000ull
#define ABOVE_HAW (ADDRESS & ~((1ull << HAW) - 1))

/* Reserved bits by level (VT-d 9.8), of a unit that has 2 MiB and 1 GiB pages and no snoop control. */
static const uint64_t leaf_reserved[6] = {
    0,
    SNP | TM | ABOVE_HAW,
    SNP | TM | ABOVE_HAW | 0x00000000001ff000ull,
    SNP | TM | ABOVE_HAW | 0x000000003ffff000ull,
    ~0ull,
    ~0ull,
};
static const uint64_t table_reserved = SNP | PS | TM | ABOVE_HAW;
static const uint64_t root_reserved = 0xffeull | ~((1ull << HAW) - 1);
static const uint64_t context_reserved = 0xff0ull | ~((1ull << HAW) - 1);
static const uint64_t context_reserved_hi = ~0xffff7full;

static const uint8_t *ram;
static uint64_t ram_bytes;
static uint64_t root_table, first_iova, leaves;

static const uint64_t *table_at(uint64_t address)
{
    return address + PAGE <= ram_bytes ? (const uint64_t *)(ram + address) : NULL;
}

/* The second-stage tables of the requester: address of the top one, and levels; 0 on a fault. */
static int lookup_request(uint64_t *top)
{
    const uint64_t *root = table_at(root_table);
    if (root == NULL || !(root[0] & P) || (root[0] & root_reserved) || root[1] != 0) return 0;
    const uint64_t *context = table_at(root[0] & ~0xfffull);
    if (context == NULL) return 0;
    const uint64_t lo = context[DEVFN * 2], hi = context[DEVFN * 2 + 1];
    if (!(lo & P) || (lo & context_reserved) || (hi & context_reserved_hi) || (lo >> 2 & 3) != 0) return 0;
    *top = lo & ~0xfffull;
    const int levels = (int)(hi & 7) + 2;
    return levels >= 3 && levels <= 5 ? levels : 0;
}

typedef bool visitor(void *opaque, uint64_t iova, uint64_t bytes, uint64_t target, unsigned access);

struct walk {
    uint64_t start, end;
    visitor *visit;
    void *opaque;
    uint64_t faults;
};

static bool walk_table(struct walk *walk, int level, uint64_t table, uint64_t base, unsigned allowed)
{
    const uint64_t *entries = table_at(table);
    if (entries == NULL) {
        walk->faults++;
        return true;
    }
    const int shift = 12 + 9 * (level - 1);
    const uint64_t span = 1ull << shift;
    uint64_t i = base < walk->start ? (walk->start - base) >> shift : 0;
    for (uint64_t iova = base + (i << shift); i < 512 && iova < walk->end; i++, iova += span) {
        const uint64_t entry = entries[i];
        unsigned access = entry & 3;
        if (access == 0) continue;
        const bool leaf = level == 1 || (level <= 3 && (entry & PS));
        if (entry & (leaf ? leaf_reserved[level] : table_reserved)) {
            walk->faults++;
            continue;
        }
        access &= allowed;
        if (access == 0) continue;
        if (leaf) {
            if (!walk->visit(walk->opaque, iova, span, entry & ADDRESS, access)) return false;
        } else if (!walk_table(walk, level - 1, entry & ADDRESS, iova, access)) {
            return false;
        }
    }
    return true;
}

struct sums {
    uint64_t leaves, iova, target, access;
};

static bool sum_leaf(void *opaque, uint64_t iova, uint64_t bytes, uint64_t target, unsigned access)
{
    (void)bytes;
    struct sums *sums = opaque;
    sums->leaves++;
    sums->iova += iova;
    sums->target += target;
    sums->access += access;
    return true;
}

/* Volatile, so that the compiler cannot know whom it calls: a walk does not know its visitors. */
static visitor *volatile chosen = sum_leaf;

static uint64_t scan(char *check, size_t room)
{
    struct sums sums = {0};
    struct walk walk = {.start = 0, .end = 1ull << 48, .visit = chosen, .opaque = &sums};
    uint64_t top = 0;
    const int levels = lookup_request(&top);
    if (levels != 0) walk_table(&walk, levels, top, 0, 3);
    snprintf(check, room, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, sums.leaves, sums.iova >> 12,
             sums.target >> 12, sums.access);
    return sums.leaves;
}

struct translated {
    uint64_t iova, bytes, target;
    unsigned access;
};

__attribute__((noinline)) static bool translate(uint64_t address, unsigned wanted, struct translated *out)
{
    uint64_t table = 0;
    int level = lookup_request(&table);
    unsigned access = 3;
    if (level == 0 || address >> (12 + 9 * level) != 0) return false;
    for (;; level--) {
        const uint64_t *entries = table_at(table);
        if (entries == NULL) return false;
        const int shift = 12 + 9 * (level - 1);
        const uint64_t entry = entries[address >> shift & 511];
        access &= entry & 3;
        if (access == 0) return false;
        const bool leaf = level == 1 || (level <= 3 && (entry & PS));
        if (entry & (leaf ? leaf_reserved[level] : table_reserved)) return false;
        table = entry & ADDRESS;
        if (!leaf) continue;
        const uint64_t span = 1ull << shift;
        *out = (struct translated){address & ~(span - 1), span, table, access};
        return (access & wanted) == wanted;
    }
}

static uint64_t translate_many(char *check, size_t room)
{
    const int shift = 32 - __builtin_ctzll(leaves);
    uint32_t state = 1;
    uint64_t sum = 0;
    for (int i = 0; i < LOOKUPS; i++) {
        state = state * 1664525u + 1013904223u;
        const uint64_t address = first_iova + ((uint64_t)(state >> shift) << 12);
        struct translated found;
        if (translate(address, READ, &found)) sum += (found.target + (address - found.iova)) >> 12;
    }
    snprintf(check, room, "%" PRIu64, sum);
    return LOOKUPS;
}

static uint64_t now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
    const int file = argc == 3 ? open(argv[2], O_RDONLY) : -1;
    struct stat stat;
    if (file < 0 || fstat(file, &stat) != 0) return 2;
    ram_bytes = (uint64_t)stat.st_size;
    ram = mmap(NULL, ram_bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (ram == MAP_FAILED) return 2;
    const uint32_t *header = (const uint32_t *)ram;
    root_table = header[0] * PAGE;
    first_iova = header[2] * PAGE;
    leaves = header[3];
    uint64_t (*work)(char *, size_t) = strcmp(argv[1], "scan") == 0 ? scan : translate_many;

    unsigned times;
    while (scanf("%u", &times) == 1) {
        char check[128] = "";
        uint64_t units = 0;
        const uint64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        for (unsigned i = 0; i < times; i++) units += work(check, sizeof check);
        printf("{\"wall\":%" PRIu64 ",\"cpu\":%" PRIu64 ",\"units\":%" PRIu64 ",\"check\":\"%s\"}\n",
               now(CLOCK_MONOTONIC) - wall, now(CLOCK_PROCESS_CPUTIME_ID) - cpu, units, check);
        fflush(stdout);
    }
    return 0;
}
