#include "edge.h"

#include "log.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENA_MAX (16u << 20)
#define DB_CONNECTIONS 4

static struct db_conf
database(const struct conf_file *f)
{
	return (struct db_conf){ .conninfo = f->database, .connections = DB_CONNECTIONS,
		.connect_ms = 2000, .statement_ms = 2000, .wait_ms = 1000 };
}

static int
open_cards(struct edge *w, struct err *e)
{
	struct db_conf dbconf = database(w->file);
	char path[4096], list[4096];

	if (cards_list_file(w->file, list, sizeof list, e) < 0)
		return -1;
	if (snprintf(path, sizeof path, "%s/revoked.bin", w->file->state) >= (int)sizeof path)
		return err_set(e, ERR_CONFIG, "state folder's name is too long");
	w->db = db_new(&dbconf);
	w->revoked = pki_revoked_open(path);
	if (w->db == NULL || w->revoked == NULL)
		return err_set(e, ERR_MEMORY, "database and revocation list");
	struct cards_conf conf = { .cache = w->cache, .db = w->db, .revoked = w->revoked, .listen = &dbconf,
		.file = list };
	w->cards = cards_new(&conf, e);
	return w->cards == NULL ? -1 : 0;
}

int
edge_open(struct edge *w, const char *config_file, const char *program, struct err *e)
{
	*w = (struct edge){ .file = NULL };
	if (conf_file_read(config_file, &w->file, e) < 0 ||
	    log_open(w->file->log, program, LOG_INFO, e) < 0 ||
	    (w->cache = cards_open_cache(w->file, e)) == NULL || open_cards(w, e) < 0)
		return -1;
	w->http = http_new(w->file->threads);
	w->failures = access_failures_new();
	if (w->http == NULL || w->failures == NULL)
		return err_set(e, ERR_MEMORY, "http and failures");
	w->audit = audit_open(w->file->journal, w->file->server, program, w->file->journal_sync, e);
	if (w->audit == NULL)
		return -1;
	audit_limit(w->audit, w->file->journal_stop);
	w->live = conf_live_start(w->file, false, e);
	return w->live == NULL ? -1 : 0;
}

static void
write_formats(void *ctx, int card, int journal)
{
	struct edge *w = ctx;

	cards_write_format(w->cards, card);
	audit_write_format(w->audit, journal);
}

static void
tell_counts(void *ctx, struct cluster_program *self)
{
	struct edge *w = ctx;

	self->signatures_sha1 = atomic_load_explicit(&w->signatures.sha1, memory_order_relaxed);
	self->signatures_sha2 = atomic_load_explicit(&w->signatures.sha2, memory_order_relaxed);
}

/* "proxy-1" of /run/sosigw/proxy-1.sock; a socket that does not say the program is put behind it. */
static void
name_program(char *out, size_t size, const char *program, const char *listen)
{
	const char *base = strrchr(listen, '/') != NULL ? strrchr(listen, '/') + 1 : listen;
	size_t n = strlen(base);

	if (n > 5 && strcmp(base + n - 5, ".sock") == 0)
		n -= 5;
	bool says = strncmp(base, program, strlen(program)) == 0;
	snprintf(out, size, "%s%s%.*s", says ? "" : program, says ? "" : " ", (int)n, base);
}

int
edge_appear(struct edge *w, const char *program, const char *listen, struct err *e)
{
	char name[128];

	name_program(name, sizeof name, program, listen);
	const struct cluster_presence_conf conf = { .db = w->db, .live = w->live, .file = w->file, .program = name,
		.on_formats = write_formats, .on_beat = tell_counts, .ctx = w };

	dsig_count_in(&w->signatures);	/* no thread of ours verifies yet */
	w->presence = cluster_appear(&conf, e);
	return w->presence == NULL ? -1 : 0;
}

