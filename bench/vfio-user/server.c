/*
 * A vfio-user server of the least work that a real one must do, for the benchmarks to hold others against.
 *
 *     server SOCKET
 *
 * Serves an empty PCI function to one client at a time. A DMA_MAP's descriptor is taken out of the message, its file is
 * recognised by fstat and mapped once as a whole, the descriptor is closed, the range goes into an ordered ledger that
 * finds overlaps, and the answer is sent. Guest memory itself is never touched.
 *
 * Messages are read as many at a time as the socket hands out, and answers leave together when nothing more is there to
 * read: a server that reads and answers each message by itself has more system calls for each.
 *
 * Prints {"listening":PATH}, and one line of JSON for each line of standard input:
 *
 *     stats     what was counted since the last reset, the time between first and last DMA_MAP, processor time
 *     reset     the same, and counts anew
 *     ledger    what is mapped, ascending
 *
 * At the end of standard input the statistics are printed once more, the socket is removed, and the program ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { VERSION = 1, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS, REGION_READ,
       REGION_WRITE, DEVICE_RESET = 13 };
enum { TYPE = 0xf, REPLY = 1, NO_REPLY = 1 << 4, ERROR = 1 << 5 };
enum { REGIONS = 9, CONFIG_REGION = 7, IRQS = 5, CONFIG_BYTES = 256, MAX_FDS = 16, MAX_FILES = 64 };
enum { READS = 64, READ_BYTES = 4096, IN_BYTES = 1 << 18, OUT_BYTES = 1 << 16, ANSWER_BYTES = 4096, MAX_MAPS = 65535 };

struct header {
    uint16_t id, command;
    uint32_t size, flags, error;
};

struct dma {
    uint32_t argsz, flags;
    uint64_t offset, address, size;
};

struct file {
    dev_t device;
    ino_t inode;
    uint64_t size;
    void *memory;
    unsigned mappings;
};

struct mapping {
    uint64_t start, last, offset; /* last is inclusive */
    uint32_t flags;
    struct file *file;
};

static const char VERSION_JSON[] =
    "{\"capabilities\":{\"max_msg_fds\":16,\"max_dma_maps\":65535,\"max_data_xfer_size\":1048576,\"pgsizes\":4096}}";

static uint8_t in[IN_BYTES], out[OUT_BYTES];
static size_t in_bytes, out_bytes;
static int fds[MAX_FDS];
static unsigned fd_count;
static size_t fds_at; /* where the message begins that the descriptors belong to */
static uint8_t config[CONFIG_BYTES];
static struct file files[MAX_FILES];
static int connection = -1;
static void *ledger;
static unsigned held;
static struct { uint64_t messages, maps, unmaps, refused, bytes, first_map, last_map, cpu; } counted;

static uint64_t now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Ranges that overlap are equal: so a search finds what is in the way, and an insertion fails when something is. */
static int compare(const void *a, const void *b)
{
    const struct mapping *x = a, *y = b;
    return x->last < y->start ? -1 : x->start > y->last ? 1 : 0;
}

static struct file *recognise(int fd)
{
    struct stat status;
    struct file *free_slot = NULL;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return NULL;
    for (struct file *file = files; file < files + MAX_FILES; file++) {
        if (file->mappings == 0) {
            if (free_slot == NULL) free_slot = file;
        } else if (file->inode == status.st_ino && file->device == status.st_dev) {
            if ((uint64_t)status.st_size < file->size) return NULL; /* truncated: the mapping would fault */
            return file;
        }
    }
    if (free_slot == NULL || status.st_size == 0) return NULL;
    void *memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return NULL;
    *free_slot = (struct file){ status.st_dev, status.st_ino, (uint64_t)status.st_size, memory, 0 };
    return free_slot;
}

static void let_go(struct file *file)
{
    if (file != NULL && file->mappings == 0 && file->memory != NULL) {
        munmap(file->memory, file->size);
        file->memory = NULL;
    }
}

