/* Writing is on the path of every call: no allocation, no printf, no JSON tree. Reading is the
 * housekeeper's and may take its time: jansson. */
#include "record.h"

#include "conv.h"
#include "formats.h"
#include "must.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>

const char *const record_kinds[] = { "proxy", "service", "browser", "admin" };
const char *const record_statuses[] = { "open", "ok", "refused", "failed" };

#define LATEST_MS 4102444800000		/* 2100: later times are nonsense and would be none to the database */

/* ---- CRC-32C, eight bytes at a time */

static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void
crc_prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int bit = 0; bit < 8; bit++)
			c = (c >> 1) ^ ((c & 1) ? 0x82f63b78 : 0);
		crc_table[0][i] = c;
	}
	for (int t = 1; t < 8; t++)
		for (uint32_t i = 0; i < 256; i++)
			crc_table[t][i] = (crc_table[t - 1][i] >> 8) ^ crc_table[0][crc_table[t - 1][i] & 0xff];
}

static uint32_t
get_u32(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void
put_u32(char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (char)(v >> (8 * i));
}

static uint32_t
crc32c(const char *p, size_t n)
{
	uint32_t c = 0xffffffff;

	pthread_once(&crc_once, crc_prepare);
	for (; n >= 8; p += 8, n -= 8) {
		uint32_t lo = get_u32(p) ^ c, hi = get_u32(p + 4);
		c = crc_table[7][lo & 0xff] ^ crc_table[6][lo >> 8 & 0xff] ^ crc_table[5][lo >> 16 & 0xff] ^
		    crc_table[4][lo >> 24] ^ crc_table[3][hi & 0xff] ^ crc_table[2][hi >> 8 & 0xff] ^
		    crc_table[1][hi >> 16 & 0xff] ^ crc_table[0][hi >> 24];
	}
	for (; n > 0; p++, n--)
		c = (c >> 8) ^ crc_table[0][(c ^ (unsigned char)*p) & 0xff];
	return ~c;
}

/* ---- text values */

/* Bytes of the UTF-8 character at p that may stand in a record as it is; 0: it may not. Not overlong, no
 * surrogate, no control character (C1 is U+0080 to U+009F). */
static size_t
character(const unsigned char *p, size_t n)
{
	if (p[0] < 0x80)
		return p[0] >= 0x20 && p[0] != 0x7f;
	size_t len = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
	if (len == 0 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return len;
}

/* A control character becomes its picture (line feed: U+240A), what is not UTF-8 U+FFFD. */
static void
stand_in(unsigned char c, char out[3])
{
	if (c < 0x20 || c == 0x7f)
		memcpy(out, (char[]){ (char)0xe2, (char)0x90, (char)(0x80 + (c == 0x7f ? 0x21 : c)) }, 3);
	else
		memcpy(out, "\xef\xbf\xbd", 3);
}

static char *
put_number(char *o, uint64_t v)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	while (n > 0)
		*o++ = digits[--n];
	return o;
}

/* The mark of a value that was cut: how long it was. */
static size_t
put_mark(char *o, size_t length)
{
	char *p = o;

	memcpy(p, "\xe2\x80\xa6(", 4);
	p = put_number(p + 4, length);
	memcpy(p, " bytes)", 7);
	return (size_t)(p + 7 - o);
}

size_t
record_clean(char *out, struct slice value)
{
	const unsigned char *p = (const unsigned char *)value.p;
	size_t n = 0, cut = 0;

	for (size_t i = 0; i < value.n;) {
		if (n <= RECORD_VALUE - 32)
			cut = n;	/* there is room for the mark behind this */
		size_t len = character(p + i, value.n - i), put = len > 0 ? len : 3;
		if (n + put > RECORD_VALUE)
			return cut + put_mark(out + cut, value.n);
		if (len > 0) {
			memcpy(out + n, p + i, len);
		} else {
			stand_in(p[i], out + n);
			/* U+0080 to U+009F are whole characters: one stand-in for both bytes */
			len = p[i] == 0xc2 && i + 1 < value.n && (p[i + 1] & 0xe0) == 0x80 ? 2 : 1;
		}
		n += put;
		i += len;
	}
	return n;
}

/* As nearly all are: record_clean would leave it as it is, and JSON has nothing to escape in it. */
static bool
is_plain(struct slice value)
{
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] < 0x20 || value.p[i] >= 0x7f || value.p[i] == '"' || value.p[i] == '\\')
			return false;
	return value.n <= RECORD_VALUE;
}