void
edge_close(struct edge *w)
{
	while (!cluster_vanish(w->presence, INT32_MAX))
		;
	if (w->live != NULL)
		conf_live_stop(w->live);
	if (w->audit != NULL) {
		edge_audit_sums(w, INT64_MAX);
		audit_close(w->audit);
	}
	access_failures_free(w->failures);
	http_free(w->http);
	if (w->cards != NULL)
		cards_free(w->cards);
	if (w->revoked != NULL)
		pki_revoked_close(w->revoked);
	if (w->db != NULL)
		db_free(w->db);
	if (w->cache != NULL)
		cache_free(w->cache);
	if (w->file != NULL)
		conf_file_free(w->file);
}

/* ---- main */

static struct fcgi *serving;	/* for the signal handlers alone */

static void
on_stop(int sig)
{
	(void)sig;
	fcgi_stop(serving);
}

static void
on_reopen(int sig)
{
	(void)sig;
	log_reopen();
}

static void
set_signals(void)
{
	struct sigaction sa = { .sa_flags = SA_RESTART };

	sigemptyset(&sa.sa_mask);
	sa.sa_handler = on_stop;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sa.sa_handler = on_reopen;
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
}

struct options {
	const char *config, *listen;
};

static int
read_options(const char *name, int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "listen", required_argument, NULL, 'l' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	*o = (struct options){ .config = "/etc/sosigw/sosigw.conf" };
	while ((c = getopt_long(argc, argv, "c:l:v", known, NULL)) != -1)
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'l':
			o->listen = optarg;
			break;
		case 'v':
			printf("%s (SOSI-GW) %s\n", name, SOSIGW_VERSION);
			return 1;
		default:
			return -1;
		}
	return o->listen != NULL && optind == argc ? 0 : -1;
}

/* One request of the program's, or a refusal when it is too busy. */
struct served {
	const struct edge_program *program;
	struct edge edge;
	void *app;
};

static void
handle(void *ctx, struct req *r)
{
	struct served *s = ctx;

	s->program->handle(s->app, r);
}

static void
refuse(void *ctx, struct req *r)
{
	struct served *s = ctx;

	if (s->program->refuse != NULL)
		s->program->refuse(s->app, r);
	else
		edge_refuse_busy(&s->edge, s->program->kind, r);
}

/* Some requests outlast the drain: what they use cannot be freed under them. The journal holds what they were
 * about, and the kernel closes their connections, which look cut. */
static void
leave_at_once(const struct err *e)
{
	log_err(LOG_WARN, "stop", (struct slice){ NULL, 0 }, e);
	_exit(1);
}

static int
serve(struct served *s, const struct options *o, struct err *e)
{
	const struct conf_file *f = s->edge.file;
	const struct fcgi_conf conf = {
		.listen = o->listen, .threads = f->threads, .queue = f->queue, .queue_ms = f->queue_ms,
		.arena_cap = ARENA_MAX, .handle = handle, .refuse = refuse, .ctx = s,
	};

	s->app = s->program->start(&s->edge, e);
	if (s->app == NULL)
		return -1;
	serving = fcgi_new(&conf, e);
	int rc = -1;
	if (serving != NULL) {
		set_signals();
		log_msg(LOG_INFO, "start", "version %s, listening on %s", SOSIGW_VERSION, o->listen);
		rc = fcgi_run(serving, f->drain_ms, e);
		if (rc < 0)
			leave_at_once(e);
		fcgi_free(serving);
	}
	s->program->stop(s->app);
	return rc;
}

int
edge_main(const struct edge_program *p, int argc, char **argv)
{
	struct served s = { .program = p };
	struct err e = { .kind = ERR_NONE };
	struct options o;

	int rc = read_options(p->name, argc, argv, &o);
	if (rc > 0)
		return 0;
	if (rc < 0) {
		fprintf(stderr, "usage: %s [--config FILE] --listen SOCKET\n", p->name);
		return 2;
	}
	xml_init();
	if (dsig_init(&e) < 0 || edge_open(&s.edge, o.config, p->name, &e) < 0 ||
	    edge_appear(&s.edge, p->name, o.listen, &e) < 0 || serve(&s, &o, &e) < 0)
		log_err(LOG_ERROR, "stop", (struct slice){ NULL, 0 }, &e);
	else
		log_msg(LOG_INFO, "stop", "drained");
	edge_close(&s.edge);
	return e.kind == ERR_NONE ? 0 : 1;
}
