/* The file of sealing keys. Its lines are secret: nothing of them reaches an error text. */
#include "cache.h"

#include "conv.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Exactly `bytes` bytes of hex. */
static bool
read_hex(struct arena *a, struct slice text, void *out, size_t bytes)
{
	struct slice got = conv_unhex(a, text);

	if (got.p == NULL || got.n != bytes)
		return false;
	memcpy(out, got.p, bytes);
	OPENSSL_cleanse((void *)(uintptr_t)got.p, got.n);
	return true;
}

static bool
read_key(struct slice line, struct cache_key *key)
{
	struct slice id, rest = line;
	struct arena *a = arena_new(4096);

	bool ok = a != NULL && slice_next(&rest, ' ', &id) && rest.p != NULL &&
	    read_hex(a, id, key->id, sizeof key->id) &&
	    read_hex(a, slice_trim(rest), key->bytes, sizeof key->bytes);
	arena_free(a);
	return ok;
}

static bool
known(const struct cache_key *keys, size_t n, const struct cache_key *key)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(keys[i].id, key->id, sizeof key->id) == 0)
			return true;
	return false;
}

static int
read_lines(FILE *f, const char *path, struct cache_key *keys, size_t *n, struct err *e)
{
	char line[256];

	*n = 0;
	for (int number = 1; fgets(line, sizeof line, f) != NULL; number++) {
		struct slice text = slice_trim(slice_of(line));
		struct cache_key key;
		if (text.n == 0 || text.p[0] == '#')
			continue;
		bool ok = read_key(text, &key);
		OPENSSL_cleanse(line, sizeof line);
		if (!ok)
			return err_set(e, ERR_CONFIG, "%s:%d: not \"id-in-8-hex key-in-64-hex\"", path, number);
		if (known(keys, *n, &key))
			return err_set(e, ERR_CONFIG, "%s:%d: a second key with the same id", path, number);
		if (*n == CACHE_KEYS_MAX)
			return err_set(e, ERR_CONFIG, "%s:%d: more than %d keys", path, number, CACHE_KEYS_MAX);
		keys[(*n)++] = key;
		OPENSSL_cleanse(&key, sizeof key);
	}
	if (ferror(f))
		return err_set(e, ERR_CONFIG, "%s cannot be read", path);
	if (*n == 0)
		return err_set(e, ERR_CONFIG, "%s has no key", path);
	return 0;
}

int
cache_read_keys(const char *path, struct cache_key *keys, size_t *n, struct err *e)
{
	FILE *f = fopen(path, "re");
	struct stat st;

	if (f == NULL)
		return err_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno));
	setvbuf(f, NULL, _IONBF, 0);	/* no copy of the keys in a buffer that is not wiped */
	int r;
	if (fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode))
		r = err_set(e, ERR_CONFIG, "%s is not a file", path);
	else if ((st.st_mode & (S_IRWXO | S_IWGRP)) != 0)
		r = err_set(e, ERR_CONFIG, "%s is open to others: mode %03o, at most 640 is allowed", path,
		    (unsigned)st.st_mode & 0777);
	else
		r = read_lines(f, path, keys, n, e);
	fclose(f);
	return r;
}
