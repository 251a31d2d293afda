/* The cache nodes, and whether the next one may be restarted. */
#include "ctl.h"

#include "cards.h"
#include "clock.h"
#include "conv.h"

#include <getopt.h>
#include <inttypes.h>
#include <time.h>

#define WAIT_MOST 86400
#define LOOK_MS 500

static const char *
state_of(const struct cache_node_report *r)
{
	static const char *const states[] = {
		[CACHE_NOT_RESTORED] = "not restored", [CACHE_RESTORING] = "restoring", [CACHE_RESTORED] = "restored",
	};

	return !r->reachable ? "away" : r->node->moving ? "moving" : states[r->state];
}

/* It holds every copy that belongs on it; nothing belongs on one that moves. */
static bool
is_whole(const struct cache_node_report *r)
{
	return r->node->moving || (r->reachable && r->state == CACHE_RESTORED);
}

static void
put_node(struct ctl *c, const struct cache_node_report *r)
{
	ctl_put_text(c->out, slice_of(r->node->host));
	fprintf(c->out, ":%u zone ", (unsigned)r->node->port);
	ctl_put_text(c->out, slice_of(r->node->zone));
	fprintf(c->out, " %s", is_whole(r) ? state_of(r) : !r->reachable ? "AWAY" :
	    r->state == CACHE_RESTORING ? "BEING RESTORED" : "NOT RESTORED");
	if (r->reachable && !r->node->moving && r->state == CACHE_RESTORED)
		fprintf(c->out, " %.*s, %" PRId64 " copied, %" PRId64 " corrected", SLICE_FMT(clock_iso(c->a, r->restored)),
		    r->copied, r->corrected);
	if (r->by[0] != '\0') {
		fputs(", by ", c->out);
		ctl_put_text(c->out, slice_of(r->by));
	}
	if (r->reachable)
		fprintf(c->out, "; up %" PRId64 " s, %" PRId64 " values, %" PRId64 " evicted", r->uptime, r->items,
		    r->evictions);
	fputc('\n', c->out);
}

static void
node_as_json(struct ctl *c, const struct cache_node_report *r, bool first)
{
	fputs(first ? "{\"host\": " : ",\n {\"host\": ", c->out);
	ctl_put_json(c->out, slice_of(r->node->host));
	fprintf(c->out, ", \"port\": %u, \"zone\": ", (unsigned)r->node->port);
	ctl_put_json(c->out, slice_of(r->node->zone));
	fprintf(c->out, ", \"state\": \"%s\", \"reachable\": %s, \"uptime\": %" PRId64 ", \"values\": %" PRId64
	    ", \"evicted\": %" PRId64 ", \"restored\": %" PRId64 ", \"copied\": %" PRId64 ", \"corrected\": %" PRId64
	    ", \"by\": ", state_of(r), r->reachable ? "true" : "false", r->uptime, r->items, r->evictions, r->restored,
	    r->copied, r->corrected);
	ctl_put_json(c->out, r->by[0] == '\0' ? (struct slice){ NULL, 0 } : slice_of(r->by));
	fputc('}', c->out);
}

/* True when every node is whole, at the latest after so many seconds. */
static bool
look(const struct cache_conf *conf, int64_t wait_s, struct cache_node_report *out)
{
	const struct timespec pause = { 0, LOOK_MS * 1000000 };
	int64_t end = clock_mono_ms() + wait_s * 1000;

	for (;;) {
		size_t whole = 0;
		cache_report(conf, out);
		for (size_t i = 0; i < conf->nnodes; i++)
			whole += is_whole(&out[i]);
		if (whole == conf->nnodes || clock_mono_ms() >= end)
			return whole == conf->nnodes;
		nanosleep(&pause, NULL);
	}
}

static enum ctl_exit
show(struct ctl *c, int64_t wait_s)
{
	struct cache_node nodes[CACHE_NODES_MAX];
	struct cache_node_report reports[CACHE_NODES_MAX];
	struct cache_conf conf;
	struct err e = { 0 };

	if (ctl_file(c) == NULL)
		return CTL_FAILED;
	if (cards_cache_conf(c->file, nodes, &conf, &e) < 0)
		return ctl_failed(c, "reading the list of cache nodes", &e);
	bool whole = look(&conf, wait_s, reports);
	fputs(c->json ? "[" : "", c->out);
	for (size_t i = 0; i < conf.nnodes; i++) {
		if (c->json)
			node_as_json(c, &reports[i], i == 0);
		else
			put_node(c, &reports[i]);
	}
	fputs(c->json ? "]\n" : whole ? "every node is whole: one of them may be restarted\n" :
	    "not every node is whole: restart none that runs\n", c->out);
	return whole ? CTL_OK : CTL_FAILED;
}

enum ctl_exit
ctl_cache(struct ctl *c, int argc, char **argv)
{
	static const struct option known[] = { { "wait", required_argument, NULL, 'w' }, { NULL, 0, NULL, 0 } };
	int64_t wait_s = 0;
	int o;

	optind = 0;
	opterr = 0;
	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1)
		if (o != 'w' || conv_number(slice_of(optarg), WAIT_MOST, &wait_s) < 0)
			return ctl_misused(c, argv[0], "--wait takes a number of seconds, at most %d", WAIT_MOST);
	if (optind != argc)
		return ctl_misused(c, argv[0], "no operand is wanted");
	return show(c, wait_s);
}
