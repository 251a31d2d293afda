#include "conn.h"

#include "clock.h"
#include "log.h"
#include "resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX 64
/* The server ends a statement itself (statement_timeout); a server that has not even done that a
 * second later, or as long again when that is less, is not there any more. */
#define GRACE_MS 1000

/* The i-th of a comma list. One element stands for all, as in libpq. NULL: none given. */
static char *
piece(const char *list, size_t i)
{
	if (list == NULL || *list == '\0')
		return NULL;
	if (strchr(list, ',') == NULL)
		return strdup(list);
	for (; i > 0; i--) {
		list = strchr(list, ',');
		if (list == NULL)
			return NULL;
		list++;
	}
	return strndup(list, strcspn(list, ","));
}

static size_t
pieces(const char *list)
{
	size_t n = 1;

	for (; list != NULL && *list != '\0'; list++)
		n += *list == ',';
	return n;
}

static const char *
option(const struct dial *d, const char *name)
{
	for (const PQconninfoOption *o = d->options; o->keyword != NULL; o++)
		if (strcmp(o->keyword, name) == 0)
			return o->val;
	return NULL;
}

int
dial_init(struct dial *d, const struct db_conf *conf)
{
	char *why = NULL;

	*d = (struct dial){ .connect_ms = conf->connect_ms, .statement_ms = conf->statement_ms };
	d->options = PQconninfoParse(conf->conninfo, &why);
	if (d->options == NULL) {
		d->problem = strdup(why == NULL ? "no memory" : why);
		PQfreemem(why);
		return d->problem == NULL ? -1 : 0;
	}
	const char *host = option(d, "host"), *addr = option(d, "hostaddr"), *port = option(d, "port");
	d->nhosts = pieces(host) > pieces(addr) ? pieces(host) : pieces(addr);
	d->hosts = calloc(d->nhosts, sizeof *d->hosts);
	if (d->hosts == NULL) {
		dial_free(d);
		return -1;
	}
	for (size_t i = 0; i < d->nhosts; i++)
		d->hosts[i] = (struct dial_host){ piece(host, i), piece(addr, i), piece(port, i) };
	return 0;
}

void
dial_free(struct dial *d)
{
	for (size_t i = 0; d->hosts != NULL && i < d->nhosts; i++) {
		free(d->hosts[i].host);
		free(d->hosts[i].hostaddr);
		free(d->hosts[i].port);
	}
	free(d->hosts);
	free(d->problem);
	PQconninfoFree(d->options);
	*d = (struct dial){ 0 };
}

int
conn_wait(const struct conn *c, short events, int64_t deadline, int wake)
{
	struct pollfd fds[] = { { PQsocket(c->pg), events, 0 }, { wake, POLLIN, 0 } };

	for (;;) {
		int64_t left = deadline == CONN_NEVER ? -1 : deadline - clock_mono_ms();
		if (deadline != CONN_NEVER && left < 0)
			left = 0;
		int n = poll(fds, 2, left > 60000 ? 60000 : (int)left);
		if (n > 0)
			return fds[1].revents != 0 ? -1 : 1;
		if (n < 0 && errno != EINTR)
			return 0;
		if (deadline != CONN_NEVER && clock_mono_ms() >= deadline)
			return 0;
	}
}

static void
on_notice(void *ctx, const char *message)
{
	(void)ctx;
	log_msg(LOG_DEBUG, "database-notice", "%s", message);
}

/* What libpq says of a connection, in one line. */
static const char *
complaint(const PGconn *pg, char *out, size_t size)
{
	snprintf(out, size, "%s", PQerrorMessage(pg));
	for (char *c = out; *c != '\0'; c++)
		if (*c == '\n' || *c == '\t')
			*c = c[1] == '\0' ? '\0' : ' ';
	return out;
}

static PGconn *
start_connect(const struct dial *d, const struct dial_host *host)
{
	/* Ours first: what conninfo says itself wins. A server that vanished is noticed within some
	 * 20 s also by a connection that only listens. */
	const char *names[64] = { "fallback_application_name", "client_encoding", "keepalives_idle",
		"keepalives_interval", "keepalives_count", "tcp_user_timeout" };
	const char *values[64] = { "sosigw", "UTF8", "10", "5", "2", "10000" };
	size_t n = 6;

	for (const PQconninfoOption *o = d->options; o->keyword != NULL && n < 63; o++) {
		const char *value = o->val;
		if (value == NULL)
			continue;
		if (strcmp(o->keyword, "host") == 0)
			value = host->host;
		else if (strcmp(o->keyword, "hostaddr") == 0)
			value = host->hostaddr;
		else if (strcmp(o->keyword, "port") == 0)
			value = host->port;
		if (value == NULL)
			continue;
		names[n] = o->keyword;
		values[n++] = value;
	}
	return PQconnectStartParams(names, values, 0);
}

