/* Clients of event streams: all connect at once, then every byte of every stream is checked. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct reader {
    struct response response;
    int index, asked, heard, inside, started; /* inside: an event has its data, its end is missing */
    uint32_t next;                     /* number of the event that must come */
    char *held;                        /* a line that has no end yet */
    int held_size;
};

static struct reader *readers[MAX_FD];
static const char *pattern; /* the target of each stream; %d in it is the stream's own number */
static int numbered, with_ids, wanted, measuring, heard, refused; /* wanted: events until a stream counts as heard */
static int64_t events, heartbeats, broken, ended, bytes, arrived; /* arrived: ns, of what is being read */

static void note_age(int64_t us) {
    if (measuring)
        add_age(us < 0 ? 0 : us);
}

/* An event of our own origin: the next number, its time, and the padding that belongs to the number. */
static int is_numbered(struct reader *r, const char *line, int size) {
    uint32_t number = get_digits(line + 6), sent = get_digits(line + 6 + DIGITS);
    if (size < EVENT_HEAD || number == UINT32_MAX || sent == UINT32_MAX || (r->started && number != r->next))
        return 0;
    r->started = 1;
    r->next = (number + 1) % WRAP;
    note_age((arrived / 1000 - sent) % WRAP);
    return !memcmp(line + EVENT_HEAD, padding_of(number), size - EVENT_HEAD);
}

static int is_stamped(const char *line, int size) {
    char stamp[21] = {0};
    if (size < 26)
        return 0;
    memcpy(stamp, line + 6, 20);
    note_age((arrived - atoll(stamp)) / 1000);
    for (int i = 26; i < size; i++)
        if (line[i] != 'x')
            return 0;
    return 1;
}

static void end_event(struct reader *r) {
    r->inside = 0;
    events += measuring;
    if (r->heard < wanted && ++r->heard == wanted)
        heard++;
}

static void take_line(struct reader *r, const char *line, int size) {
    if (size == 0) {
        if (r->inside)
            end_event(r);
    } else if (r->inside) {
        broken++; /* nothing may come between an event's data and its end, heartbeats neither */
    } else if (line[0] == ':') {
        heartbeats += measuring;
    } else if (with_ids && size > 4 && !memcmp(line, "id: ", 4)) {
        return; /* a position: of an origin that resumes, or of a journal */
    } else if (size > 6 && !memcmp(line, "data: ", 6)) {
        r->inside = 1;
        broken += numbered ? !is_numbered(r, line, size) : !is_stamped(line, size);
    } else {
        broken++;
    }
}

static void hold(struct reader *r, const char *data, int size) {
    if (r->held_size + size > MAX_EVENT) {
        broken++;
        r->held_size = 0;
        return;
    }
    r->held = realloc(r->held, r->held_size + size);
    memcpy(r->held + r->held_size, data, size);
    r->held_size += size;
}

static void take_body(void *context, const char *data, size_t size) {
    struct reader *r = context;
    if (r->response.status != 200)
        return;
    while (size) {
        const char *end = memchr(data, '\n', size);
        if (!end) {
            hold(r, data, size);
            return;
        }
        int part = end - data;
        if (r->held_size) {
            hold(r, data, part);
            take_line(r, r->held, r->held_size);
            r->held_size = 0;
        } else {
            take_line(r, data, part);
        }
        data += part + 1;
        size -= part + 1;
    }
}

static void lose(int fd) {
    if (readers[fd]->heard)
        ended++;
    else
        refused++;
    close(fd);
    free(readers[fd]->held);
    free(readers[fd]);
    readers[fd] = NULL;
}

static void ask(int epoll, int fd) {
    char target[256], request[512];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    snprintf(target, sizeof target, pattern, readers[fd]->index);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n", target);
    if (error || send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        return lose(fd);
    readers[fd]->asked = 1;
    watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void hear(int fd) {
    static char buffer[1 << 18];
    struct reader *r = readers[fd];
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        return lose(fd);
    arrived = now_ns();
    bytes += measuring ? got : 0;
    take_response(&r->response, buffer, got, take_body, r);
    if ((r->response.phase > HEAD && r->response.status != 200) || r->response.phase >= DONE)
        lose(fd);
}

/* Reads until `stop` (ns), or, if `until_heard`, until nobody waits for a first event any more. */
static void listen_until(int epoll, int64_t stop, int until_heard) {
    for (;;) {
        int64_t left = stop - now_ns();
        if (left <= 0 || (until_heard && heard + refused >= until_heard))
            return;
        struct epoll_event ready[256];
        int count = epoll_wait(epoll, ready, 256, left / 1000000 + 1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (!readers[fd])
                continue;
            if (readers[fd]->asked)
                hear(fd);
            else
                ask(epoll, fd);
        }
    }
}

static void report(int count, double seconds, double cpu) {
    printf("{\"streams\": %d, \"events\": %lld, \"heartbeats\": %lld, \"broken\": %lld, \"ended\": %lld, "
           "\"refused\": %d, \"bytes\": %lld, \"seconds\": %.6f, \"cpu\": %.6f, \"p50\": %u, \"p99\": %u}\n",
           count, (long long)events, (long long)heartbeats, (long long)broken, (long long)ended, refused,
           (long long)bytes, seconds, cpu, age_at(0.5), age_at(0.99));
    fflush(stdout);
}

int read_streams(int port, int count, double seconds, double warmup, const struct choice *choice) {
    int epoll = epoll_create1(0);
    numbered = choice->numbered;
    with_ids = choice->with_ids;
    wanted = choice->wanted;
    pattern = choice->target;
    int64_t began = now_ns();
    for (int i = 0; i < count; i++) {
        int fd = connect_to(port, i);
        readers[fd] = calloc(1, sizeof(struct reader));
        readers[fd]->index = i;
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT);
    }
    listen_until(epoll, began + (int64_t)(choice->patience * 1e9), count);
    printf("{\"all_heard\": %.6f, \"heard\": %d, \"refused\": %d}\n", (now_ns() - began) / 1e9, heard, refused);
    fflush(stdout);
    listen_until(epoll, now_ns() + (int64_t)(warmup * 1e9), 0);
    printf("{\"measuring\": 1}\n");
    fflush(stdout);
    int64_t start = now_ns(), cpu = cpu_ns();
    measuring = 1;
    listen_until(epoll, start + (int64_t)(seconds * 1e9), 0);
    int64_t stop = now_ns();
    report(count, (stop - start) / 1e9, (cpu_ns() - cpu) / 1e9);
    usleep(FAREWELL_US);
    return 0;
}
