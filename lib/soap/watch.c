/* For services set to check_body: what follows the head is looked at as it streams by (threats 2.1). */
#include "soap.h"

struct soap_watch {
	struct xml_whole *xml;
	bool header, body;
};

static int
on_element(void *ctx, struct slice ns, struct slice name, unsigned depth, struct err *e)
{
	struct soap_watch *w = ctx;

	if (depth != 2)
		return 0;
	bool soap = slice_is(ns, NS_SOAP), header = soap && slice_is(name, "Header"), body = soap && slice_is(name, "Body");
	if (w->body || (header && w->header) || (!header && !body))
		return err_set(e, ERR_ENVELOPE_FORM, "%.*s where only one Header and one Body may be", SLICE_FMT(name));
	w->header = w->header || header;
	w->body = body;
	return 0;
}

struct soap_watch *
soap_watch_new(struct arena *a)
{
	struct soap_watch *w = arena_alloc(a, sizeof *w);

	if (w != NULL)
		w->xml = xml_whole_new(a, on_element, w);
	return w == NULL || w->xml == NULL ? NULL : w;
}

int
soap_watch_feed(struct soap_watch *w, struct slice bytes, struct err *e)
{
	return xml_whole_feed(w->xml, bytes, e);
}

int
soap_watch_end(struct soap_watch *w, struct err *e)
{
	if (xml_whole_end(w->xml, e) < 0)
		return -1;
	return w->body ? 0 : err_set(e, ERR_ENVELOPE_FORM, "no Body");
}
