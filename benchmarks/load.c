/* A load that is not the bottleneck: an origin of event streams, and their clients.
 *
 *   load origin PORT RATE SIZE        serve streams of RATE events/s (0: one event, then silence) of SIZE bytes
 *   load client PORT STREAMS SECONDS WARMUP  open STREAMS streams, read for SECONDS after WARMUP, print JSON
 *
 * Every event is "data: " + its sending time in ns (20 digits) + padding + "\n\n". The client undoes the chunked
 * framing, checks that each event is whole, and measures how old it is.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD 65536
#define MAX_EVENT 70000

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void nonblocking(int fd) {
    int one = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Origin. */

static int streams[MAX_FD], stream_count;
static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

static void send_event(int index, int size) {
    static char buffer[MAX_EVENT + 64];
    char body[64];
    int head = snprintf(buffer, 32, "%x\r\n", size);
    int stamp = snprintf(body, sizeof body, "data: %020lld", (long long)now_ns());
    memcpy(buffer + head, body, stamp);
    memset(buffer + head + stamp, 'x', size - stamp - 2);
    memcpy(buffer + head + size - 2, "\n\n\r\n", 4);
    if (send(streams[index], buffer, head + size + 2, MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
        close(streams[index]);
        streams[index] = streams[--stream_count];
    }
}

static void accept_all(int listener, int epoll) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0)
            return;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static void read_request(int fd, int epoll, int size) {
    char buffer[8192];
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) {
        for (int i = 0; i < stream_count; i++)
            if (streams[i] == fd)
                streams[i] = streams[--stream_count];
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
        close(fd);
        return;
    }
    if (send(fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL) < 0)
        return;
    streams[stream_count++] = fd;
    send_event(stream_count - 1, size);
}

static int origin(int port, double rate, int size) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0), one = 1;
    struct sockaddr_in address = loopback(port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8192))
        die("listen");
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = timer;
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
    int turn = 0;
    int64_t due = now_ns();
    for (;;) {
        if (rate > 0) {
            int64_t now = now_ns();
            if (now - due > 100000000LL)
                due = now; /* do not catch up on what could not be sent */
            while (stream_count && due <= now) {
                turn = (turn + 1) % stream_count;
                send_event(turn, size);
                due += (int64_t)(1e9 / (rate * (stream_count ? stream_count : 1)));
            }
            int64_t next = stream_count ? due : now + 1000000;
            struct itimerspec when = {.it_value = {next / 1000000000LL, next % 1000000000LL}};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
        }
        struct epoll_event ready[256];
        int count = epoll_wait(epoll, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            uint64_t ticks;
            if (ready[i].data.fd == listener)
                accept_all(listener, epoll);
            else if (ready[i].data.fd == timer)
                (void)!read(timer, &ticks, sizeof ticks);
            else
                read_request(ready[i].data.fd, epoll, size);
        }
    }
    return 0;
}

/* Client. */

struct reader {
    int in_body, in_chunk_head, after_chunk;
    int64_t chunk_left;
    int line_size, head_match;
    char line[MAX_EVENT];
};

static struct reader *readers[MAX_FD];
static int64_t *ages, events, broken, bytes, ended, first_events;
static int64_t age_limit, measuring;

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void take_line(struct reader *r, int64_t now) {
    if (r->line_size == 0 || r->line[0] == ':')
        return;
    if (r->line_size < 26 || memcmp(r->line, "data: ", 6)) {
        broken++;
        return;
    }
    for (int i = 26; i < r->line_size; i++)
        if (r->line[i] != 'x') {
            broken++;
            return;
        }
    char stamp[21] = {0};
    memcpy(stamp, r->line + 6, 20);
    if (measuring) {
        if (events < age_limit)
            ages[events] = now - atoll(stamp);
        events++;
    }
}

static void take_body(struct reader *r, const char *data, int64_t size, int64_t now) {
    for (int64_t i = 0; i < size; i++) {
        if (data[i] == '\n') {
            take_line(r, now);
            r->line_size = 0;
        } else if (r->line_size < MAX_EVENT) {
            r->line[r->line_size++] = data[i];
        }
    }
}

