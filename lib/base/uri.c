#include "uri.h"

#include "conv.h"

#include <string.h>

static int
parse_port(struct slice text, uint16_t *port)
{
	int64_t v;

	if (conv_number(text, 65535, &v) < 0 || v == 0)
		return -1;
	*port = (uint16_t)v;
	return 0;
}

static bool
is_host(struct slice host, bool literal)
{
	for (size_t i = 0; i < host.n; i++) {
		char c = host.p[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!alnum && c != '.' && !(literal ? c == ':' : c == '-' || c == '_'))
			return false;
	}
	return host.n > 0;
}

static int
parse_authority(struct slice authority, struct uri *out)
{
	bool literal = authority.n > 0 && authority.p[0] == '[';
	struct slice rest;

	if (literal) {
		ptrdiff_t end = slice_find(authority, S("]"));
		if (end < 0)
			return -1;
		out->host = (struct slice){ authority.p + 1, (size_t)end - 1 };
		rest = slice_from(authority, (size_t)end + 1);
	} else {
		ptrdiff_t colon = slice_find(authority, S(":"));
		size_t n = colon < 0 ? authority.n : (size_t)colon;
		out->host = (struct slice){ authority.p, n };
		rest = slice_from(authority, n);
	}
	if (!is_host(out->host, literal))
		return -1;
	if (rest.n == 0)
		return 0;
	return rest.p[0] == ':' ? parse_port(slice_from(rest, 1), &out->port) : -1;
}

int
uri_parse(struct slice text, struct uri *out)
{
	*out = (struct uri){ .path = S("") };
	if (text.p == NULL)
		return -1;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] >= 0x7f || strchr("#\"<>\\^`{|}", text.p[i]) != NULL)
			return -1;
	if (slice_starts(text, S("https://"))) {
		out->tls = true;
		out->port = 443;
		text = slice_from(text, 8);
	} else if (slice_starts(text, S("http://"))) {
		out->port = 80;
		text = slice_from(text, 7);
	} else {
		return -1;
	}
	size_t end = 0;
	while (end < text.n && text.p[end] != '/' && text.p[end] != '?')
		end++;
	if (end < text.n)
		out->path = slice_from(text, end);
	return parse_authority((struct slice){ text.p, end }, out);
}

static int
hex_value(char c)
{
	const char *digits = "0123456789abcdef0123456789ABCDEF", *at = c == '\0' ? NULL : strchr(digits, c);

	return at == NULL ? -1 : (int)(at - digits) & 15;
}

int
uri_unescape(struct slice text, char *out, size_t size, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < text.n; i++) {
		int c = (unsigned char)text.p[i];
		if (c == '%') {
			if (text.n - i < 3)
				return -1;
			int hi = hex_value(text.p[i + 1]), lo = hex_value(text.p[i + 2]);
			if (hi < 0 || lo < 0)
				return -1;
			c = hi << 4 | lo;
			i += 2;
		} else if (c == '+') {
			c = ' ';
		}
		if (c == 0 || *n + 1 >= size)
			return -1;
		out[(*n)++] = (char)c;
	}
	if (size == 0)
		return -1;
	out[*n] = '\0';
	return 0;
}