static int map(const uint8_t *payload, size_t bytes)
{
    struct dma dma;
    if (bytes < sizeof dma) return EINVAL;
    memcpy(&dma, payload, sizeof dma);
    const uint64_t last = dma.address + (dma.size - 1);
    if (dma.argsz < sizeof dma || (dma.flags & ~3u) || dma.size == 0 || last < dma.address) return EINVAL;
    if ((dma.address | dma.size | dma.offset) & 0xfff) return EINVAL;
    if (held >= MAX_MAPS) return ENOSPC;
    struct file *file = NULL;
    if (fd_count > 0) {
        file = recognise(fds[0]);
        if (file == NULL) return EINVAL;
        if (dma.offset > file->size || dma.size > file->size - dma.offset) {
            let_go(file);
            return EINVAL;
        }
    }
    struct mapping *mapping = malloc(sizeof *mapping);
    if (mapping == NULL) abort();
    *mapping = (struct mapping){ dma.address, last, dma.offset, dma.flags, file };
    struct mapping **found = tsearch(mapping, &ledger, compare);
    if (found == NULL) abort();
    if (*found != mapping) {
        free(mapping);
        let_go(file);
        return EEXIST;
    }
    if (file != NULL) file->mappings++;
    held++;
    counted.maps++;
    counted.bytes += dma.size;
    counted.last_map = now(CLOCK_MONOTONIC);
    if (counted.first_map == 0) counted.first_map = counted.last_map;
    return 0;
}

static void forget(struct mapping *mapping)
{
    tdelete(mapping, &ledger, compare);
    if (mapping->file != NULL) {
        mapping->file->mappings--;
        let_go(mapping->file);
    }
    free(mapping);
    held--;
}

static bool overlaps_edge(uint64_t page, const struct mapping *range)
{
    const struct mapping key = { .start = page, .last = page };
    struct mapping **found = tfind(&key, &ledger, compare);
    return found != NULL && ((*found)->start < range->start || (*found)->last > range->last);
}

/* Type1 semantics: all mappings within the range go, none is bisected. */
static int unmap(const uint8_t *payload, size_t bytes)
{
    struct { uint32_t argsz, flags; uint64_t address, size; } dma;
    if (bytes < sizeof dma) return EINVAL;
    memcpy(&dma, payload, sizeof dma);
    struct mapping range = { .start = 0, .last = UINT64_MAX };
    if (dma.flags & ~2u) return EINVAL;
    if (!(dma.flags & 2)) {
        range.start = dma.address;
        range.last = dma.address + (dma.size - 1);
        if (dma.size == 0 || range.last < range.start) return EINVAL;
        if (overlaps_edge(range.start, &range) || overlaps_edge(range.last, &range)) return EINVAL;
    }
    for (struct mapping **found; (found = tfind(&range, &ledger, compare)) != NULL;) forget(*found);
    counted.unmaps++;
    return 0;
}

/* Carries out a command; the answer's payload is written to `answer`. An errno, or 0. */
static int serve(unsigned command, const uint8_t *payload, size_t bytes, uint8_t *answer, size_t *answer_bytes)
{
    uint32_t words[8] = { 0 };
    memcpy(words, payload, bytes < sizeof words ? bytes : sizeof words);
    switch (command) {
    case VERSION:
        memset(answer, 0, 4);
        memcpy(answer + 4, VERSION_JSON, sizeof VERSION_JSON);
        *answer_bytes = 4 + sizeof VERSION_JSON;
        return 0;
    case DMA_MAP:
        return map(payload, bytes);
    case DMA_UNMAP:
        memcpy(answer, words, *answer_bytes = 24);
        return unmap(payload, bytes);
    case GET_INFO:
        memcpy(answer, (uint32_t[]){ 16, 3, REGIONS, IRQS }, *answer_bytes = 16);
        return 0;
    case GET_REGION_INFO: {
        const bool is_config = words[2] == CONFIG_REGION;
        if (words[2] >= REGIONS) return EINVAL;
        memcpy(answer, (uint32_t[]){ 32, is_config ? 3 : 0, words[2], 0, is_config ? CONFIG_BYTES : 0, 0, 0, 0 },
               *answer_bytes = 32);
        return 0;
    }
    case GET_IRQ_INFO:
        if (words[2] >= IRQS) return EINVAL;
        memcpy(answer, (uint32_t[]){ 16, 1, words[2], 0 }, *answer_bytes = 16);
        return 0;
    case REGION_READ:
    case REGION_WRITE: {
        const uint32_t offset = words[0], count = words[3];
        if (words[1] != 0 || words[2] != CONFIG_REGION || offset > CONFIG_BYTES || count > CONFIG_BYTES - offset)
            return EINVAL;
        memcpy(answer, words, *answer_bytes = 16);
        if (command == REGION_READ) {
            memcpy(answer + 16, config + offset, count);
            *answer_bytes += count;
        } else if (bytes != 16 + count) {
            return EINVAL;
        } else if (offset == 4) {
            memcpy(config + offset, payload + 16, count < 2 ? count : 2); /* the command register */
        }
        return 0;
    }
    case SET_IRQS:
    case DEVICE_RESET:
        return 0;
    default:
        return EOPNOTSUPP;
    }
}

