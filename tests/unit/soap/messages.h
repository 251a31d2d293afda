/* Messages in short prefixes, for the tests of this folder. */
#ifndef MESSAGES_H
#define MESSAGES_H

#include "unit.h"

#include "soap.h"

#define OPEN "<s:Envelope xmlns:s='" NS_SOAP "' xmlns:w='" NS_WSSE "' xmlns:u='" NS_WSU "' xmlns:a='" NS_SAML \
	"' xmlns:d='" NS_DS "' xmlns:t='" NS_WSA05 "' xmlns:o='" NS_WSA04 "'>"
#define BODY "<s:Body><x/></s:Body></s:Envelope>"
#define HEADER(blocks) "<s:Header>" blocks "</s:Header>"
#define MSG(blocks) OPEN HEADER(blocks) BODY
#define SEC(content) "<w:Security>" content "</w:Security>"
#define NAME(text) "<a:NameID Format='medcom:other'>" text "</a:NameID>"
#define SUBJECT(content) "<a:Subject>" content "</a:Subject>"
#define CARD(content) "<a:Assertion id='IDCard'>" content "</a:Assertion>"
#define USER(name) SEC(CARD(SUBJECT(NAME(name))))
#define VALUE(name, value) "<a:Attribute Name='" name "'><a:AttributeValue>" value "</a:AttributeValue></a:Attribute>"
#define DATA(attributes) SEC(CARD(SUBJECT(NAME("u")) "<a:AttributeStatement>" attributes "</a:AttributeStatement>"))
#define TO(text) "<t:To>" text "</t:To>"

/* Reads a head, in steps; the result of the last call. */
static inline int
read_head(struct arena *a, struct slice in, size_t step, const struct soap_head **head, struct err *e)
{
	struct soap_reader *r = soap_reader_new(a, &xml_head_limits);
	int rc = 0;

	assert_non_null(r);
	*head = soap_reader_head(r);
	for (size_t at = 0; at < in.n && rc == 0; at += step)
		rc = soap_reader_feed(r, (struct slice){ in.p + at, step < in.n - at ? step : in.n - at }, e);
	return rc != 0 ? rc : soap_reader_end(r, e);
}

#endif
