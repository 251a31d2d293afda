/* The static file, read by inih. file.def says what may stand in it. */
#include "conf.h"

#include "conv.h"

#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_CAP (1 << 20)
/* inih reads lines into INI_MAX_LINE bytes and takes what is beyond for another line. */
#define LONGEST (INI_MAX_LINE - 2)

enum kind { WORD, TEXT, PATH, NODES, MOVING, NUMBER, YES_NO };
struct setting {
	const char *section, *name;
	enum kind kind;
	size_t at;
	const char *otherwise;		/* NULL: may be left out and stays unset */
	bool required;
	int64_t least, most;
};
static const struct setting settings[] = {
#define SETTING(section, name, kind, member, otherwise, required, least, most) \
	{ #section, #name, kind, offsetof(struct conf_file, member), otherwise, required, least, most },
#include "file.def"
#undef SETTING
};
#define NSETTINGS (sizeof settings / sizeof *settings)

struct whole {		/* the file's arena goes with it */
	struct conf_file file;
	struct arena *a;
};

struct reading {
	struct arena *a;
	struct slice values[NSETTINGS];
	size_t last;			/* the setting of the line before */
	char problem[200];		/* of the first line that inih will report */
};

static size_t
find(const char *section, const char *name)
{
	size_t i = 0;

	while (i < NSETTINGS && (strcmp(settings[i].section, section) != 0 || strcmp(settings[i].name, name) != 0))
		i++;
	return i;
}

/* inih's handler: 0 refuses the line. An indented line goes on with the value above it. */
static int
on_line(void *ctx, const char *section, const char *name, const char *value)
{
	struct reading *r = ctx;
	size_t i = find(section, name);

	if (r->problem[0] != '\0')
		return 0;
	if (i == NSETTINGS) {
		snprintf(r->problem, sizeof r->problem, "there is no setting \"%.60s\" in [%.60s]", name, section);
		return 0;
	}
	if (r->values[i].p != NULL && r->last != i) {
		snprintf(r->problem, sizeof r->problem, "\"%s\" is set twice", name);
		return 0;
	}
	r->last = i;
	r->values[i] = r->values[i].p == NULL ? arena_dup(r->a, slice_of(value)) :
	    arena_printf(r->a, "%.*s %s", SLICE_FMT(r->values[i]), value);
	return r->values[i].p != NULL;
}

/* "host:port@zone"; the port may be left out, the zone too; "[::1]:11211"; "/path@zone" */
static int
read_node(struct arena *a, struct slice text, struct conf_node *out)
{
	struct slice rest = text, host;
	int64_t port = 11211;

	slice_next(&rest, '@', &host);
	*out = (struct conf_node){ .zone = arena_cstr(a, rest) };
	if (rest.p != NULL && rest.n == 0)
		return -1;
	if (slice_starts(host, S("/"))) {
		out->host = arena_cstr(a, host);
		return out->host == NULL ? -1 : 0;
	}
	struct slice number = { NULL, 0 };
	if (slice_starts(host, S("["))) {
		ptrdiff_t end = slice_find(host, S("]"));
		if (end < 0)
			return -1;
		number = slice_from(host, (size_t)end + 1);
		if (number.n > 0 && number.p[0] != ':')
			return -1;
		number = number.n == 0 ? (struct slice){ NULL, 0 } : slice_from(number, 1);
		host = (struct slice){ host.p + 1, (size_t)end - 1 };
	} else {
		rest = host;
		slice_next(&rest, ':', &host);
		number = rest;
	}
	if (host.n == 0 || (number.p != NULL && (conv_number(number, 65535, &port) < 0 || port == 0)))
		return -1;
	out->host = arena_cstr(a, host);
	out->port = (uint16_t)port;
	return out->host == NULL ? -1 : 0;
}

/* Behind those that are there. */
static int
read_nodes(struct arena *a, struct slice text, bool moving, struct conf_file *out, struct err *e)
{
	struct slice rest = text, word;
	size_t n = out->ncache_nodes, most = n + text.n / 2 + 1;
	struct conf_node *nodes = arena_alloc(a, most * sizeof *nodes);

	if (nodes == NULL)
		return err_set(e, ERR_MEMORY, "nodes");
	if (n > 0)
		memcpy(nodes, out->cache_nodes, n * sizeof *nodes);
	while (slice_next(&rest, ' ', &word)) {
		word = slice_trim(word);
		if (word.n == 0)
			continue;
		if (read_node(a, word, &nodes[n]) < 0)
			return err_set(e, ERR_CONFIG, "[cache] %s: \"%.*s\" is not host:port@zone",
			    moving ? "moving" : "nodes", SLICE_FMT(word));
		nodes[n++].moving = moving;
	}
	out->cache_nodes = nodes;
	out->ncache_nodes = n;
	return n > 0 ? 0 : err_set(e, ERR_CONFIG, "[cache] nodes: none is named");
}

/* Stores one value in its place. */
static int
store(struct arena *a, const struct setting *s, struct slice value, struct conf_file *out, struct err *e)
{
	char *place = (char *)out + s->at;
	int64_t n;

	switch (s->kind) {
	case WORD:
		if (value.n == 0 || strcspn(value.p, " \t\"") < value.n)
			return err_set(e, ERR_CONFIG, "[%s] %s: must be one word", s->section, s->name);
		break;
	case PATH:
		if (!slice_starts(value, S("/")))
			return err_set(e, ERR_CONFIG, "[%s] %s: must be a path from /", s->section, s->name);
		break;
	case TEXT:
		break;
	case NODES:
	case MOVING:
		return read_nodes(a, value, s->kind == MOVING, out, e);
	case NUMBER:
		if (conv_number(value, s->most, &n) < 0 || n < s->least)
			return err_set(e, ERR_CONFIG, "[%s] %s: must be a number from %lld to %lld", s->section,
			    s->name, (long long)s->least, (long long)s->most);
		*(unsigned *)(void *)place = (unsigned)n;
		return 0;
	case YES_NO:
		if (!slice_is(value, "yes") && !slice_is(value, "no"))
			return err_set(e, ERR_CONFIG, "[%s] %s: must be yes or no", s->section, s->name);
		*(bool *)(void *)place = slice_is(value, "yes");
		return 0;
	}
	const char *text = arena_cstr(a, value);
	*(const char **)(void *)place = text;
	return text == NULL ? err_set(e, ERR_MEMORY, "static file") : 0;
}

static int
check_lines(FILE *f, const char *path, struct err *e)
{
	size_t line = 1, column = 0;
	int c;

	while ((c = getc(f)) != EOF) {
		if (c == '\0')
			return err_set(e, ERR_CONFIG, "%s:%zu: a NUL byte", path, line);
		column = c == '\n' ? 0 : column + 1;
		line += c == '\n';
		if (column > LONGEST)
			return err_set(e, ERR_CONFIG, "%s:%zu: longer than %d characters; go on in the next line, indented",
			    path, line, LONGEST);
	}
	rewind(f);
	return ferror(f) ? err_set(e, ERR_CONFIG, "%s: cannot be read", path) : 0;
}

static int
read_lines(const char *path, struct reading *r, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return err_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno));
	int done = check_lines(f, path, e);
	if (done == 0) {
		int line = ini_parse_file(f, on_line, r);
		if (line != 0)
			done = err_set(e, ERR_CONFIG, "%s:%d: %s", path, line, r->problem[0] != '\0' ? r->problem :
			    "neither [section] nor name = value");
	}
	fclose(f);
	return done;
}

