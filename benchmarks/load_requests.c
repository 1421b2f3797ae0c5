/* Clients of plain responses: many small ones over connections that stay open, or a large one. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct asker {
    struct response response;
    int connected;
    int64_t asked, body_size; /* asked: ns */
};

static struct asker *askers[MAX_FD];
static int64_t requests, broken, ended;
static int epoll, port, measuring;
static char buffer[BODY_STEP];

static void compare_json(void *context, const char *data, size_t size) {
    struct asker *a = context;
    if (a->body_size + (int64_t)size > 1024 || memcmp(json_body + a->body_size, data, size))
        broken++;
    a->body_size += size;
}

static void compare_body(void *context, const char *data, size_t size) {
    int64_t *taken = context;
    broken += !!memcmp(body_table + *taken % BLOCK, data, size);
    *taken += size;
}

static void open_one(int index) {
    int fd = connect_to(port, index);
    askers[fd] = calloc(1, sizeof(struct asker));
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT);
}

static void lose(int fd) {
    ended++;
    close(fd);
    free(askers[fd]);
    askers[fd] = NULL;
    open_one(fd);
}

static void ask(int fd) {
    static const char request[] = "GET /json HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n\r\n";
    struct asker *a = askers[fd];
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        return lose(fd);
    if (!a->connected)
        watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
    a->connected = 1;
    expect_response(&a->response);
    a->asked = now_ns();
    a->body_size = 0;
}

static void finish(int fd) {
    struct asker *a = askers[fd];
    if (a->response.status != 200 || a->body_size != 1024)
        broken++;
    if (measuring) {
        requests++;
        add_age((now_ns() - a->asked) / 1000);
    }
    ask(fd);
}

static void hear(int fd) {
    struct asker *a = askers[fd];
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        return lose(fd);
    take_response(&a->response, buffer, got, compare_json, a);
    if (a->response.phase == DONE)
        finish(fd);
    else if (a->response.phase == BAD)
        broken++, lose(fd);
}

static void go_on_until(int64_t stop) {
    for (int64_t left; (left = stop - now_ns()) > 0;) {
        struct epoll_event ready[256];
        int count = epoll_wait(epoll, ready, 256, left / 1000000 + 1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (askers[fd] && askers[fd]->connected)
                hear(fd);
            else if (askers[fd])
                ask(fd);
        }
    }
}

int repeat_requests(int to, int count, double seconds, double warmup) {
    epoll = epoll_create1(0);
    port = to;
    for (int i = 0; i < count; i++)
        open_one(i);
    go_on_until(now_ns() + (int64_t)(warmup * 1e9));
    printf("{\"measuring\": 1}\n");
    fflush(stdout);
    int64_t start = now_ns(), cpu = cpu_ns();
    measuring = 1;
    go_on_until(start + (int64_t)(seconds * 1e9));
    int64_t stop = now_ns();
    printf("{\"requests\": %lld, \"broken\": %lld, \"ended\": %lld, \"seconds\": %.6f, \"cpu\": %.6f, \"p50\": %u, "
           "\"p99\": %u}\n",
           (long long)requests, (long long)broken, (long long)ended, (stop - start) / 1e9, (cpu_ns() - cpu) / 1e9,
           age_at(0.5), age_at(0.99));
    fflush(stdout);
    usleep(FAREWELL_US);
    return 0;
}

int fetch_body(int to, int64_t size, double seconds) {
    char request[128];
    int length = snprintf(request, sizeof request, "GET /body/%lld HTTP/1.1\r\nHost: bench\r\n\r\n", (long long)size);
    epoll = epoll_create1(0);
    getchar();
    int64_t taken = 0, start = now_ns(), cpu = cpu_ns();
    int fd = connect_to(to, 0);
    struct epoll_event ready;
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
    epoll_wait(epoll, &ready, 1, 5000);
    if (send(fd, request, length, MSG_NOSIGNAL) < 0)
        die("send");
    watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
    static struct response response;
    expect_response(&response);
    int64_t stop = start + (int64_t)(seconds * 1e9), now = start;
    while (response.phase < DONE && now < stop) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got > 0)
            take_response(&response, buffer, got, compare_body, &taken);
        else if (got < 0 && errno == EAGAIN)
            epoll_wait(epoll, &ready, 1, 1000);
        else
            break;
        now = now_ns();
    }
    broken += response.status != 200 || (taken != size && now < stop);
    printf("{\"bytes\": %lld, \"broken\": %lld, \"seconds\": %.6f, \"cpu\": %.6f}\n", (long long)taken,
           (long long)broken, (now_ns() - start) / 1e9, (cpu_ns() - cpu) / 1e9);
    fflush(stdout);
    usleep(FAREWELL_US);
    return 0;
}