/* Cleaned and escaped. */
static char *
put_odd_text(char *o, struct slice value)
{
	char clean[RECORD_VALUE];
	size_t n = record_clean(clean, value);

	for (size_t i = 0; i < n; i++) {
		if (clean[i] == '"' || clean[i] == '\\')
			*o++ = '\\';
		*o++ = clean[i];
	}
	return o;
}

static char *
put_json_text(char *o, const char *name, size_t nname, struct slice value)
{
	if (value.p == NULL)
		return o;
	*o++ = ',';
	*o++ = '"';
	memcpy(o, name, nname);
	o += nname;
	memcpy(o, "\":\"", 3);
	o += 3;
	if (is_plain(value)) {
		memcpy(o, value.p, value.n);
		o += value.n;
	} else {
		o = put_odd_text(o, value);
	}
	*o++ = '"';
	return o;
}

/* Left out when 0: a completing record then does not hide what the open one said. */
static char *
put_json_number(char *o, const char *name, size_t nname, uint64_t v)
{
	if (v == 0)
		return o;
	*o++ = ',';
	*o++ = '"';
	memcpy(o, name, nname);
	o += nname;
	memcpy(o, "\":", 2);
	return put_number(o + 2, v > INT64_MAX ? INT64_MAX : v);
}

static char *
put_literal(char *o, const char *text)
{
	size_t n = strlen(text);

	memcpy(o, text, n);
	return o + n;
}

static uint64_t
sane_time(int64_t ms)
{
	return ms < 0 ? 0 : (uint64_t)(ms > LATEST_MS ? LATEST_MS : ms);
}

#define PAYLOAD (RECORD_HEAD + RECORD_HASH)

void
record_event(struct record_text *t, const struct audit_event *given, int format)
{
	struct audit_event without = *given;
	const struct audit_event *ev = &without;
	char *o = t->bytes + PAYLOAD;

	if (format < 2)
		without.card_client = (struct slice){ NULL, 0 };
	o = put_literal(o, "{\"t\":\"event\",\"f\":");
	o = put_number(o, (uint64_t)format);
	o = put_literal(o, ",\"kind\":\"");
	o = put_literal(o, record_kinds[ev->kind]);
	o = put_literal(o, "\",\"status\":\"");
	o = put_literal(o, record_statuses[ev->status]);
	o = put_literal(o, "\",\"time\":");
	o = put_number(o, sane_time(ev->time_ms));
#define TEXT(member, name) o = put_json_text(o, name, sizeof(name) - 1, ev->member);
#define NUMBER(member, name) o = put_json_number(o, name, sizeof(name) - 1, ev->member < 0 ? 0 : (uint64_t)ev->member);
/* two of the numbers are unsigned: the comparison is then always false, and meant so */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtype-limits"
#include "fields.def"
#pragma GCC diagnostic pop
#undef TEXT
#undef NUMBER
	t->n = (size_t)(o - t->bytes);
}

void
record_mark(struct record_text *t, const char *kind, int64_t time_ms, const char *fields, int format)
{
	char *o = t->bytes + PAYLOAD;

	must(strlen(fields) < RECORD_ROOM / 2);
	o = put_literal(o, "{\"t\":\"");
	o = put_literal(o, kind);
	o = put_literal(o, "\",\"f\":");
	o = put_number(o, (uint64_t)format);
	o = put_literal(o, ",\"time\":");
	o = put_number(o, sane_time(time_ms));
	o = put_literal(o, fields);
	t->n = (size_t)(o - t->bytes);
}

void
record_chain(EVP_MD_CTX *md, const uint8_t before[RECORD_HASH], struct slice payload, uint8_t out[RECORD_HASH])
{
	must(EVP_DigestInit_ex(md, NULL, NULL) == 1 && EVP_DigestUpdate(md, before, RECORD_HASH) == 1 &&
	    EVP_DigestUpdate(md, payload.p, payload.n) == 1 && EVP_DigestFinal_ex(md, out, NULL) == 1);
}

