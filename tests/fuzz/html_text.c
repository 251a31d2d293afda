/* A value from a stranger in a page: whatever the bytes, what is written holds none that ends a text or a quoted attribute,
 * is UTF-8 without controls, and every & begins one of the five escapes. */
#include "conv.h"
#include "html.h"
#include "must.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_escape(struct slice s)
{
	return slice_starts(s, S("&amp;")) || slice_starts(s, S("&lt;")) || slice_starts(s, S("&gt;")) ||
	    slice_starts(s, S("&quot;")) || slice_starts(s, S("&#39;"));
}

static void
check(struct slice s)
{
	must(conv_is_utf8(s));
	for (size_t i = 0; i < s.n; i++) {
		must(s.p[i] != '\0' && strchr("<>\"'", s.p[i]) == NULL);
		must((unsigned char)s.p[i] >= ' ' || strchr("\t\r\n", s.p[i]) != NULL);
		must(s.p[i] != '&' || is_escape(slice_from(s, i)));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct html_url url;
	struct err e = { .kind = ERR_NONE };
	struct buf b;

	buf_init(&b, 6 * size + 1);
	html_put_slice(&b, text);
	check(buf_slice(&b));
	buf_clear(&b);
	if (html_url_local(text, &url, &e) == 0 || html_url_checked(text, &url, &e) == 0) {
		html_put_url(&b, url);
		check(buf_slice(&b));
		must(memchr("hH/?#", text.p[0], 5) != NULL && !slice_starts(text, S("//")));
	}
	buf_free(&b);
	return 0;
}
