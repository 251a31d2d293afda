/* Failures to show who one is, counted by address.
 *
 * Why nobody is locked out or made to wait: a secret is 256 random bits (access_new_secret), so guessing is hopeless at
 * any speed, and a lock would only hand whoever shares an address with a client, or sits behind the same front proxy,
 * the power to stop that client. To hold answers back would hold a worker's thread for each, which is what an
 * attacker would want. And to tell a wrong secret from the right one it has to be compared, which costs a
 * microsecond, whatever has been before.
 *
 * What failures do cost is a record in the audit and a line in the log each, for as long as somebody sends them: a
 * disk that fills up, and with it everybody's calls (nothing is forwarded that cannot be audited). So of one address the
 * first MOST failures within WINDOW_MS are told one by one, the rest as one sum when the window is over. No
 * failure is missing from the audit, and an address costs at most MOST + 1 records a minute.
 *
 * The table is fixed. An address that finds no place in its set is told one by one. IPv6 is counted by /64, which is
 * what one customer has. */
#include "access.h"

#include "clock.h"
#include "conv.h"
#include "log.h"
#include "rand.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETS 256
#define WAYS 4
#define MOST ACCESS_FAILURES_TOLD
#define WINDOW_MS ACCESS_FAILURES_WINDOW_MS

struct slot {
	uint8_t key[16];
	char address[48];	/* the first that was seen under this key */
	int64_t ends;		/* of its window, monotonic ms; 0: free */
	int64_t since;		/* wall ms; the first that was only counted */
	unsigned told;
	uint64_t counted;
	int what;
};

struct access_failures {
	uint8_t seed[32];	/* or an attacker could choose addresses that share a set */
	atomic_int_least64_t due;	/* when the first sum is; who looks before that need not lock */
	pthread_mutex_t lock;
	struct slot slots[SETS][WAYS];
};

struct access_failures *
access_failures_new(void)
{
	struct access_failures *f = calloc(1, sizeof *f);

	if (f == NULL)
		return NULL;
	rand_bytes(f->seed, sizeof f->seed);
	atomic_init(&f->due, INT64_MAX);
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

void
access_failures_free(struct access_failures *f)
{
	if (f == NULL)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static void
key_of(struct slice address, uint8_t key[16])
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	struct conf_address a;

	memset(key, 0, 16);	/* what is no address counts as one */
	if (conf_address_parse(address, &a) < 0)
		return;
	memcpy(key, a.bytes, memcmp(a.bytes, mapped, sizeof mapped) == 0 ? 16 : 8);
}

static struct slot *
set_of(struct access_failures *f, const uint8_t key[16])
{
	const struct slice part = { (const char *)key, 16 };
	uint8_t hash[32];

	conv_hmac((struct slice){ (const char *)f->seed, sizeof f->seed }, &part, 1, hash);
	return f->slots[hash[0] % SETS];
}

/* A window that is over stays until its sum has been taken. */
static bool
is_free(const struct slot *s, int64_t now)
{
	return s->counted == 0 && s->ends <= now;
}

/* The slot of that key, else a free one. */
static struct slot *
find(struct slot *set, const uint8_t key[16], int64_t now)
{
	struct slot *place = NULL;

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].ends != 0 && memcmp(set[i].key, key, sizeof set[i].key) == 0)
			return &set[i];
		if (place == NULL && is_free(&set[i], now))
			place = &set[i];
	}
	return place;
}

static void
begin(struct slot *s, const uint8_t key[16], struct slice address, int64_t now)
{
	*s = (struct slot){ .ends = now + WINDOW_MS };
	memcpy(s->key, key, sizeof s->key);
	snprintf(s->address, sizeof s->address, "%.*s", SLICE_FMT(address));
}

static void
count(struct access_failures *f, struct slot *s, int what)
{
	if (s->counted++ > 0)
		return;
	s->since = clock_now_ms();
	s->what = what;
	if (s->ends < atomic_load(&f->due))
		atomic_store(&f->due, s->ends);
	log_msg(LOG_WARN, "failures", "%u refusals of %s within a minute: more of them are only counted", MOST, s->address);
}

bool
access_failure(struct access_failures *f, struct slice address, int what, int64_t now)
{
	bool told = true;
	uint8_t key[16];

	key_of(address, key);
	struct slot *set = set_of(f, key);
	pthread_mutex_lock(&f->lock);
	struct slot *s = find(set, key, now);
	if (s != NULL && is_free(s, now))
		begin(s, key, address, now);
	if (s != NULL && s->told < MOST) {
		s->told++;
	} else if (s != NULL) {
		count(f, s, what);
		told = false;
	}
	pthread_mutex_unlock(&f->lock);
	return told;
}

static struct slot *
next_sum(struct access_failures *f, int64_t now, int64_t *due)
{
	*due = INT64_MAX;
	for (size_t i = 0; i < SETS * WAYS; i++) {
		struct slot *s = &f->slots[i / WAYS][i % WAYS];
		if (s->counted > 0 && s->ends <= now)
			return s;
		if (s->counted > 0 && s->ends < *due)
			*due = s->ends;
	}
	return NULL;
}

bool
access_failures_sum(struct access_failures *f, int64_t now, struct access_sum *out)
{
	int64_t due;

	if (now < atomic_load(&f->due))
		return false;
	pthread_mutex_lock(&f->lock);
	struct slot *s = next_sum(f, now, &due);
	if (s != NULL) {
		*out = (struct access_sum){ .count = s->counted, .since_ms = s->since, .what = s->what };
		memcpy(out->address, s->address, sizeof out->address);
		memset(s, 0, sizeof *s);
	} else {
		atomic_store(&f->due, due);
	}
	pthread_mutex_unlock(&f->lock);
	return s != NULL;
}
