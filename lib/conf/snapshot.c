/* {"revision": 7, "created": "...", "document": {...}}; only the housekeeper writes it. */
#include "snapshot.h"

#include "buf.h"
#include "file.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define NAME "configuration.json"
#define PATH_BYTES 4096
#define SNAPSHOT_MAX (32 << 20)

static int
path_of(const char *state, char out[PATH_BYTES], struct err *e)
{
	return snprintf(out, PATH_BYTES, "%s/" NAME, state) < PATH_BYTES ? 0 :
	    err_set(e, ERR_CONFIG, "the state folder's path is too long");
}

static int
take(json_t *whole, struct arena *a, struct snapshot *out)
{
	json_int_t revision;
	const char *created;
	json_t *document;

	if (json_unpack(whole, "{s:I, s:s, s:o !}", "revision", &revision, "created", &created, "document",
	    &document) < 0)
		return -1;
	char *text = json_dumps(document, 0);
	*out = (struct snapshot){ revision, arena_dup(a, slice_of(created)), arena_dup(a, slice_of(text)) };
	free(text);
	return out->created.p == NULL || out->document.p == NULL ? -1 : 0;
}

int
snapshot_read(const char *state, struct arena *a, struct snapshot *out, struct err *e)
{
	char path[PATH_BYTES];
	json_error_t wrong;

	if (path_of(state, path, e) < 0)
		return -1;
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_CONFIG, "%s: %s", path, strerror(errno));
	json_t *whole = json_loadf(f, JSON_REJECT_DUPLICATES, &wrong);
	fclose(f);
	int done = whole != NULL && take(whole, a, out) == 0 ? 0 :
	    err_set(e, ERR_CONFIG, "%s is no snapshot of a configuration", path);
	json_decref(whole);
	return done;
}

int
snapshot_write(const char *state, const struct snapshot *s, struct err *e)
{
	char path[PATH_BYTES];
	struct buf b;

	if (path_of(state, path, e) < 0)
		return -1;
	buf_init(&b, SNAPSHOT_MAX);
	buf_printf(&b, "{\"revision\": %" PRId64 ", \"created\": \"", s->revision);
	buf_put(&b, s->created);	/* PostgreSQL's form of a time: nothing to escape */
	buf_puts(&b, "\", \"document\":\n");
	buf_put(&b, s->document);
	buf_puts(&b, "}\n");
	int done = b.failed ? err_set(e, ERR_MEMORY, "snapshot") : file_replace(path, buf_slice(&b), e);
	buf_free(&b);
	return done;
}
