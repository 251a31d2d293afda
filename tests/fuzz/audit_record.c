/* A journal as it may be found on a disk: any bytes. Whatever record_read takes must be sound, and no value may
 * leave record_clean that a record or a database could not hold. */
#include "record.h"

#include "conv.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_all(struct slice bytes)
{
	struct record r;

	while (bytes.n > 0) {
		if (record_read(bytes, &r) != RECORD_WHOLE) {
			size_t step = record_resume(bytes);
			must(step > 0 && step <= bytes.n);
			bytes = slice_from(bytes, step);
			continue;
		}
		must(r.size <= bytes.n && r.number > 0 && r.payload.n > 0 && conv_is_utf8(r.payload));
		bytes = slice_from(bytes, r.size);
	}
}

static void
clean(struct slice value)
{
	char out[RECORD_VALUE], again[RECORD_VALUE];
	size_t n = record_clean(out, value);

	must(n <= RECORD_VALUE && conv_is_utf8((struct slice){ out, n }));
	for (size_t i = 0; i < n; i++)
		must((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
	must(record_clean(again, (struct slice){ out, n }) == n);
}

/* A value in a record, as a worker would write it. */
static void
round_trip(struct slice value)
{
	static const uint8_t before[RECORD_HASH];
	struct audit_event ev = { .user = value, .endpoint = value, .card_client = value, .time_ms = (int64_t)value.n };
	struct record_text t;
	struct record r;
	uint8_t hash[RECORD_HASH];
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	must(md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
	record_event(&t, &ev, 1 + (int)(value.n % 2));
	record_seal(&t, md, 1, before, hash);
	EVP_MD_CTX_free(md);
	must(record_read((struct slice){ t.bytes, t.n }, &r) == RECORD_WHOLE && r.size == t.n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = { (const char *)data, size };

	read_all(bytes);
	if (size > 0) {
		clean(bytes);
		round_trip(bytes);
	}
	return 0;
}
