/* A response of HTTP/1.1, taken apart as it arrives; and the connection that it comes over. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ADDRESSES 8 /* of ours: one has ports for some 28,000 connections to a server */

void expect_response(struct response *r) {
    r->phase = HEAD;
    r->status = r->head_size = r->skip = 0;
    r->left = 0;
}

static void understand_head(struct response *r) {
    r->head[r->head_size] = 0;
    r->status = !strncmp(r->head, "HTTP/1.1 ", 9) ? atoi(r->head + 9) : 0;
    const char *length = strcasestr(r->head, "\r\ncontent-length:");
    if (strcasestr(r->head, "\r\ntransfer-encoding: chunked\r\n"))
        r->phase = CHUNK_HEAD;
    else if (length)
        r->phase = (r->left = atoll(length + 17)) ? LENGTH : DONE;
    else
        r->phase = UNTIL_CLOSE;
}

static void take_head(struct response *r, char c) {
    r->head[r->head_size++] = c;
    if (r->head_size >= 4 && !memcmp(r->head + r->head_size - 4, "\r\n\r\n", 4))
        understand_head(r);
    else if (r->head_size == sizeof r->head - 1)
        r->phase = BAD;
}

static void take_chunk_head(struct response *r, char c) {
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (c == '\n') {
        r->phase = r->left ? CHUNK : TRAILER;
        r->skip = 0;
    } else if (c == ';') {
        r->skip = 1;
    } else if (!r->skip && digit >= 0) {
        r->left = r->left * 16 + digit;
    } else if (!r->skip && c != '\r') {
        r->phase = BAD;
    }
}

/* Trailers end with an empty line. */
static void take_trailer(struct response *r, char c) {
    if (c == '\n' && !r->skip)
        r->phase = DONE;
    else if (c != '\r')
        r->skip = c != '\n';
}

void take_response(struct response *r, const char *data, size_t size, body_sink *sink, void *context) {
    for (size_t i = 0; i < size;) {
        size_t part = size - i;
        switch (r->phase) {
        case HEAD:
            take_head(r, data[i++]);
            break;
        case CHUNK_HEAD:
            take_chunk_head(r, data[i++]);
            break;
        case CHUNK:
        case LENGTH:
            if ((int64_t)part > r->left)
                part = r->left;
            sink(context, data + i, part);
            i += part;
            if (!(r->left -= part))
                r->phase = r->phase == CHUNK ? CHUNK_END : DONE;
            break;
        case CHUNK_END:
            if (data[i++] == '\n')
                r->phase = CHUNK_HEAD;
            break;
        case TRAILER:
            take_trailer(r, data[i++]);
            break;
        case UNTIL_CLOSE:
            sink(context, data + i, part);
            return;
        case DONE: /* nobody asked for more */
        case BAD:
            r->phase = BAD;
            return;
        }
    }
}

int connect_to(int port, int index) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    if (fd < 0 || fd >= MAX_FD)
        die("socket");
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index % ADDRESSES);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address))
        die("bind");
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        die("connect");
    return fd;
}
