/*
 * Asks an NTP server as often as it can: a fixed number of requests is in flight, and every reply makes room for one.
 *
 *   load ADDRESS PORT [-w IN-FLIGHT] [-s SECONDS] [-r MOST-REQUESTS-A-SECOND] [-b SOURCE-ADDRESS] [-t TEMPLATES]
 *
 * Prints one JSON object.  A request carries the number of its slot in the lower half of its transmit timestamp, which
 * comes back as the origin timestamp of the reply; the upper half counts the requests of the slot, so that a late reply
 * is not taken for another's.  A slot that had no reply for 100 ms is free again, and its request is lost.
 *
 * Requests are plain NTPv4, or those of a file: each preceded by its length as two octets, big-endian.  The first goes
 * to slot 0 and so on, each as often as the slot is free: for servers of NTS, which keep nothing of a request.
 *
 * It never sleeps: a reply is seen at once and the server is what is measured.  It wants a processor of its own.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER = 48,
    DATAGRAM = 2048,
    BATCH = 64,
    MOST_IN_FLIGHT = 65536,
    SAMPLES = 1 << 20,
    BUFFER = 8 << 20,
    CLIENT_V4 = 0x23,
    SERVER_V4 = 0x24,
    POLL = 6,
};

static const int64_t SECOND = 1000000000, LOST = 100000000, LOOK = 10000000;
static const uint32_t EPOCH = 2208988800u;

struct slot {
    int64_t sent; /* 0 while it is free */
    uint32_t count;
    uint16_t size;
    uint8_t *request;
};

static struct slot slots[MOST_IN_FLIGHT];
static uint32_t vacant[MOST_IN_FLIGHT];
static uint32_t waits[SAMPLES];
static uint32_t in_flight = 256, vacancies;
static uint64_t sent, replies, kisses, wrong, late, lost, refused;
static bool fixed;

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

static uint32_t get32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, 4);
    return ntohl(value);
}

static void put32(uint8_t *to, uint32_t value)
{
    value = htonl(value);
    memcpy(to, &value, 4);
}

static void make_plain(void)
{
    uint8_t *memory = calloc(in_flight, HEADER);
    if (!memory)
        fail("memory");
    for (uint32_t i = 0; i < in_flight; i++, memory += HEADER) {
        memory[0] = CLIENT_V4;
        memory[2] = POLL;
        slots[i] = (struct slot){.size = HEADER, .request = memory};
    }
}

static void read_templates(const char *path)
{
    uint8_t head[2];
    uint32_t count = 0;
    FILE *file = fopen(path, "rb");
    if (!file)
        fail(path);
    while (count < in_flight && fread(head, 1, 2, file) == 2) {
        uint16_t size = (uint16_t)(head[0] << 8 | head[1]);
        uint8_t *request = malloc(size);
        if (size < HEADER || !request || fread(request, 1, size, file) != size || get32(request + 44) != count) {
            fprintf(stderr, "load: %s: request %u is no request\n", path, count);
            exit(1);
        }
        slots[count++] = (struct slot){.size = size, .request = request, .count = get32(request + 40)};
    }
    fclose(file);
    in_flight = count;
    fixed = true;
}

static int connected(const char *host, const char *port, const char *source)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *to, *from;
    int buffer = BUFFER;
    if (getaddrinfo(host, port, &hints, &to)) {
        fprintf(stderr, "load: %s port %s: no address\n", host, port);
        exit(1);
    }
    int sock = socket(to->ai_family, SOCK_DGRAM, 0);
    if (sock < 0)
        fail("socket");
    if (setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer))
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (source) {
        if (getaddrinfo(source, "0", &hints, &from) || bind(sock, from->ai_addr, from->ai_addrlen))
            fail(source);
        freeaddrinfo(from);
    }
    if (connect(sock, to->ai_addr, to->ai_addrlen))
        fail(host);
    freeaddrinfo(to);
    return sock;
}