/* 0, -1, or -2 when woken. */
static int
connect_one(struct dial *d, const struct dial_host *host, int64_t deadline, int wake, struct conn *out,
    struct err *e)
{
	char setup[160], why[256];

	*out = (struct conn){ .pg = start_connect(d, host), .statement_ms = d->statement_ms };
	if (out->pg == NULL)
		return err_set(e, ERR_MEMORY, "connection to PostgreSQL");
	PostgresPollingStatusType state = PQstatus(out->pg) == CONNECTION_BAD ?
	    PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
	while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
		int ready = conn_wait(out, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline, wake);
		if (ready < 0)
			return -2;
		if (ready == 0)
			return err_set(e, ERR_DATABASE, "%s does not answer within its share of %u ms",
			    host->host == NULL ? "PostgreSQL" : host->host, d->connect_ms);
		state = PQconnectPoll(out->pg);
	}
	if (state != PGRES_POLLING_OK)
		return err_set(e, ERR_DATABASE, "%s", complaint(out->pg, why, sizeof why));
	PQsetNoticeProcessor(out->pg, on_notice, NULL);
	PQsetnonblocking(out->pg, 1);

	snprintf(setup, sizeof setup, "SET statement_timeout = %u; SET TimeZone = 'UTC'; "
	    "SET client_min_messages = warning", d->statement_ms);
	return conn_command(out, setup, e);
}

/* Whether libpq would ask name servers for it, which it does without a bound. */
static bool
is_name(const struct dial_host *host)
{
	struct in6_addr binary;

	return host->hostaddr == NULL && host->host != NULL && host->host[0] != '/' && host->host[0] != '@' &&
	    inet_pton(AF_INET, host->host, &binary) != 1 && inet_pton(AF_INET6, host->host, &binary) != 1;
}

/* As connect_one; each address of a name gets its share of the time that is left. */
static int
connect_host(struct dial *d, const struct dial_host *host, int64_t deadline, int wake, struct conn *out, struct err *e)
{
	struct resolved found;
	int done = -1;

	*out = (struct conn){ .pg = NULL };
	if (!is_name(host))
		return connect_one(d, host, deadline, wake, out, e);
	if (resolve(host->host, deadline, &found, e) < 0)
		return -1;
	for (size_t i = 0; i < found.n && done == -1; i++) {
		const struct dial_host one = { host->host, found.addresses[i], host->port };
		int64_t now = clock_mono_ms();
		conn_close(out);
		err_clear(e);
		done = connect_one(d, &one, now + (deadline > now ? (deadline - now) / (int64_t)(found.n - i) : 0), wake, out, e);
	}
	return done;
}

int
conn_open(struct dial *d, int wake, struct conn *out, struct err *e)
{
	int64_t end = clock_mono_ms() + d->connect_ms;
	size_t first = atomic_load(&d->good);
	struct err last = { 0 };

	if (d->options == NULL)
		return err_set(e, ERR_DATABASE, "conninfo: %s", d->problem);
	for (size_t i = 0; i < d->nhosts; i++) {
		size_t at = (first + i) % d->nhosts;
		int64_t now = clock_mono_ms();
		int64_t share = end > now ? (end - now) / (int64_t)(d->nhosts - i) : 0;

		err_clear(&last);
		int done = connect_host(d, &d->hosts[at], now + share, wake, out, &last);
		if (done == 0) {
			atomic_store(&d->good, at);
			return 0;
		}
		conn_close(out);
		if (done == -2)
			return err_set(e, ERR_DATABASE, "stopped while connecting");
	}
	return err_set(e, last.kind, "%s", last.detail);
}

void
conn_close(struct conn *c)
{
	PQfinish(c->pg);
	c->pg = NULL;
}

bool
conn_alive(struct conn *c)
{
	/* A server that goes down says so, or the socket is at its end: both make it readable. */
	while (PQstatus(c->pg) == CONNECTION_OK && conn_wait(c, POLLIN, 0, -1) > 0) {
		if (PQconsumeInput(c->pg) == 0)
			return false;
		PQisBusy(c->pg);	/* reads notices and parameter changes away */
	}
	return PQstatus(c->pg) == CONNECTION_OK;
}

int64_t
conn_deadline(const struct conn *c)
{
	return clock_mono_ms() + c->statement_ms + (c->statement_ms < GRACE_MS ? c->statement_ms : GRACE_MS);
}

int
conn_lost(struct conn *c, const char *doing, struct err *e)
{
	char why[256];

	c->broken = true;
	return err_set(e, ERR_DATABASE, "%s: %s", doing, complaint(c->pg, why, sizeof why));
}

