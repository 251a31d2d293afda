/* Any bytes as a configuration document: parsed or refused; what has a normal form keeps it. */
#include "conf.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice json = { (const char *)data, size };
	struct buf once, twice;
	struct conf *c;
	struct err e = { 0 };

	buf_init(&once, 16 << 20);
	buf_init(&twice, 16 << 20);
	if (conf_parse(json, 1, &c, &once, &e) == 0)
		conf_free(c);
	else
		must(e.kind == ERR_MEMORY || once.n > 0);
	buf_clear(&once);
	err_clear(&e);
	if (conf_normal(json, &once, &e) == 0) {
		must(conf_normal(buf_slice(&once), &twice, &e) == 0);
		must(slice_eq(buf_slice(&once), buf_slice(&twice)));
	}
	buf_free(&once);
	buf_free(&twice);
	return 0;
}