static void take(struct reader *r, const char *data, ssize_t size, int64_t now) {
    for (ssize_t i = 0; i < size;) {
        if (!r->in_body) {
            static const char end[] = "\r\n\r\n";
            r->head_match = data[i] == end[r->head_match] ? r->head_match + 1 : data[i] == '\r';
            i++;
            if (r->head_match == 4) {
                r->in_body = r->in_chunk_head = 1;
                first_events++;
            }
        } else if (r->after_chunk) {
            r->after_chunk--;
            i++;
        } else if (r->in_chunk_head) {
            char c = data[i++];
            if (c == '\n')
                r->in_chunk_head = 0;
            else if (c != '\r')
                r->chunk_left = r->chunk_left * 16 + (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
        } else {
            int64_t part = size - i < r->chunk_left ? size - i : r->chunk_left;
            take_body(r, data + i, part, now);
            i += part;
            r->chunk_left -= part;
            if (!r->chunk_left)
                r->after_chunk = 2, r->in_chunk_head = 1;
        }
    }
}

static int client(int port, int count, double seconds, double warmup) {
    int epoll = epoll_create1(0);
    struct sockaddr_in address = loopback(port);
    age_limit = 20000000;
    ages = malloc(age_limit * sizeof *ages);
    int64_t began = now_ns();
    for (int i = 0; i < count; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || fd >= MAX_FD)
            die("socket");
        if (connect(fd, (struct sockaddr *)&address, sizeof address))
            die("connect");
        nonblocking(fd);
        static const char request[] = "GET /events HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n";
        if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
            die("send");
        readers[fd] = calloc(1, sizeof(struct reader));
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
    int64_t all_heard = 0, start = 0, stop = INT64_MAX;
    int64_t patience = began + (int64_t)(60e9);
    for (;;) {
        static char buffer[1 << 18];
        struct epoll_event ready[256];
        int n = epoll_wait(epoll, ready, 256, 50);
        int64_t now = now_ns();
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            ssize_t got = recv(fd, buffer, sizeof buffer, 0);
            if (got > 0) {
                bytes += measuring ? got : 0;
                take(readers[fd], buffer, got, now_ns());
            } else if (got == 0 || errno != EAGAIN) {
                ended++;
                close(fd);
            }
        }
        if (!all_heard && first_events >= count) {
            all_heard = now;
            start = now + (int64_t)(warmup * 1e9);
            stop = start + (int64_t)(seconds * 1e9);
            printf("{\"all_heard\": %.4f}\n", (all_heard - began) / 1e9);
            fflush(stdout);
        }
        if (!all_heard && now > patience)
            break;
        if (all_heard && !measuring && now >= start) {
            measuring = 1;
            printf("{\"measuring\": 1}\n");
            fflush(stdout);
        }
        if (now >= stop)
            break;
    }
    int64_t known = events < age_limit ? events : age_limit;
    qsort(ages, known, sizeof *ages, by_value);
    printf("{\"streams\": %d, \"events\": %lld, \"broken\": %lld, \"ended\": %lld, \"bytes\": %lld, \"p50\": %lld, \"p99\": %lld}\n",
           count, (long long)events, (long long)broken, (long long)ended, (long long)bytes,
           known ? (long long)ages[known / 2] : 0LL, known ? (long long)ages[known * 99 / 100] : 0LL);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv) {
    struct rlimit files = {MAX_FD, MAX_FD};
    setrlimit(RLIMIT_NOFILE, &files);
    if (argc == 5 && !strcmp(argv[1], "origin"))
        return origin(atoi(argv[2]), atof(argv[3]), atoi(argv[4]));
    if (argc == 6 && !strcmp(argv[1], "client"))
        return client(atoi(argv[2]), atoi(argv[3]), atof(argv[4]), atof(argv[5]));
    fprintf(stderr, "usage: load origin PORT RATE SIZE | load client PORT STREAMS SECONDS WARMUP\n");
    return 2;
}
