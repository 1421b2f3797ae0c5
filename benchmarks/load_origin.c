/* The origin: streams of events that carry their number and their time, and plain responses. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BATCH 16384 /* bytes that a stream without a limit sends at once */
#define LATE 100000000LL /* ns: what is later than this is not caught up on */
#define QUIET 300000000LL /* ns without a new stream, after which those without a limit start: opening is another matter */

struct peer {
    int fd, is_stream, place; /* its place among the streams */
    int request_size, rest_size, rest_at;
    uint32_t number;
    int64_t body_left, body_at;
    char *rest; /* what the socket did not take */
    char request[4096];
};

static struct peer *peers[MAX_FD], *streams[MAX_FD];
static int stream_count, epoll, event_size, flooding, head_size, first_events;
static int64_t last_opened;
static uint32_t next_first = 1;
static char event_head[32], scratch[4 * BATCH + MAX_EVENT + 64];

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

static void forget(struct peer *p) {
    if (p->is_stream) {
        struct peer *last = streams[--stream_count];
        streams[p->place] = last;
        last->place = p->place;
    }
    peers[p->fd] = NULL;
    close(p->fd);
    free(p->rest);
    free(p);
}

/* 0: the peer has gone. What the socket does not take is sent when it can. */
static int put(struct peer *p, const char *data, int size) {
    ssize_t sent = send(p->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return forget(p), 0;
    if (sent < 0)
        sent = 0;
    if (sent < size) {
        p->rest_size = size - sent;
        p->rest_at = 0;
        p->rest = realloc(p->rest, p->rest_size);
        memcpy(p->rest, data + sent, p->rest_size);
        watch(epoll, EPOLL_CTL_MOD, p->fd, EPOLLIN | EPOLLOUT);
    }
    return 1;
}

static int write_event(struct peer *p, char *to, uint32_t now_us) {
    int filler = event_size - EVENT_HEAD - 2;
    memcpy(to, event_head, head_size);
    char *at = to + head_size;
    put_digits(at, p->number);
    put_digits(at + DIGITS, now_us);
    memcpy(at + 2 * DIGITS, padding_of(p->number), filler);
    memcpy(at + 2 * DIGITS + filler, "\n\n\r\n", 4);
    p->number = (p->number + 1) % WRAP;
    return at + 2 * DIGITS + filler + 4 - to;
}

static void send_events(struct peer *p, int limit) {
    uint32_t now_us = now_ns() / 1000 % WRAP;
    int size = 0;
    do
        size += write_event(p, scratch + size, now_us);
    while (size < limit);
    put(p, scratch, size);
}

static void send_body(struct peer *p) {
    while (p->body_left) {
        int64_t step = p->body_left < BODY_STEP ? p->body_left : BODY_STEP;
        ssize_t sent = send(p->fd, body_table + p->body_at % BLOCK, step, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return forget(p);
        if (sent < 0) {
            watch(epoll, EPOLL_CTL_MOD, p->fd, EPOLLIN | EPOLLOUT);
            return;
        }
        p->body_left -= sent;
        p->body_at += sent;
    }
    watch(epoll, EPOLL_CTL_MOD, p->fd, EPOLLIN);
}

static void go_on(struct peer *p) {
    if (p->rest_size) {
        ssize_t sent = send(p->fd, p->rest + p->rest_at, p->rest_size, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN ? (void)0 : forget(p);
        p->rest_at += sent;
        p->rest_size -= sent;
        if (p->rest_size || (p->is_stream && flooding))
            return;
        watch(epoll, EPOLL_CTL_MOD, p->fd, EPOLLIN);
    } else if (p->is_stream && flooding) {
        send_events(p, BATCH);
    } else {
        send_body(p);
    }
}

static void start_stream(struct peer *p) {
    /* Numbers of different streams are far apart, so that events of one in another are noticed. */
    p->number = next_first = next_first * 7919 % WRAP;
    memcpy(scratch, STREAM_HEAD, sizeof STREAM_HEAD - 1);
    int size = sizeof STREAM_HEAD - 1;
    for (int i = 0; i < first_events && size < BATCH * 4; i++)
        size += write_event(p, scratch + size, now_ns() / 1000 % WRAP);
    p->is_stream = 1;
    p->place = stream_count;
    streams[stream_count++] = p;
    last_opened = now_ns();
    if (put(p, scratch, size) && flooding)
        watch(epoll, EPOLL_CTL_MOD, p->fd, EPOLLIN | EPOLLOUT);
}

static void answer(struct peer *p) {
    char head[256];
    if (!strncmp(p->request, "GET /json", 9)) {
        int size = snprintf(scratch, sizeof scratch,
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n%s", json_body);
        put(p, scratch, size);
    } else if (!strncmp(p->request, "GET /body/", 10)) {
        p->body_left = atoll(p->request + 10);
        p->body_at = 0;
        int size = snprintf(head, sizeof head,
                            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %lld\r\n\r\n",
                            (long long)p->body_left);
        if (put(p, head, size))
            send_body(p);
    } else {
        start_stream(p);
    }
}

static void hear(struct peer *p) {
    int space = sizeof p->request - 1 - p->request_size;
    ssize_t got = recv(p->fd, p->request + p->request_size, space, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 || got == space)
        return forget(p);
    p->request_size += got;
    p->request[p->request_size] = 0;
    if (p->is_stream || !strstr(p->request, "\r\n\r\n"))
        return;
    p->request_size = 0;
    answer(p);
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FD)
            die("too many connections");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        peers[fd] = calloc(1, sizeof(struct peer));
        peers[fd]->fd = fd;
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 65535))
        die("listen");
    return listener;
}

/* Streams take turns, so that events are spread evenly over time. Returns when the next one is due. */
static int64_t send_due(int64_t due, double rate) {
    static int turn;
    int64_t now = now_ns();
    if (now - due > LATE)
        due = now;
    while (stream_count && due <= now) {
        turn = (turn + 1) % stream_count;
        due += (int64_t)(1e9 / (rate * stream_count));
        if (!streams[turn]->rest_size)
            send_events(streams[turn], 1);
    }
    return stream_count ? due : now + 1000000;
}

/* Returns when this should be asked again. */
static int64_t flood_when_quiet(void) {
    int64_t now = now_ns(), start = stream_count ? last_opened + QUIET : now + QUIET;
    if (now < start)
        return start;
    flooding = 1;
    for (int i = 0; i < stream_count; i++)
        watch(epoll, EPOLL_CTL_MOD, streams[i]->fd, EPOLLIN | EPOLLOUT);
    return 0;
}

int serve(int port, double rate, int size, int first) {
    if (size < MIN_EVENT || size > MAX_EVENT)
        return fputs("load: an event has 16 to 65536 bytes\n", stderr), 2;
    event_size = size;
    first_events = first;
    head_size = snprintf(event_head, sizeof event_head, "%x\r\ndata: ", size);
    epoll = epoll_create1(0);
    int listener = listen_on(port), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
    watch(epoll, EPOLL_CTL_ADD, timer, EPOLLIN);
    for (int64_t due = now_ns();;) {
        if (rate > 0 || (rate < 0 && !flooding)) {
            due = rate > 0 ? send_due(due, rate) : flood_when_quiet();
            struct itimerspec when = {.it_value = {due / 1000000000LL, due % 1000000000LL}};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
        }
        struct epoll_event ready[256];
        int count = epoll_wait(epoll, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            uint64_t ticks;
            if (fd == listener)
                accept_all(listener);
            else if (fd == timer)
                (void)!read(timer, &ticks, sizeof ticks);
            else if (peers[fd] && ready[i].events & ~EPOLLOUT)
                hear(peers[fd]);
            else if (peers[fd])
                go_on(peers[fd]);
        }
    }
}