/* Sends up to so many requests from vacant slots. */
static void ask(int sock, uint32_t most)
{
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    uint32_t count = vacancies < most ? vacancies : most;
    if (count > BATCH)
        count = BATCH;
    if (!count)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct slot *slot = &slots[vacant[vacancies - 1 - i]];
        if (!fixed) {
            put32(slot->request + 40, ++slot->count);
            put32(slot->request + 44, vacant[vacancies - 1 - i]);
        }
        parts[i] = (struct iovec){slot->request, slot->size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int64_t at = now();
    int done = sendmmsg(sock, messages, count, 0);
    if (done < 0) {
        if (errno != ECONNREFUSED && errno != ENOBUFS && errno != EAGAIN)
            fail("send");
        refused++;
        return;
    }
    for (int i = 0; i < done; i++)
        slots[vacant[--vacancies]].sent = at;
    sent += (uint64_t)done;
}

/* Tells whether a reply of the right slot says what a server would say now. */
static bool sensible(const uint8_t *reply, const struct slot *slot, uint32_t second)
{
    uint64_t received = (uint64_t)get32(reply + 32) << 32 | get32(reply + 36);
    uint64_t transmitted = (uint64_t)get32(reply + 40) << 32 | get32(reply + 44);
    uint32_t age = second - get32(reply + 32);
    return (reply[0] & 0x3f) == SERVER_V4 && reply[2] == slot->request[2] && transmitted >= received && age + 1 <= 2;
}

static void judge(const uint8_t *reply, uint32_t size, int64_t at, uint32_t second)
{
    uint32_t number = size >= HEADER ? get32(reply + 28) : MOST_IN_FLIGHT;
    if (number >= in_flight || get32(reply + 24) != slots[number].count || !slots[number].sent) {
        late++;
        return;
    }
    struct slot *slot = &slots[number];
    if (reply[1] == 0 && get32(reply + 12) != 0)
        kisses++;
    else if (!sensible(reply, slot, second) || (fixed && size <= HEADER))
        wrong++;
    else
        waits[replies++ % SAMPLES] = (uint32_t)(at - slot->sent);
    slot->sent = 0;
    vacant[vacancies++] = number;
}

/* Takes the replies that are there. */
static void hear(int sock)
{
    static uint8_t replies_of[BATCH][DATAGRAM];
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){replies_of[i], DATAGRAM};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(sock, messages, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0) {
        if (errno == ECONNREFUSED)
            refused++;
        else if (errno != EAGAIN)
            fail("receive");
        return;
    }
    int64_t at = now();
    uint32_t second = (uint32_t)time(NULL) + EPOCH;
    for (int i = 0; i < count; i++)
        judge(replies_of[i], messages[i].msg_len, at, second);
}

static void forget(int64_t at)
{
    for (uint32_t i = 0; i < in_flight; i++) {
        if (slots[i].sent && at - slots[i].sent > LOST) {
            slots[i].sent = 0;
            vacant[vacancies++] = i;
            lost++;
        }
    }
}

static int ascending(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    double seconds = 1.0, rate = 0.0;
    const char *source = NULL, *templates = NULL;
    int option;
    while ((option = getopt(argc, argv, "w:s:r:b:t:")) != -1) {
        switch (option) {
        case 'w': in_flight = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 's': seconds = strtod(optarg, NULL); break;
        case 'r': rate = strtod(optarg, NULL); break;
        case 'b': source = optarg; break;
        case 't': templates = optarg; break;
        default: return 2;
        }
    }
    if (argc - optind != 2 || in_flight < 1 || in_flight > MOST_IN_FLIGHT || seconds <= 0 || seconds > 86400) {
        fputs("usage: load ADDRESS PORT [-w IN-FLIGHT] [-s SECONDS] [-r RATE] [-b SOURCE] [-t TEMPLATES]\n", stderr);
        return 2;
    }
    if (templates)
        read_templates(templates);
    else
        make_plain();
    int sock = connected(argv[optind], argv[optind + 1], source);
    for (uint32_t i = in_flight; i-- > 0;)
        vacant[vacancies++] = i;

    int64_t begin = now(), end = begin + (int64_t)(seconds * 1e9), looked = begin, at = begin;
    for (; at < end; at = now()) {
        double due = rate > 0 ? rate * (double)(at - begin) / 1e9 - (double)sent : BATCH;
        ask(sock, due < 1 ? 0 : due > BATCH ? BATCH : (uint32_t)due);
        hear(sock);
        if (at - looked > LOOK) {
            forget(at);
            looked = at;
        }
    }
    double lasted = (double)(at - begin) / 1e9;
    uint64_t known = replies;
    for (int64_t last = at + LOST; vacancies < in_flight && at < last; at = now())
        hear(sock);
    lost += in_flight - vacancies;
    close(sock);

    size_t samples = replies < SAMPLES ? replies : SAMPLES;
    qsort(waits, samples, sizeof *waits, ascending);
    printf("{\"seconds\": %.6f, \"rate\": %.1f, \"sent\": %" PRIu64 ", \"replies\": %" PRIu64 ", \"lost\": %" PRIu64
           ", \"late\": %" PRIu64 ", \"kisses\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"refused\": %" PRIu64
           ", \"median_us\": %.1f, \"p99_us\": %.1f}\n",
           lasted, (double)known / lasted, sent, replies, lost, late, kisses, wrong, refused,
           samples ? waits[samples / 2] / 1e3 : 0.0, samples ? waits[samples * 99 / 100] / 1e3 : 0.0);
    return 0;
}