static int
fell_silent(struct conn *c, struct err *e)
{
	c->broken = c->silent = true;
	return err_set(e, ERR_DATABASE, "PostgreSQL does not answer; connection dropped");
}

int
conn_flush(struct conn *c, int64_t deadline, struct err *e)
{
	for (;;) {
		int left = PQflush(c->pg);
		if (left < 0)
			return conn_lost(c, "sending", e);
		if (left == 0)
			return 0;
		if (conn_wait(c, POLLIN | POLLOUT, deadline, -1) == 0)
			return fell_silent(c, e);
		/* the server may wait for us to read before it reads on */
		if (PQconsumeInput(c->pg) == 0)
			return conn_lost(c, "sending", e);
	}
}

int
conn_next(struct conn *c, int64_t deadline, PGresult **out, struct err *e)
{
	if (conn_flush(c, deadline, e) < 0)
		return -1;
	while (PQisBusy(c->pg)) {
		if (PQstatus(c->pg) == CONNECTION_BAD)
			return conn_lost(c, "waiting for an answer", e);
		if (conn_wait(c, POLLIN, deadline, -1) == 0)
			return fell_silent(c, e);
		if (PQconsumeInput(c->pg) == 0)
			return conn_lost(c, "waiting for an answer", e);
	}
	*out = PQgetResult(c->pg);
	return 0;
}

int
conn_refused(const PGresult *res, struct err *e)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *said = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	/* who reads this is not always who looks after the database */
	const char *full = state != NULL && strcmp(state, "53100") == 0 ? "the database has no room left on its disk: " : "";
	bool conflict = state != NULL && (strcmp(state, "23505") == 0 || strcmp(state, "40001") == 0 ||
	    strcmp(state, "40P01") == 0);

	return err_set(e, conflict ? ERR_CONFLICT : ERR_DATABASE, "%s%s (SQLSTATE %s)", full,
	    said == NULL ? PQresultErrorMessage(res) : said, state == NULL ? "none" : state);
}

static bool
is_failure(const PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);

	return status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY &&
	    status != PGRES_COPY_IN;
}

/* All results of what was sent; the first is kept in *out, the first failure decides. A COPY that has begun ends
 * the reading: its rows come next. */
static int
collect(struct conn *c, int64_t deadline, PGresult **out, struct err *e)
{
	int done = 0;

	*out = NULL;
	for (;;) {
		PGresult *res;
		if (conn_next(c, deadline, &res, e) < 0) {
			done = -1;
			break;
		}
		if (res == NULL)
			break;
		ExecStatusType status = PQresultStatus(res);
		bool copying = status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
		if (is_failure(res) && done == 0)
			done = conn_refused(res, e);
		if (*out == NULL && done == 0)
			*out = res;
		else
			PQclear(res);
		if (copying)
			break;
	}
	if (PQstatus(c->pg) != CONNECTION_OK)
		c->broken = true;
	if (done < 0) {
		PQclear(*out);
		*out = NULL;
	}
	return done;
}

int
conn_query(struct conn *c, struct arena *a, const char *sql, const struct slice *params, size_t n,
    PGresult **out, struct err *e)
{
	const char *values[PARAMS_MAX];
	PGresult *res;

	if (n > PARAMS_MAX)
		return err_set(e, ERR_INTERNAL, "%zu parameters", n);
	for (size_t i = 0; i < n; i++) {
		values[i] = arena_cstr(a, params[i]);
		if (values[i] == NULL && params[i].p != NULL)
			return err_set(e, ERR_MEMORY, "parameter %zu", i + 1);
		if (params[i].p != NULL && memchr(params[i].p, '\0', params[i].n) != NULL)
			return err_set(e, ERR_INVALID, "parameter %zu holds a NUL byte", i + 1);
	}
	if (PQsendQueryParams(c->pg, sql, (int)n, NULL, values, NULL, NULL, 0) == 0)
		return conn_lost(c, "sending", e);
	if (collect(c, conn_deadline(c), &res, e) < 0)
		return -1;
	if (PQresultStatus(res) == PGRES_COPY_IN) {
		PQclear(res);
		c->broken = true;
		return err_set(e, ERR_DATABASE, "COPY is for db_copy_start");
	}
	if (out != NULL)
		*out = res;
	else
		PQclear(res);
	return 0;
}

int
conn_command(struct conn *c, const char *sql, struct err *e)
{
	PGresult *res;

	if (PQsendQuery(c->pg, sql) == 0)
		return conn_lost(c, "sending", e);
	if (collect(c, conn_deadline(c), &res, e) < 0)
		return -1;
	PQclear(res);
	return 0;
}