static int
own_name(struct arena *a, struct conf_file *out, struct err *e)
{
	char name[256];

	if (out->server != NULL)
		return 0;
	if (gethostname(name, sizeof name) < 0)
		return err_set(e, ERR_CONFIG, "host name: %s", strerror(errno));
	name[sizeof name - 1] = '\0';
	out->server = arena_cstr(a, slice_of(name));
	return out->server == NULL ? err_set(e, ERR_MEMORY, "static file") : 0;
}

static int
fill(const char *path, struct whole *w, struct err *e)
{
	struct reading r = { .a = w->a, .last = NSETTINGS };

	if (read_lines(path, &r, e) < 0)
		return -1;
	for (size_t i = 0; i < NSETTINGS; i++) {
		const struct setting *s = &settings[i];
		struct slice value = r.values[i].p != NULL ? r.values[i] : slice_of(s->otherwise);
		if (value.p == NULL && s->required)
			return err_set(e, ERR_CONFIG, "%s: \"%s\" is missing in [%s]", path, s->name, s->section);
		struct err why = { 0 };
		if (value.p != NULL && store(w->a, s, value, &w->file, &why) < 0)
			return err_set(e, why.kind, "%s: %s", path, why.detail);
	}
	return own_name(w->a, &w->file, e);
}

int
conf_file_read(const char *path, struct conf_file **out, struct err *e)
{
	struct arena *a = arena_new(FILE_CAP);
	struct whole *w = a == NULL ? NULL : arena_alloc(a, sizeof *w);

	if (w == NULL) {
		arena_free(a);
		return err_set(e, ERR_MEMORY, "static file");
	}
	w->a = a;
	if (fill(path, w, e) < 0) {
		arena_free(a);
		return -1;
	}
	*out = &w->file;
	return 0;
}

void
conf_file_free(struct conf_file *f)
{
	if (f != NULL)
		arena_free(((struct whole *)(void *)f)->a);
}
