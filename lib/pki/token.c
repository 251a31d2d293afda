/* OpenSSL 3.0 has no provider for PKCS#11 of its own, and Debian 12 has none either: what is there is the engine of
 * libp11. Engines are deprecated but work; when a provider takes over, this file is what changes.
 *
 * Which module it opens the environment says: PKCS11_MODULE_PATH, else p11-kit's list.
 *
 * A module looks at its tokens when it is opened. SoftHSM writes a token's file anew at each login, without a lock for
 * those who read it: when several workers start at once, one of them may find the file half written, and then for
 * that process the token is not there ("object not found", "General Error") as long as the module is open. Hence the
 * attempts, and the module opened anew between them; with some other token the same helps when it was just plugged in. */
#include "token.h"

#include "rand.h"

#include <openssl/crypto.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/ui.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define PIN_MAX 255
#define ATTEMPTS 4
#define PAUSE_MS 80	/* before the second one; half of it at least, at random, and more each time */
/* PKCS#11's own numbers are the reasons of the engine's errors. */
#define CKR_PIN_INCORRECT 0xa0
#define CKR_PIN_LOCKED 0xa4

struct token {
	ENGINE *engine;		/* NULL: closed */
	bool used;		/* has given a key: it may be in use, so the engine must stay open */
};

static int
open_engine(struct token *t, struct err *e)
{
	t->engine = ENGINE_by_id("pkcs11");
	if (t->engine != NULL && ENGINE_init(t->engine) == 1)
		return 0;
	ENGINE_free(t->engine);
	t->engine = NULL;
	ERR_clear_error();
	return err_set(e, ERR_SYSTEM_KEY, "OpenSSL has no engine for PKCS#11 (Debian: libengine-pkcs11-openssl)");
}

static void
close_engine(struct token *t)
{
	if (t->engine == NULL)
		return;
	ENGINE_finish(t->engine);
	ENGINE_free(t->engine);
	t->engine = NULL;
}

struct token *
token_open(struct err *e)
{
	struct token *t = calloc(1, sizeof *t);

	if (t == NULL)
		err_set(e, ERR_MEMORY, "token");
	else if (open_engine(t, e) < 0) {
		free(t);
		t = NULL;
	}
	return t;
}

void
token_close(struct token *t)
{
	if (t == NULL)
		return;
	close_engine(t);
	free(t);
}

/* Not in the URI, which the engine writes to stderr when something is wrong. Without a PIN an empty one takes the place
 * of what another token was opened with. */
static bool
set_pin(struct token *t, struct slice pin)
{
	char text[PIN_MAX + 1] = "";

	if (pin.n > PIN_MAX)
		return false;
	if (pin.p != NULL)
		memcpy(text, pin.p, pin.n);
	bool done = ENGINE_ctrl_cmd_string(t->engine, "PIN", text, 0) == 1;
	OPENSSL_cleanse(text, sizeof text);
	return done;
}

/* The first error is the cause; the rest is who passed it on. */
static int
failure(const char *uri, bool *refused, struct err *e)
{
	unsigned long first = ERR_peek_error(), code;
	const char *why = ERR_reason_error_string(first);

	err_set(e, ERR_SYSTEM_KEY, "%s: %s", uri, why != NULL ? why : "no such key, or the token is not there");
	while ((code = ERR_get_error()) != 0)
		if (ERR_GET_REASON(code) == CKR_PIN_INCORRECT || ERR_GET_REASON(code) == CKR_PIN_LOCKED)
			*refused = true;
	return -1;
}

static int
attempt(struct token *t, const char *uri, struct slice pin, EVP_PKEY **key, bool *refused, struct err *e)
{
	ERR_clear_error();
	if (t->engine == NULL && open_engine(t, e) < 0)
		return -1;
	if (!set_pin(t, pin))
		return err_set(e, ERR_SYSTEM_KEY, "%s: a PIN that cannot be one", uri);
	/* that UI asks nobody; it is not written to, though its type says so */
	*key = ENGINE_load_private_key(t->engine, uri, (UI_METHOD *)(uintptr_t)UI_null(), NULL);
	if (*key == NULL)
		return failure(uri, refused, e);
	ERR_clear_error();
	t->used = true;
	return 0;
}

/* Workers that start together shall not try again together. */
static void
pause_before(unsigned next)
{
	const unsigned most = PAUSE_MS * next;
	uint8_t r;

	rand_bytes(&r, sizeof r);
	unsigned ms = most / 2 + most / 2 * r / 255;
	nanosleep(&(struct timespec){ .tv_nsec = (long)ms * 1000000 }, NULL);
}

int
token_load(struct token *t, const char *uri, struct slice pin, EVP_PKEY **key, bool *refused, struct err *e)
{
	*refused = false;
	*key = NULL;
	for (unsigned i = 1; ; i++) {
		struct err why = { .kind = ERR_NONE };
		if (attempt(t, uri, pin, key, refused, &why) == 0)
			return 0;
		/* a token that counts wrong PINs is asked once */
		if (*refused || i == ATTEMPTS)
			return err_set(e, why.kind, "%s", why.detail);
		if (!t->used)
			close_engine(t);
		pause_before(i);
	}
}