static bool flush(void)
{
    for (size_t sent = 0; sent < out_bytes;) {
        const ssize_t n = send(connection, out + sent, out_bytes - sent, MSG_NOSIGNAL);
        if (n < 0) return false;
        sent += (size_t)n;
    }
    out_bytes = 0;
    return true;
}

static void close_descriptors(void)
{
    while (fd_count > 0) close(fds[--fd_count]);
}

/* Serves every whole message that was read and keeps what remains. */
static bool serve_read(void)
{
    size_t at = 0;
    struct header header;
    while (in_bytes - at >= sizeof header) {
        memcpy(&header, in + at, sizeof header);
        if (header.size < sizeof header || header.size > IN_BYTES || (header.flags & TYPE) != 0) return false;
        if (in_bytes - at < header.size) break;
        if (out_bytes + ANSWER_BYTES > OUT_BYTES && !flush()) return false;
        /* Descriptors are hidden from messages before theirs. */
        const unsigned waiting = fd_count;
        if (at != fds_at) fd_count = 0;
        size_t answer_bytes = 0;
        const int error = serve(header.command, in + at + sizeof header, header.size - sizeof header,
                                out + out_bytes + sizeof header, &answer_bytes);
        if (at == fds_at) close_descriptors();
        else fd_count = waiting;
        counted.messages++;
        if (error != 0) counted.refused++;
        at += header.size;
        if (header.flags & NO_REPLY) continue;
        if (error != 0) answer_bytes = 0;
        header.size = (uint32_t)(sizeof header + answer_bytes);
        header.flags = REPLY | (error != 0 ? ERROR : 0);
        header.error = (uint32_t)error;
        memcpy(out + out_bytes, &header, sizeof header);
        out_bytes += header.size;
    }
    memmove(in, in + at, in_bytes - at);
    in_bytes -= at;
    fds_at -= at;
    return true;
}

/* Where the last message begins that begins in what was read: descriptors that came with it are that message's. */
static size_t last_message(void)
{
    size_t at = 0;
    for (struct header header; in_bytes - at >= sizeof header; at += header.size) {
        memcpy(&header, in + at, sizeof header);
        if (header.size < sizeof header || header.size >= in_bytes - at) break;
    }
    return at;
}

/*
 * Reads and serves until nothing more is there; false when the connection is over. The kernel ends a read behind the
 * bytes that brought descriptors, so only recvmmsg takes more than one such message with a system call.
 */