void
record_seal(struct record_text *t, EVP_MD_CTX *md, uint64_t number, const uint8_t before[RECORD_HASH],
    uint8_t hash[RECORD_HASH])
{
	char *end = put_literal(t->bytes + t->n, ",\"q\":");

	end = put_number(end, number);
	*end++ = '}';
	t->n = (size_t)(end - t->bytes);
	record_chain(md, before, (struct slice){ t->bytes + PAYLOAD, t->n - PAYLOAD }, hash);
	memcpy(t->bytes + RECORD_HEAD, hash, RECORD_HASH);
	put_u32(t->bytes, (uint32_t)(t->n - RECORD_HEAD));
	put_u32(t->bytes + 4, crc32c(t->bytes + RECORD_HEAD, t->n - RECORD_HEAD));
}

/* ---- reading */

static bool
has_name(json_t *v, const char *const *names, size_t n)
{
	const char *s = json_string_value(v);

	for (size_t i = 0; s != NULL && i < n; i++)
		if (strcmp(s, names[i]) == 0)
			return true;
	return false;
}

static bool
is_count(json_t *v)
{
	return v == NULL || (json_is_integer(v) && json_integer_value(v) >= 0);
}

static bool
is_text(json_t *v)
{
	return v == NULL || json_is_string(v);
}

/* Whether the database can take it as an event; see audit_derive in schema/002. */
static bool
is_event(json_t *o)
{
	return has_name(json_object_get(o, "kind"), record_kinds, 4) &&
	    has_name(json_object_get(o, "status"), record_statuses, 4) &&
#define TEXT(member, name) is_text(json_object_get(o, name)) &&
#define NUMBER(member, name) is_count(json_object_get(o, name)) &&
#include "fields.def"
#undef TEXT
#undef NUMBER
	    json_integer_value(json_object_get(o, "http_status")) <= INT32_MAX;
}

bool
record_payload(struct record *r)
{
	static const char *const types[] = { "begin", "event", "roll", "end" };
	json_t *o = json_loadb(r->payload.p, r->payload.n, JSON_REJECT_DUPLICATES, NULL);
	const char *type = json_string_value(json_object_get(o, "t"));
	json_t *q = json_object_get(o, "q"), *time = json_object_get(o, "time");
	bool good = type != NULL && json_is_integer(q) && json_integer_value(q) > 0 && json_is_integer(time) &&
	    json_integer_value(time) >= 0 && json_integer_value(time) <= LATEST_MS;

	if (good) {
		r->number = (uint64_t)json_integer_value(q);
		r->time_ms = json_integer_value(time);
		r->type = RECORD_OTHER;		/* a newer format has it: kept, not read */
		for (size_t i = 0; i < sizeof types / sizeof *types; i++)
			if (strcmp(type, types[i]) == 0)
				r->type = (enum record_type)i;
		good = r->type != RECORD_EVENT || is_event(o);
	}
	json_decref(o);
	return good;
}

bool
record_writer(struct arena *a, struct slice payload, struct slice *server, struct slice *program)
{
	json_t *o = json_loadb(payload.p, payload.n, 0, NULL);

	*server = arena_dup(a, slice_of(json_string_value(json_object_get(o, "server"))));
	*program = arena_dup(a, slice_of(json_string_value(json_object_get(o, "program"))));
	json_decref(o);
	return server->p != NULL && program->p != NULL;
}

enum record_found
record_read(struct slice bytes, struct record *out)
{
	if (bytes.n < RECORD_HEAD)
		return RECORD_SHORT;
	size_t length = get_u32(bytes.p);
	if (length <= RECORD_HASH || length > RECORD_MOST)
		return RECORD_DAMAGED;
	if (bytes.n - RECORD_HEAD < length)
		return RECORD_SHORT;
	if (crc32c(bytes.p + RECORD_HEAD, length) != get_u32(bytes.p + 4))
		return RECORD_DAMAGED;
	*out = (struct record){ .size = RECORD_HEAD + length,
		.hash = (const uint8_t *)bytes.p + RECORD_HEAD,
		.payload = { bytes.p + PAYLOAD, length - RECORD_HASH } };
	return record_payload(out) ? RECORD_WHOLE : RECORD_DAMAGED;
}

size_t
record_resume(struct slice bytes)
{
	struct record r;

	for (size_t at = 1; at < bytes.n; at++)
		if (record_read(slice_from(bytes, at), &r) == RECORD_WHOLE)
			return at;
	return bytes.n;
}
