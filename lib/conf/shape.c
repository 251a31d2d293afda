/* The table below is the document: names, kinds, bounds and defaults, in the order of the normal
 * form. A value is checked here as far as it can be on its own; what concerns several values
 * (references, ids twice) is in conf.c. Values are never quoted in messages: a secret may have been
 * put in the wrong place. */
#include "shape.h"

#include "conf.h"
#include "uri.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DOCUMENT_MAX (8 << 20)
#define LIST_MAX 5000
#define PROBLEMS_MAX 100
#define WIDTH 100	/* a list of plain values that fits stays on one line */

enum kind { END, BOOL, INT, TEXT, TEXTS, OBJECT, OBJECTS };
enum need { OPTIONAL, REQUIRED, OR_NULL };	/* OR_NULL: the default is null, and null may be given */

struct member {
	const char *name;
	enum kind kind;
	enum need need;
	int64_t least, most, otherwise;		/* INT; otherwise: BOOL too */
	const char *text;			/* TEXT: its default; NULL: as "id" */
	const char *(*check)(struct slice);	/* TEXT, TEXTS: what is wrong with it, or NULL */
	const struct member *members;		/* OBJECT, OBJECTS */
};

/* ---- checks of one value */

static bool
only(struct slice s, bool (*allowed)(unsigned char))
{
	for (size_t i = 0; i < s.n; i++)
		if (!allowed((unsigned char)s.p[i]))
			return false;
	return true;
}

