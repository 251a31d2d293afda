/* The frame of sosigwctl: options that all commands share, finding the command, help, and what the
 * commands have in common. */
#include "ctl.h"

#include "conv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CONFIG "/etc/sosigw/sosigw.conf"
#define ARENA_CAP ((size_t)256 << 20)
#define READ_MAX (16 << 20)
#define ARGS_MAX 200

static const struct ctl_command commands[] = {
#define COMMAND(name, fn, args, help) { name, args, help, fn },
#include "ctl.def"
#undef COMMAND
};
#define NCOMMANDS (sizeof commands / sizeof *commands)

/* ---- for the commands */

static void
say(struct ctl *c, const char *fmt, va_list ap)
{
	fputs("sosigwctl: ", c->errs);
	vfprintf(c->errs, fmt, ap);
	fputc('\n', c->errs);
}

enum ctl_exit
ctl_complain(struct ctl *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, fmt, ap);
	va_end(ap);
	return CTL_FAILED;
}

enum ctl_exit
ctl_misused(struct ctl *c, const char *command, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(c, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (strcmp(commands[i].name, command) == 0)
			fprintf(c->errs, "usage: sosigwctl %s %s\n", commands[i].name, commands[i].args);
	return CTL_USAGE;
}

enum ctl_exit
ctl_failed(struct ctl *c, const char *doing, const struct err *e)
{
	/* SQLSTATE of a table that is not there */
	bool no_schema = e->kind == ERR_DATABASE && strstr(e->detail, "42P01") != NULL;

	ctl_complain(c, "%s: %s%s", doing, e->detail[0] != '\0' ? e->detail : err_name(e->kind),
	    no_schema ? "; run `sosigwctl migrate` first" : "");
	return e->kind == ERR_CONFLICT ? CTL_CONFLICT : CTL_FAILED;
}

const struct conf_file *
ctl_file(struct ctl *c)
{
	struct err e = { 0 };

	if (c->file == NULL && conf_file_read(c->config, &c->file, &e) < 0)
		ctl_failed(c, "static file", &e);
	return c->file;
}

struct db *
ctl_db(struct ctl *c)
{
	const struct conf_file *file = ctl_file(c);

	if (file == NULL || c->db != NULL)
		return c->db;
	c->db = db_new(&(struct db_conf){ .conninfo = file->database, .connections = 2, .connect_ms = 5000,
	    .statement_ms = 60000, .wait_ms = 5000 });
	if (c->db == NULL)
		ctl_complain(c, "out of memory");
	return c->db;
}

struct db *
ctl_patient_db(struct ctl *c, unsigned statement_ms)
{
	const struct conf_file *file = ctl_file(c);

	if (file == NULL)
		return NULL;
	struct db *db = db_new(&(struct db_conf){ .conninfo = file->database, .connections = 1, .connect_ms = 5000,
	    .statement_ms = statement_ms, .wait_ms = 5000 });
	if (db == NULL)
		ctl_complain(c, "out of memory");
	return db;
}

int
ctl_read(struct ctl *c, const char *path, struct slice *out)
{
	bool from_in = strcmp(path, "-") == 0;
	FILE *f = from_in ? c->in : fopen(path, "re");
	char *room = arena_alloc(c->a, READ_MAX);

	if (f == NULL || room == NULL) {
		ctl_complain(c, "%s: %s", path, f == NULL ? strerror(errno) : "out of memory");
		if (f != NULL && !from_in)
			fclose(f);
		return -1;
	}
	size_t n = fread(room, 1, READ_MAX, f);
	bool bad = ferror(f) != 0;
	if (!from_in)
		fclose(f);
	if (bad || n == READ_MAX) {
		ctl_complain(c, "%s %s", path, bad ? "cannot be read" : "is too large");
		return -1;
	}
	*out = (struct slice){ room, n };
	return 0;
}

void
ctl_put_json(FILE *f, struct slice text)
{
	bool utf8 = conv_is_utf8(text);

	if (text.p == NULL) {
		fputs("null", f);
		return;
	}
	fputc('"', f);
	for (size_t i = 0; i < text.n; i++) {
		unsigned char b = (unsigned char)text.p[i];
		if (b < 0x20 || b == 0x7f)
			fprintf(f, "\\u%04x", b);
		else if (b == '"' || b == '\\')
			fprintf(f, "\\%c", b);
		else
			fputc(b >= 0x80 && !utf8 ? '?' : b, f);
	}
	fputc('"', f);
}

/* C1 controls are two bytes in UTF-8: c2 80 to c2 9f. */
void
ctl_put_text(FILE *f, struct slice text)
{
	if (text.p == NULL || text.n == 0) {
		fputc('-', f);
		return;
	}
	for (size_t i = 0; i < text.n; i++) {
		unsigned char b = (unsigned char)text.p[i];
		bool c1 = b == 0xc2 && i + 1 < text.n && (unsigned char)text.p[i + 1] < 0xa0;
		fputc(b < 0x20 || b == 0x7f || c1 ? '?' : b, f);
		i += c1;
	}
}

/* ---- the frame */

/* All commands, or those whose name begins with `word`. false: there are none. */
static bool
help(FILE *f, const char *word)
{
	bool any = false;

	for (size_t i = 0; i < NCOMMANDS; i++) {
		const struct ctl_command *k = &commands[i];
		if (word != NULL && (strncmp(k->name, word, strlen(word)) != 0 ||
		    (k->name[strlen(word)] != ' ' && k->name[strlen(word)] != '\0')))
			continue;
		fprintf(f, "  sosigwctl %s%s%s\n        %s\n", k->name, k->args[0] == '\0' ? "" : " ", k->args, k->help);
		any = true;
	}
	return any;
}

static void
whole_help(FILE *f)
{
	fputs("usage: sosigwctl [--config FILE] [--json] COMMAND ...\n\n", f);
	help(f, NULL);
	fputs("\n  --config FILE   the static file (default " DEFAULT_CONFIG ")\n"
	    "  --json          listings as JSON\n"
	    "FILE may be - for standard input. Exit: 0 done, 1 refused or failed, 2 misused, 3 conflict or different.\n", f);
}

struct shared { bool help, version; };

/* Takes the options that every command has out of argv, wherever they stand before "--". */
static int
take_shared(struct ctl *c, struct shared *s, int argc, char **argv, char **left)
{
	int n = 0;
	bool more = true;

	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		if (more && strcmp(arg, "--json") == 0)
			c->json = true;
		else if (more && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0))
			s->help = true;
		else if (more && strcmp(arg, "--version") == 0)
			s->version = true;
		else if (more && strncmp(arg, "--config=", 9) == 0)
			c->config = arg + 9;
		else if (more && strcmp(arg, "--config") == 0 && i + 1 < argc)
			c->config = argv[++i];
		else
			left[n++] = argv[i];
		more = more && strcmp(arg, "--") != 0;
	}
	left[n] = NULL;
	return n;
}

