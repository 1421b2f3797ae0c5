/* A load that is not the bottleneck: an origin of event streams and plain responses, and their clients.
 *
 *   load origin PORT RATE SIZE [FIRST]  RATE events/s in each stream (0: one, then silence; max: as fast as they are
 *                                     taken) of SIZE bytes, behind FIRST at once (one); /json: 1 KiB of JSON;
 *                                     /body/N: N bytes
 *   load streams PORT STREAMS SECONDS WARMUP [PATIENCE [TARGET [WANTED]]]
 *                                     open STREAMS streams at once, wait for an event of each, or for WANTED, read for
 *                                     SECONDS. With a TARGET there may be ids
 *   load client PORT STREAMS SECONDS WARMUP [TARGET]
 *                                     the same for events of other origins: 20 digits of ns, then padding of x; an id
 *                                     may precede them. %d in TARGET is the number of the stream
 *   load requests PORT CONNECTIONS SECONDS WARMUP   fetch /json over connections that stay open
 *   load body PORT SIZE SECONDS       fetch /body/SIZE once, after a line on standard input, for so long at most
 *
 * Clients check every byte and print lines of JSON.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

static const char LETTERS[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
static signed char values[256];
static char padding[MAX_EVENT + 64];
char body_table[4 * BLOCK];
char json_body[1025];

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

int64_t cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

void die(const char *what) {
    perror(what);
    exit(1);
}

void prepare_contents(void) {
    memset(values, -1, sizeof values);
    for (int i = 0; i < 64; i++)
        values[(unsigned char)LETTERS[i]] = i;
    for (size_t i = 0; i < sizeof padding; i++)
        padding[i] = LETTERS[(i * 7 + i / 64) % 64];
    for (size_t i = 0; i < sizeof body_table; i++)
        body_table[i] = LETTERS[(i % BLOCK * 11 + i % BLOCK / 64) % 64];
    int head = snprintf(json_body, sizeof json_body, "{\"id\": 1, \"text\": \"");
    memcpy(json_body + head, padding, sizeof json_body - head);
    memcpy(json_body + 1022, "\"}", 3);
}

void put_digits(char *to, uint32_t value) {
    for (int i = DIGITS - 1; i >= 0; i--, value >>= 6)
        to[i] = LETTERS[value & 63];
}

/* UINT32_MAX: these are no digits. */
uint32_t get_digits(const char *from) {
    uint32_t value = 0;
    for (int i = 0; i < DIGITS; i++) {
        int digit = values[(unsigned char)from[i]];
        if (digit < 0)
            return UINT32_MAX;
        value = value << 6 | (uint32_t)digit;
    }
    return value;
}

/* Differs from one event to the next. */
const char *padding_of(uint32_t number) { return padding + number % 61; }

int watch(int epoll, int operation, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(epoll, operation, fd, &event);
}

static uint32_t ages[WRAP];
static int64_t age_count;

void add_age(uint32_t us) {
    ages[us < WRAP ? us : WRAP - 1]++;
    age_count++;
}

uint32_t age_at(double share) {
    int64_t wanted = (int64_t)(share * age_count), seen = 0;
    for (uint32_t us = 0; us < WRAP && age_count; us++)
        if ((seen += ages[us]) > wanted)
            return us;
    return 0;
}

static void allow_descriptors(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < MAX_FD ? files.rlim_max : MAX_FD;
    if (setrlimit(RLIMIT_NOFILE, &files))
        die("setrlimit");
}

int main(int argc, char **argv) {
    allow_descriptors();
    prepare_contents();
    const char *what = argc > 2 ? argv[1] : "";
    int port = argc > 2 ? atoi(argv[2]) : 0;
    if ((argc == 5 || argc == 6) && !strcmp(what, "origin"))
        return serve(port, strcmp(argv[3], "max") ? atof(argv[3]) : -1, atoi(argv[4]), argc == 6 ? atoi(argv[5]) : 1);
    if (argc >= 6 && argc <= 9 && !strcmp(what, "streams")) {
        struct choice ours = {1, argc > 7, argc > 8 ? atoi(argv[8]) : 1, argc > 6 ? atof(argv[6]) : 60,
                              argc > 7 ? argv[7] : "/events"};
        return read_streams(port, atoi(argv[3]), atof(argv[4]), atof(argv[5]), &ours);
    }
    if ((argc == 6 || argc == 7) && !strcmp(what, "client")) {
        struct choice others = {0, 1, 1, 60, argc == 7 ? argv[6] : "/events"};
        return read_streams(port, atoi(argv[3]), atof(argv[4]), atof(argv[5]), &others);
    }
    if (argc == 6 && !strcmp(what, "requests"))
        return repeat_requests(port, atoi(argv[3]), atof(argv[4]), atof(argv[5]));
    if (argc == 5 && !strcmp(what, "body"))
        return fetch_body(port, atoll(argv[3]), atof(argv[4]));
    fputs("usage: load origin|streams|client|requests|body PORT ..., see the beginning of load.c\n", stderr);
    return 2;
}