static bool converse(void)
{
    static uint8_t data[READS][READ_BYTES];
    static union { struct cmsghdr header; uint8_t bytes[CMSG_SPACE(sizeof fds)]; } control[READS];
    static struct iovec places[READS];
    static struct mmsghdr reads[READS];
    for (;;) {
        for (unsigned i = 0; i < READS; i++) {
            places[i] = (struct iovec){ data[i], READ_BYTES };
            reads[i].msg_hdr = (struct msghdr){ .msg_iov = &places[i], .msg_iovlen = 1, .msg_control = &control[i],
                                                .msg_controllen = sizeof control[i] };
        }
        const int count = recvmmsg(connection, reads, READS, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
        if (count < 0) return (errno == EAGAIN || errno == EINTR) && flush();
        bool open = true;
        for (int i = 0; i < count; i++) {
            struct cmsghdr *first = CMSG_FIRSTHDR(&reads[i].msg_hdr);
            const bool rights = first != NULL && first->cmsg_type == SCM_RIGHTS;
            if (rights) {
                close_descriptors();
                fd_count = (unsigned)((first->cmsg_len - CMSG_LEN(0)) / sizeof(int));
                memcpy(fds, CMSG_DATA(first), fd_count * sizeof(int));
            }
            if (!open) continue;
            open = reads[i].msg_len > 0 && reads[i].msg_len <= IN_BYTES - in_bytes;
            if (!open) continue;
            memcpy(in + in_bytes, data[i], reads[i].msg_len);
            in_bytes += reads[i].msg_len;
            if (rights) fds_at = last_message();
            open = serve_read();
        }
        if (!open) return false;
        if (count < READS) return flush();
    }
}

static void disconnect(void)
{
    close(connection);
    connection = -1;
    close_descriptors();
    in_bytes = out_bytes = 0;
    while (ledger != NULL) forget(*(struct mapping **)ledger);
}

static void print_statistics(void)
{
    printf("{\"messages\":%" PRIu64 ",\"maps\":%" PRIu64 ",\"unmaps\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"held\":%u,\"connected\":%s,\"firstToLastMapNs\":%" PRIu64 ",\"cpuNs\":%" PRIu64 "}\n",
           counted.messages, counted.maps, counted.unmaps, counted.refused, counted.bytes, held,
           connection < 0 ? "false" : "true", counted.last_map - counted.first_map, now(CLOCK_PROCESS_CPUTIME_ID) - counted.cpu);
    fflush(stdout);
}

static bool first_printed;

static void print_mapping(const void *node, VISIT visit, int depth)
{
    (void)depth;
    static const char *const permissions[] = { "", "r", "w", "rw" };
    if (visit != postorder && visit != leaf) return;
    const struct mapping *mapping = *(struct mapping *const *)node;
    printf("%s{\"iova\":\"0x%" PRIx64 "\",\"size\":%" PRIu64 ",\"offset\":\"0x%" PRIx64 "\",\"perm\":\"%s\"}",
           first_printed ? "," : "", mapping->start, mapping->last - mapping->start + 1, mapping->offset,
           permissions[mapping->flags]);
    first_printed = true;
}

/* One line of standard input; false at its end. */
static bool obey(void)
{
    char line[64];
    if (fgets(line, sizeof line, stdin) == NULL) return false;
    if (strcmp(line, "ledger\n") == 0) {
        first_printed = false;
        printf("{\"ledger\":[");
        twalk(ledger, print_mapping);
        printf("]}\n");
        fflush(stdout);
        return true;
    }
    print_statistics();
    if (strcmp(line, "reset\n") == 0) {
        memset(&counted, 0, sizeof counted);
        counted.cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    }
    return true;
}

static void initialise_config(void)
{
    static const uint8_t start[16] = { 0x34, 0x12, 0x00, 0x10, 0, 0, 0, 0, 1, 0, 0, 0xff };
    memcpy(config, start, sizeof start);
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: server SOCKET\n");
        return 2;
    }
    strcpy(address.sun_path, argv[1]);
    initialise_config();
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0) {
        perror(argv[1]);
        return 1;
    }
    setvbuf(stdin, NULL, _IONBF, 0); /* poll sees what is not read yet */
    printf("{\"listening\":\"%s\"}\n", argv[1]);
    fflush(stdout);
    for (;;) {
        struct pollfd waiting[] = { { STDIN_FILENO, POLLIN, 0 }, { connection < 0 ? listener : connection, POLLIN, 0 } };
        if (poll(waiting, 2, -1) < 0) continue;
        if (waiting[1].revents != 0) {
            if (connection < 0) connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            else if (!converse()) disconnect();
        }
        if (waiting[0].revents != 0 && !obey()) break;
    }
    print_statistics();
    unlink(argv[1]);
    return 0;
}