static bool
in_id(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

static bool
in_hex(unsigned char c)
{
	return (c >= 'a' && c <= 'f') || (c >= '0' && c <= '9');
}

static bool
in_digits(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static bool
in_line(unsigned char c)
{
	return c >= 0x20 && c != 0x7f;
}

static bool
in_uri(unsigned char c)
{
	return c > 0x20 && c < 0x7f;
}

static bool
in_ncname(unsigned char c)
{
	return isalnum(c) || c == '_' || c == '-' || c == '.';
}

static const char *
check_id(struct slice s)
{
	return s.n >= 1 && s.n <= 64 && only(s, in_id) ? NULL : "must be 1 to 64 of a-z, 0-9 and -";
}

static const char *
check_reference(struct slice s)
{
	return check_id(s) == NULL ? NULL : "must be the id of an organisation";
}

static const char *
check_name(struct slice s)
{
	return s.n >= 1 && s.n <= 200 && only(s, in_line) ? NULL : "must be 1 to 200 bytes without line breaks";
}

static const char *
check_cvr(struct slice s)
{
	return s.n == 8 && only(s, in_digits) ? NULL : "must be 8 digits";
}

static const char *
check_hash(struct slice s)
{
	return slice_is(s, "sha1") || slice_is(s, "sha256") ? NULL : "must be \"sha1\" or \"sha256\"";
}

static const char *
check_auth(struct slice s)
{
	return slice_is(s, "secret") || slice_is(s, "address") || slice_is(s, "certificate") ? NULL :
	    "must be \"secret\", \"address\" or \"certificate\"";
}

static const char *
check_unchecked(struct slice s)
{
	return slice_is(s, "refuse") || slice_is(s, "accept") ? NULL : "must be \"refuse\" or \"accept\"";
}

static const char *
check_language(struct slice s)
{
	return slice_is(s, "da") || slice_is(s, "en") ? NULL : "must be \"da\" or \"en\"";
}

static const char *
check_address(struct slice s)
{
	struct conf_address ignored;

	return conf_address_parse(s, &ignored) == 0 ? NULL :
	    "must be an address or a range like 10.0.0.0/8 or 2001:db8::/32 (bits behind the prefix are zero)";
}

static const char *
check_secret(struct slice s)
{
	return s.n == 7 + 64 && slice_starts(s, S("sha256:")) && only(slice_from(s, 7), in_hex) ? NULL :
	    "must be \"sha256:\" and 64 lower-case hex digits, as `sosigwctl secret new` makes it";
}

static const char *
check_fingerprint(struct slice s)
{
	return s.n == 64 && only(s, in_hex) ? NULL :
	    "must be the SHA-256 of the certificate's DER, 64 lower-case hex digits without colons";
}

static const char *
check_url(struct slice s)
{
	struct uri ignored;

	return s.n <= 1000 && uri_parse(s, &ignored) == 0 ? NULL :
	    "must be http:// or https://, host and path, without user, fragment or white space";
}

static const char *
check_origin(struct slice s)
{
	struct uri u;

	return s.n <= 300 && uri_parse(s, &u) == 0 && u.path.n == 0 ? NULL :
	    "must be http:// or https:// and a host, with nothing behind it";
}

static const char *
check_path(struct slice s)
{
	return s.n >= 2 && s.n <= 1000 && s.p[0] == '/' && only(s, in_line) ? NULL : "must be a path from /";
}

/* saml:Issuer of a SOSI card is an xs:NCName; of those, the plain ones. */
static const char *
check_issuer(struct slice s)
{
	return s.n >= 1 && s.n <= 100 && only(s, in_ncname) && (isalpha((unsigned char)s.p[0]) || s.p[0] == '_') ?
	    NULL : "must begin with a letter and hold letters, digits and - . _ only";
}

/* RFC 7512. A PIN does not belong in the configuration, and which module is used is not the document's to say: it
 * is code that would be loaded. */
static const char *
check_pkcs11(struct slice s)
{
	if (s.n < 8 || s.n > 1000 || !slice_starts(s, S("pkcs11:")) || !only(s, in_uri))
		return "must be a pkcs11: URI";
	return slice_find(s, S("pin-value")) < 0 && slice_find(s, S("pin-source")) < 0 &&
	    slice_find(s, S("module-")) < 0 ? NULL :
	    "must name neither PIN nor module: password_file holds the PIN, the environment of the workers names the module";
}

static const char *
check_pem(struct slice s)
{
	return slice_find(s, S("PRIVATE KEY")) < 0 ? NULL :
	    "holds a private key: that never belongs in the configuration; replace that key";
}

/* ---- the table */

#define B(name, otherwise) { name, BOOL, OPTIONAL, 0, 0, otherwise, NULL, NULL, NULL }
#define N(name, least, most, otherwise) { name, INT, OPTIONAL, least, most, otherwise, NULL, NULL, NULL }
#define T(name, need, otherwise, check) { name, TEXT, need, 0, 0, 0, otherwise, check, NULL }
#define LIST(name, check) { name, TEXTS, OPTIONAL, 0, 0, 0, NULL, check, NULL }
#define MANY(name, members) { name, OBJECTS, OPTIONAL, 0, 0, 0, NULL, NULL, members }
#define PART(name, members) { name, OBJECT, OPTIONAL, 0, 0, 0, NULL, NULL, members }
#define LAST { NULL, END, OPTIONAL, 0, 0, 0, NULL, NULL, NULL }

/* where a private key and its certificate lie */
#define KEY \
	T("certificate_file", OR_NULL, NULL, check_path), \
	T("key_file", OR_NULL, NULL, check_path), \
	T("pkcs12_file", OR_NULL, NULL, check_path), \
	T("pkcs11", OR_NULL, NULL, check_pkcs11), \
	T("password_file", OR_NULL, NULL, check_path)

#define MS_MOST 3600000
static const struct member system_key[] = {
	T("system", OR_NULL, NULL, check_name),
	KEY,
	LAST
};
static const struct member decryption_key[] = {
	KEY,
	LAST
};
static const struct member identity_provider[] = {
	T("name", REQUIRED, NULL, check_name),
	T("url", REQUIRED, NULL, check_url),
	T("issuer", REQUIRED, NULL, check_name),
	T("audience", REQUIRED, NULL, check_name),
	LIST("certificates", check_pem),
	KEY,
	MANY("decryption_keys", decryption_key),
	LAST
};
static const struct member organisation[] = {
	T("id", REQUIRED, NULL, check_id),
	T("name", OPTIONAL, NULL, check_name),
	T("cvr", OR_NULL, NULL, check_cvr),
	B("pass_signed_cards", false),
	B("withhold_signature", false),
	T("signature_hash", OPTIONAL, "sha1", check_hash),
	B("session_ids", false),
	B("check_cvr", true),
	MANY("system_keys", system_key),
	MANY("identity_providers", identity_provider),
	LAST
};
static const struct member client[] = {
	T("id", REQUIRED, NULL, check_id),
	T("name", OPTIONAL, NULL, check_name),
	T("organisation", REQUIRED, NULL, check_reference),
	T("auth", REQUIRED, NULL, check_auth),
	LIST("addresses", check_address),
	LIST("secrets", check_secret),
	T("certificate", OR_NULL, NULL, check_fingerprint),
	B("withhold_signature", false),
	LAST
};
static const struct member service[] = {
	T("id", REQUIRED, NULL, check_id),
	T("name", OPTIONAL, NULL, check_name),
	T("url", REQUIRED, NULL, check_url),
	B("strip_wsa", false),
	B("check_body", false),
	N("connect_ms", 1, MS_MOST, 3000),
	N("answer_ms", 1, MS_MOST, 60000),
	N("idle_ms", 1, MS_MOST, 60000),
	N("total_ms", 0, 24 * MS_MOST, 3600000),
	N("max_card_age_minutes", 0, 24 * 60, 0),
	T("ca_file", OR_NULL, NULL, check_path),
	T("cert_file", OR_NULL, NULL, check_path),
	T("key_file", OR_NULL, NULL, check_path),
	LAST
};
static const struct member sts[] = {
	LIST("urls", check_url),
	LIST("bst_urls", check_url),
	LIST("certificates", check_pem),
	N("connect_ms", 1, MS_MOST, 3000),
	N("answer_ms", 1, MS_MOST, 10000),
	B("refuse_sha1", false),
	T("ca_file", OR_NULL, NULL, check_path),
	LAST
};
static const struct member ocsp_url[] = {
	T("issuer", REQUIRED, NULL, check_fingerprint),
	T("url", REQUIRED, NULL, check_url),
	LAST
};
static const struct member trust[] = {
	LIST("roots", check_pem),
	LIST("intermediates", check_pem),
	LIST("crl_urls", check_url),
	N("crl_refresh_minutes", 1, 7 * 24 * 60, 60),
	N("crl_grace_minutes", 0, 30 * 24 * 60, 720),
	MANY("ocsp_urls", ocsp_url),
	T("when_unchecked", OPTIONAL, "refuse", check_unchecked),
	N("unchecked_accept_minutes", 1, 30 * 24 * 60, 24 * 60),
	B("check_revocation", true),
	LAST
};
static const struct member times[] = {
	N("pending_card_seconds", 1, 86400, 600),
	N("signing_url_seconds", 1, 86400, 30),
	N("answer_url_seconds", 1, 86400, 60),
	N("answer_url_max_seconds", 1, 86400, 600),
	N("clock_skew_seconds", 0, CONF_CLOCK_SKEW, CONF_CLOCK_SKEW),
	N("expiry_margin_seconds", 0, 3600, 60),
	LAST
};
static const struct member limits[] = {
	N("card_message_bytes", 4096, 16 << 20, 262144),
	N("apache_timeout_seconds", 10, 24 * 3600, 90),
	LAST
};
static const struct member audit[] = {
	N("retention_months", 0, 1200, 0),
	LAST
};
static const struct member document[] = {
	{ "format", INT, REQUIRED, 1, 1, 1, NULL, NULL, NULL },
	MANY("organisations", organisation),
	MANY("clients", client),
	MANY("services", service),
	PART("sts", sts),
	PART("trust", trust),
	LIST("front_proxies", check_address),
	T("browser_base", OR_NULL, NULL, check_origin),
	B("browser_remember_key_file", false),
	T("issuer", OPTIONAL, "SOSI-GW", check_issuer),
	PART("times", times),
	PART("limits", limits),
	PART("audit", audit),
	T("language", OPTIONAL, "da", check_language),
	LAST
};

/* ---- problems */

static void
put_path(struct buf *b, const struct at *at)
{
	if (at == NULL)
		return;
	put_path(b, at->up);
	if (at->name == NULL) {
		buf_printf(b, "[%zu]", at->index);
		return;
	}
	if (at->up != NULL)
		buf_putc(b, '.');
	for (const char *c = at->name; *c != '\0' && c < at->name + 80; c++)
		buf_putc(b, in_line((unsigned char)*c) ? *c : '?');
}

void
problem(struct problems *p, const struct at *at, const char *fmt, ...)
{
	char text[200];
	struct buf line;
	va_list ap;

	if (++p->n > PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	buf_init(&line, 1024);
	put_path(&line, at);
	buf_printf(&line, "%s%s", at == NULL ? "" : ": ", text);
	if (p->n == 1)
		snprintf(p->first, sizeof p->first, "%.*s", SLICE_FMT(buf_slice(&line)));
	if (p->out != NULL) {
		buf_put(p->out, buf_slice(&line));
		buf_puts(p->out, p->n == PROBLEMS_MAX ? "\n(no more are shown)\n" : "\n");
	}
	buf_free(&line);
}

int
problems_verdict(const struct problems *p, struct err *e)
{
	if (p->no_memory)
		return err_set(e, ERR_MEMORY, "configuration document");
	if (p->n > 0)
		return err_set(e, ERR_INVALID, "configuration, %zu problem%s: %s", p->n, p->n == 1 ? "" : "s", p->first);
	return 0;
}

/* ---- reading */

static json_t *object(struct problems *p, const struct at *at, const struct member *members, json_t *given);

/* NULL is no memory from here on. */
static json_t *
kept(struct problems *p, json_t *value)
{
	if (value == NULL)
		p->no_memory = true;
	return value;
}

static json_t *
otherwise(struct problems *p, const struct at *at, const struct member *m, json_t *siblings)
{
	switch (m->kind) {
	case BOOL:
		return json_boolean(m->otherwise != 0);
	case INT:
		return json_integer(m->otherwise);
	case TEXT:
		if (m->need == OR_NULL)
			return json_null();
		if (m->text != NULL)
			return json_string(m->text);
		json_t *id = json_object_get(siblings, "id");
		return json_string(id == NULL ? "" : json_string_value(id));
	case OBJECT:
		return object(p, at, m->members, NULL);
	default:
		return json_array();
	}
}

static json_t *
text(struct problems *p, const struct at *at, const struct member *m, json_t *given)
{
	if (!json_is_string(given)) {
		problem(p, at, m->need == OR_NULL ? "must be a string or null" : "must be a string");
		return json_string("");
	}
	struct slice s = { json_string_value(given), json_string_length(given) };
	const char *wrong = m->check(s);
	if (wrong != NULL)
		problem(p, at, "%s", wrong);
	return json_stringn_nocheck(s.p, s.n);
}

static json_t *
list(struct problems *p, const struct at *at, const struct member *m, json_t *given)
{
	json_t *out = json_array();

	if (!json_is_array(given))
		problem(p, at, "must be a list");
	else if (json_array_size(given) > LIST_MAX)
		problem(p, at, "holds more than %d", LIST_MAX);
	else for (size_t i = 0; i < json_array_size(given); i++) {
		const struct at item = { at, NULL, i };
		json_t *one = json_array_get(given, i);
		json_t *value = m->kind == TEXTS ? text(p, &item, m, one) : object(p, &item, m->members, one);
		if (json_array_append_new(out, kept(p, value)) < 0)
			p->no_memory = true;
	}
	return out;
}

static json_t *
value_of(struct problems *p, const struct at *at, const struct member *m, json_t *given)
{
	switch (m->kind) {
	case BOOL:
		if (!json_is_boolean(given))
			problem(p, at, "must be true or false");
		return json_boolean(json_is_true(given));
	case INT:
		if (!json_is_integer(given) || json_integer_value(given) < m->least ||
		    json_integer_value(given) > m->most)
			problem(p, at, m->least == m->most ? "must be %lld" : "must be a whole number from %lld to %lld",
			    (long long)m->least, (long long)m->most);
		return json_integer(json_integer_value(given));
	case TEXT:
		return m->need == OR_NULL && json_is_null(given) ? json_null() : text(p, at, m, given);
	case OBJECT:
		return object(p, at, m->members, given);
	default:
		return list(p, at, m, given);
	}
}

static bool
is_member(const struct member *members, const char *name)
{
	for (; members->name != NULL; members++)
		if (strcmp(members->name, name) == 0)
			return true;
	return false;
}

/* given NULL: not there, all defaults. */
static json_t *
object(struct problems *p, const struct at *at, const struct member *members, json_t *given)
{
	json_t *out = json_object();

	if (given != NULL && !json_is_object(given)) {
		problem(p, at, "must be an object");
		return out;
	}
	for (const struct member *m = members; m->name != NULL; m++) {
		const struct at here = { at, m->name, 0 };
		json_t *one = json_object_get(given, m->name);
		if (one == NULL && m->need == REQUIRED)
			problem(p, &here, "is missing");
		json_t *value = one == NULL ? otherwise(p, &here, m, out) : value_of(p, &here, m, one);
		if (json_object_set_new_nocheck(out, m->name, kept(p, value)) < 0)
			p->no_memory = true;
	}
	for (void *it = given == NULL ? NULL : json_object_iter(given); it != NULL;
	    it = json_object_iter_next(given, it)) {
		const struct at here = { at, json_object_iter_key(it), 0 };
		if (!is_member(members, here.name))
			problem(p, &here, "is not known here");
	}
	return out;
}

json_t *
shape_read(struct slice json, struct problems *p)
{
	json_error_t wrong;

	if (json.p == NULL || json.n > DOCUMENT_MAX) {
		problem(p, NULL, json.p == NULL ? "there is no document" : "the document is larger than %d bytes",
		    DOCUMENT_MAX);
		return NULL;
	}
	json_t *given = json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &wrong);
	if (given == NULL) {
		problem(p, NULL, "no JSON: line %d, column %d: %s", wrong.line, wrong.column, wrong.text);
		return NULL;
	}
	/* of a later format, everything else would be reported as unknown */
	const struct at format = { NULL, "format", 0 };
	json_t *number = json_object_get(given, "format");
	json_t *out = NULL;
	if (number != NULL && json_integer_value(number) != 1)
		problem(p, &format, "must be 1: this version reads no other");
	else
		out = kept(p, object(p, NULL, document, given));
	json_decref(given);
	return out;
}

/* ---- writing */

static void put_value(struct buf *out, json_t *value, unsigned depth, size_t column, struct problems *p);

static void
put_plain(struct buf *out, json_t *value, struct problems *p)
{
	char *written = json_dumps(value, JSON_ENCODE_ANY);

	if (written == NULL)
		p->no_memory = true;
	else
		buf_puts(out, written);
	free(written);
}

static void
new_line(struct buf *out, unsigned depth)
{
	buf_printf(out, "\n%*s", (int)(2 * depth), "");
}

static void
put_list(struct buf *out, json_t *list_of, unsigned depth, size_t column, struct problems *p)
{
	size_t n = json_array_size(list_of), start = out->n;
	bool plain = n == 0 || !json_is_object(json_array_get(list_of, 0));

	if (plain) {
		buf_putc(out, '[');
		for (size_t i = 0; i < n; i++) {
			buf_puts(out, i == 0 ? "" : ", ");
			put_plain(out, json_array_get(list_of, i), p);
		}
		buf_putc(out, ']');
		if (n == 0 || column + (out->n - start) < WIDTH)
			return;
		out->n = start;		/* too long: one on each line */
	}
	buf_putc(out, '[');
	for (size_t i = 0; i < n; i++) {
		buf_puts(out, i == 0 ? "" : ",");
		new_line(out, depth + 1);
		put_value(out, json_array_get(list_of, i), depth + 1, 0, p);
	}
	new_line(out, depth);
	buf_putc(out, ']');
}

static void
put_object(struct buf *out, json_t *value, unsigned depth, struct problems *p)
{
	bool first = true;

	buf_putc(out, '{');
	for (void *it = json_object_iter(value); it != NULL; it = json_object_iter_next(value, it)) {
		const char *name = json_object_iter_key(it);
		buf_puts(out, first ? "" : ",");
		new_line(out, depth + 1);
		buf_printf(out, "\"%s\": ", name);
		put_value(out, json_object_iter_value(it), depth + 1, 2 * (depth + 1) + strlen(name) + 4, p);
		first = false;
	}
	new_line(out, depth);
	buf_putc(out, '}');
}

static void
put_value(struct buf *out, json_t *value, unsigned depth, size_t column, struct problems *p)
{
	if (json_is_object(value))
		put_object(out, value, depth, p);
	else if (json_is_array(value))
		put_list(out, value, depth, column, p);
	else
		put_plain(out, value, p);
}

void
shape_write(json_t *whole, struct buf *out, struct problems *p)
{
	put_value(out, whole, 0, 0, p);
	buf_putc(out, '\n');
}
