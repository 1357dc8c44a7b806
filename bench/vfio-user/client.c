/*
 * A vfio-user client of the least work that any client must do: it sends mappings, a descriptor with each, as many as it
 * can with one system call, and reads the answers. What it takes is what the kernel and the server take.
 *
 *     client SOCKET COUNT
 *
 * The mappings are those of layout.ts. Prints {"ns":N}: elapsed time from the first mapping sent to the last answer; then
 * waits for the end of standard input, so that the server can be asked what it holds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { VERSION = 1, DMA_MAP = 2, ERROR = 1 << 5 };
enum { BATCH = 64, AHEAD = 4096, HEADER_BYTES = 16 };
enum { FIRST_IOVA = 0x1000, DATA_START = 0x1000, DATA_PAGES = 0x60000 };

struct header {
    uint16_t id, command;
    uint32_t size, flags, error;
};

struct dma_map {
    struct header header;
    uint32_t argsz, flags;
    uint64_t offset, address, size;
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void agree_on_version(int connection)
{
    static const char json[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576}}";
    uint8_t message[4096];
    const struct header header = { .command = VERSION, .size = HEADER_BYTES + 4 + sizeof json };
    memcpy(message, &header, sizeof header);
    memset(message + HEADER_BYTES, 0, 4);
    memcpy(message + HEADER_BYTES + 4, json, sizeof json);
    if (send(connection, message, header.size, MSG_NOSIGNAL) != (ssize_t)header.size) fail("send");
    if (recv(connection, message, sizeof message, 0) < HEADER_BYTES) fail("recv");
}

/* Reads answers; with `wait` at least one. Their number. */
static unsigned answers(int connection, bool wait)
{
    static uint8_t bytes[1 << 16];
    static size_t kept;
    const ssize_t n = recv(connection, bytes + kept, sizeof bytes - kept, wait ? 0 : MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) fail("recv");
    kept += (size_t)n;
    unsigned count = 0;
    for (; kept - count * HEADER_BYTES >= HEADER_BYTES; count++) {
        struct header header;
        memcpy(&header, bytes + count * HEADER_BYTES, sizeof header);
        if (header.flags & ERROR) {
            errno = (int)header.error;
            fail("a mapping was refused");
        }
    }
    kept -= count * HEADER_BYTES;
    memmove(bytes, bytes + count * HEADER_BYTES, kept);
    return count;
}

static void send_all(int connection, struct mmsghdr *messages, unsigned count)
{
    for (unsigned sent = 0; sent < count;) {
        const int n = sendmmsg(connection, messages + sent, count - sent, MSG_NOSIGNAL);
        if (n < 0) fail("sendmmsg");
        sent += (unsigned)n;
    }
}

int main(int argc, char **argv)
{
    static struct dma_map maps[BATCH];
    static struct iovec places[BATCH];
    static struct mmsghdr messages[BATCH];
    static union { struct cmsghdr header; uint8_t bytes[CMSG_SPACE(sizeof(int))]; } control;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: client SOCKET COUNT\n");
        return 2;
    }
    strcpy(address.sun_path, argv[1]);
    const unsigned count = (unsigned)atoi(argv[2]);
    const int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) != 0) fail(argv[1]);
    /* Sealed as QEMU's is: a server looks twice at memory that can be truncated. */
    const int ram = memfd_create("guest RAM", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (ram < 0 || ftruncate(ram, 1ll << 31) != 0 || fcntl(ram, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        fail("memfd_create");
    agree_on_version(connection);

    control.header = (struct cmsghdr){ CMSG_LEN(sizeof ram), SOL_SOCKET, SCM_RIGHTS };
    memcpy(CMSG_DATA(&control.header), &ram, sizeof ram);
    for (unsigned i = 0; i < BATCH; i++) {
        places[i] = (struct iovec){ &maps[i], sizeof maps[i] };
        messages[i].msg_hdr = (struct msghdr){ .msg_iov = &places[i], .msg_iovlen = 1, .msg_control = &control,
                                               .msg_controllen = sizeof control };
    }
    const uint64_t start = now();
    unsigned sent = 0, answered = 0;
    while (sent < count) {
        const unsigned batch = count - sent < BATCH ? count - sent : BATCH;
        for (unsigned i = 0; i < batch; i++) {
            const uint64_t n = sent + i;
            const uint64_t target = DATA_START + n * 7919 % DATA_PAGES;
            maps[i] = (struct dma_map){ { (uint16_t)n, DMA_MAP, sizeof maps[i], 0, 0 }, 32, n % 8 == 7 ? 1 : 3,
                                        target << 12, (FIRST_IOVA + n) << 12, 4096 };
        }
        send_all(connection, messages, batch);
        sent += batch;
        while ((answered += answers(connection, sent - answered > AHEAD)) + AHEAD < sent) continue;
    }
    while (answered < count) answered += answers(connection, true);
    printf("{\"ns\":%" PRIu64 "}\n", now() - start);
    fflush(stdout);
    while (getchar() != EOF) continue;
    return 0;
}
