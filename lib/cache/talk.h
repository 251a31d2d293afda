/* talk: a connection of one's own to a memcached node, in its text protocol, for what libmemcached has no call for.
 * One thread at a time. Nothing waits longer than timeout_ms for the next bytes. */
#ifndef CACHE_TALK_H
#define CACHE_TALK_H

#include "slice.h"

#include <stddef.h>
#include <stdint.h>

/* A connected socket that does not block, or -1. host: a name, an address, or the path of a unix socket. */
int talk_connect(const char *host, uint16_t port, unsigned timeout_ms);

struct talk {
	int fd;			/* -1: not connected, or it failed */
	unsigned timeout_ms;
	size_t at, end;		/* what is read and not yet taken */
	char in[16384];
};
bool talk_open(struct talk *t, const char *host, uint16_t port, unsigned timeout_ms);
void talk_close(struct talk *t);
/* false from here on: the connection is closed, as nobody knows what would come next on it. */
bool talk_send(struct talk *t, struct slice text);
/* The next line without its end; good until the next call. */
bool talk_line(struct talk *t, struct slice *line);
/* Sends and reads one line. */
bool talk_ask(struct talk *t, struct slice text, struct slice *line);

/* One number of `stats`, 0 when it is not there. */
struct talk_stats { int64_t time, uptime, pid, items, evictions; bool crawling; };
bool talk_stats(struct talk *t, struct talk_stats *out);
/* A short value into out, with a NUL behind; "" when there is none. */
bool talk_get(struct talk *t, const char *key, char *out, size_t size);
/* verb: "set" or "add"; *stored false: there already. */
bool talk_store(struct talk *t, const char *verb, const char *key, const char *value, unsigned ttl, bool *stored);

#endif
