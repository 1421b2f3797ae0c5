/* What the origin and its clients agree on. */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_FD 65536
#define MAX_EVENT 65536
#define MIN_EVENT 16

/* Connections stay so long after the last line, so that who measures the proxy then does not measure their end. */
#define FAREWELL_US 100000

/* An event: "data: ", 4 digits of its number, 4 of its time, padding, "\n\n". A digit is one of 64 letters. */
#define DIGITS 4
#define WRAP (1u << 24) /* of the number, and of the time in µs: ages beyond 16 s are not told apart */
#define EVENT_HEAD (6 + 2 * DIGITS)

/* Bodies repeat a block; the table holds it often enough that any place in it can be sent or compared at once. */
#define BLOCK 65536
#define BODY_STEP (3 * BLOCK)

extern char body_table[4 * BLOCK];
extern char json_body[1025]; /* 1 KiB of JSON */

int64_t now_ns(void);
int64_t cpu_ns(void); /* of this process so far */
void die(const char *what);
void prepare_contents(void);
void put_digits(char *to, uint32_t value);
uint32_t get_digits(const char *from);
const char *padding_of(uint32_t number);
int watch(int epoll, int operation, int fd, uint32_t events);

/* rate: events/s of each stream; 0: none behind the first ones; < 0: no limit */
int serve(int port, double rate, int size, int first);

/* A response, taken apart as it arrives. */
enum phase { HEAD, CHUNK_HEAD, CHUNK, CHUNK_END, TRAILER, LENGTH, UNTIL_CLOSE, DONE, BAD };
struct response {
    enum phase phase;
    int status, head_size, skip;
    int64_t left;
    char head[2048];
};
typedef void body_sink(void *context, const char *data, size_t size);
void expect_response(struct response *r);
void take_response(struct response *r, const char *data, size_t size, body_sink *sink, void *context);

int connect_to(int port, int index); /* starts; the socket becomes writable when it is through */

/* Which streams are read, and what is in them. numbered: events of our own origin. target: %d is the stream's number. */
struct choice {
    int numbered, with_ids, wanted; /* wanted: events after which a stream counts as heard */
    double patience;
    const char *target;
};
int read_streams(int port, int count, double seconds, double warmup, const struct choice *choice);
int repeat_requests(int port, int count, double seconds, double warmup);
int fetch_body(int port, int64_t size, double seconds);

/* How long it took: a histogram of µs. */
void add_age(uint32_t us);
uint32_t age_at(double share);

#endif