/* The command that args begin with; *words: how many of them are its name. */
static const struct ctl_command *
find(int n, char **args, int *words)
{
	char two[64];

	for (*words = n >= 2 ? 2 : n; *words > 0; --*words) {
		snprintf(two, sizeof two, *words == 2 ? "%s %s" : "%s", args[0], *words == 2 ? args[1] : "");
		for (size_t i = 0; i < NCOMMANDS; i++)
			if (strcmp(commands[i].name, two) == 0)
				return &commands[i];
	}
	return NULL;
}

static enum ctl_exit
dispatch(struct ctl *c, const struct shared *s, int n, char **args)
{
	int words;
	const struct ctl_command *k = find(n, args, &words);

	if (s->version) {
		fprintf(c->out, "sosigwctl %s\n", SOSIGW_VERSION);
		return CTL_OK;
	}
	if (n > 0 && strcmp(args[0], "help") == 0) {
		if (n == 1 || !help(c->out, args[1]))
			whole_help(c->out);
		return CTL_OK;
	}
	if (s->help) {
		if (n == 0 || !help(c->out, k != NULL ? k->name : args[0]))
			whole_help(c->out);
		return CTL_OK;
	}
	if (n > 0 && strcmp(args[0], "--config") == 0) {
		ctl_complain(c, "--config wants a file");
		return CTL_USAGE;
	}
	if (k == NULL) {
		if (n > 0)
			fprintf(c->errs, "sosigwctl: there is no command \"%s%s%s\"\n", args[0], n > 1 ? " " : "",
			    n > 1 ? args[1] : "");
		if (n == 0 || !help(c->errs, args[0]))
			whole_help(c->errs);
		return CTL_USAGE;
	}
	char name[64];
	snprintf(name, sizeof name, "%s", k->name);
	args[words - 1] = name;
	return k->fn(c, n - words + 1, args + words - 1);
}

enum ctl_exit
ctl_run(int argc, char **argv, FILE *in, FILE *out, FILE *errs)
{
	struct ctl c = { .config = DEFAULT_CONFIG, .in = in, .out = out, .errs = errs, .a = arena_new(ARENA_CAP) };
	struct shared shared = { false, false };
	char *args[ARGS_MAX + 1];

	if (c.a == NULL || argc > ARGS_MAX) {
		ctl_complain(&c, c.a == NULL ? "out of memory" : "too many arguments");
		arena_free(c.a);
		return CTL_FAILED;
	}
	int n = take_shared(&c, &shared, argc, argv, args);
	enum ctl_exit code = dispatch(&c, &shared, n, args);
	if (fflush(out) == EOF || ferror(out))
		code = ctl_complain(&c, "the output could not be written");
	db_free(c.db);
	conf_file_free(c.file);
	arena_free(c.a);
	return code;
}
