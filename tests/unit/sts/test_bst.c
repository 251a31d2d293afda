/* Cards from bootstrap tokens: what a request claims, what an answer says, and the exchange with an STS that this
 * test plays: scripted on loopback, its cards signed with a key made for the test. */
#include "sts.h"
#include "xml.h"

#include "clock.h"
#include "dsig/keys.h"
#include "http/server.h"

#define DATA "tests/data/sts/"
#define CARD_FILE "tests/data/idcard/held-unsigned.xml"
#define NOW INT64_C(1715673600)	/* 2024-05-14 08:00 UTC, inside the card's time */

static struct signer ours, stranger;

/* ---- requests, in the form of Seal and unsealed */

#define CLAIM(uri, value) "<auth:ClaimType Uri=\"" uri "\"><auth:Value>" value "</auth:Value></auth:ClaimType>"
#define CLAIMS CLAIM("medcom:ITSystemName", "Sygdom.dk") CLAIM("medcom:UserRole", "l\xC3\xA6ge") \
	CLAIM("medcom:UserAuthorizationCode", "ZXCVB") CLAIM("sosi:SubjectNameID", "1802602810")
#define CPR "<saml:Attribute Name=\"https://data.gov.dk/model/core/eid/cprNumber\">" \
	"<saml:AttributeValue>1802602810</saml:AttributeValue></saml:Attribute>"
#define TOKEN "<saml:Assertion ID=\"bst\"><saml:AttributeStatement>" CPR "</saml:AttributeStatement></saml:Assertion>"
#define APPLIES "<wsp:AppliesTo xmlns:wsp=\"" NS_WSP "\"><wsa:EndpointReference xmlns:wsa=\"" NS_WSA05 "\">" \
	"<wsa:Address>https://fmk</wsa:Address></wsa:EndpointReference></wsp:AppliesTo>"
#define RST "<wst:RequestSecurityToken Context=\"urn:uuid:1&amp;2\"><wst14:ActAs>" TOKEN "</wst14:ActAs>" APPLIES \
	"<wst:Claims Dialect=\"d\">" CLAIMS "</wst:Claims></wst:RequestSecurityToken>"
#define REQUEST "<soap:Envelope xmlns:soap=\"" NS_SOAP "\" xmlns:wst=\"" NS_WST13 "\" xmlns:wst14=\"" NS_WST14 "\"" \
	" xmlns:auth=\"" NS_WSFED "\" xmlns:saml=\"" NS_SAML "\"><soap:Body>" RST "</soap:Body></soap:Envelope>"

static int
read_claims(struct arena *a, struct slice text, struct sts_claims *out, struct err *e)
{
	xmlDoc *doc;

	assert_ok(xml_parse(a, text, &xml_document_limits, &doc, e), e);
	const xmlNode *rst = xml_first(xml_child(xmlDocGetRootElement(doc), NS_SOAP, "Body", 0));
	assert_true(xml_is(rst, NS_WST13, "RequestSecurityToken"));
	return sts_read_claims(a, rst, out, e);
}

static void
a_request_says_what_it_claims(void **state)
{
	struct err e = { 0 };
	struct sts_claims got;

	assert_ok(read_claims(*state, S(REQUEST), &got, &e), &e);
	assert_slice("Sygdom.dk", got.system);
	assert_slice("l\xC3\xA6ge", got.role);
	assert_slice("ZXCVB", got.authorization);
	assert_slice("1802602810", got.name_id);
	assert_slice("1802602810", got.cpr);
	assert_slice("urn:uuid:1&2", got.context);
	assert_slice("https://fmk", got.applies_to);
}

#define HOLDER "<saml:Subject><saml:NameID>x</saml:NameID><saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:holder-of-key\">" \
	"<saml:SubjectConfirmationData><ds:KeyInfo xmlns:ds=\"" NS_DS "\"><ds:X509Data><ds:X509Certificate>AAEC</ds:X509Certificate>" \
	"</ds:X509Data></ds:KeyInfo></saml:SubjectConfirmationData></saml:SubjectConfirmation></saml:Subject>"

static void
the_holder_of_the_token_is_known_when_it_is_one(void **state)
{
	static const struct { const char *from, *to; bool known; } rows[] = {
		{ "", "", true },
		{ "holder-of-key", "bearer", false },
		{ "</saml:Subject>", "<saml:SubjectConfirmation/></saml:Subject>", false },
		{ "</ds:X509Certificate>", "</ds:X509Certificate><ds:X509Certificate>AAEC</ds:X509Certificate>", false },
		{ "</ds:X509Data>", "</ds:X509Data><ds:X509Data/>", false },
		{ "<ds:X509Certificate>AAEC</ds:X509Certificate>", "", false },
		{ "AAEC", "AAE", false },
	};
	struct slice whole = unit_edited(*state, S(REQUEST), "<saml:Assertion ID=\"bst\">", "<saml:Assertion ID=\"bst\">" HOLDER);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err e = { 0 };
		struct sts_claims got;
		assert_ok(read_claims(*state, unit_edited(*state, whole, rows[i].from, rows[i].to), &got, &e), &e);
		if (slice_eq(got.holder, (struct slice){ "\0\1\2", 3 }) != rows[i].known)
			fail_msg("row %zu", i);
	}
}

static void
what_a_request_leaves_out_is_absent(void **state)
{
	static const struct { const char *from, *to; } rows[] = {
		{ CLAIMS, CLAIM("medcom:ITSystemName", " Sygdom.dk\n") },
		{ " Context=\"urn:uuid:1&amp;2\"", "" }, { APPLIES, "" },
		{ TOKEN, "<saml:EncryptedAssertion/>" },
	};
	struct err e = { 0 };
	struct sts_claims got;
	struct slice text = S(REQUEST);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		text = unit_edited(*state, text, rows[i].from, rows[i].to);
	assert_ok(read_claims(*state, text, &got, &e), &e);
	assert_slice("Sygdom.dk", got.system);
	assert_null(got.role.p);
	assert_null(got.authorization.p);
	assert_null(got.name_id.p);
	assert_null(got.cpr.p);
	assert_null(got.context.p);
	assert_null(got.applies_to.p);
}

static void
what_does_not_concern_us_passes(void **state)
{
	static const struct { const char *from, *to; } rows[] = {
		{ CLAIMS, CLAIMS CLAIM("urn:other", "x") CLAIM("urn:other", "y") }, { CLAIMS, CLAIMS "<auth:Other/>" },
		{ "<wst14:ActAs>", "<wst:TokenType>t</wst:TokenType><wst:RequestType>r</wst:RequestType><wst14:ActAs>" },
		/* a health care context token beside the person's, as in Seal's sample */
		{ TOKEN, TOKEN "<saml:Assertion ID=\"context\"/>" },
		{ CLAIM("medcom:UserRole", "l\xC3\xA6ge"), "<!-- c -->" CLAIM("medcom:UserRole", "l<!-- c -->\xC3\xA6ge") },
		{ CLAIM("medcom:UserRole", "l\xC3\xA6ge"), CLAIM("medcom:UserRole", "l&#xe6;ge") },
		{ CPR, "<saml:Attribute Name=\"dk:gov:saml:attribute:CprNumberIdentifier\"><saml:AttributeValue>1802602810"
		    "</saml:AttributeValue></saml:Attribute>" },
	};
	struct err e = { 0 };
	struct sts_claims got;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_ok(read_claims(*state, unit_edited(*state, S(REQUEST), rows[i].from, rows[i].to), &got, &e), &e);
		assert_slice("l\xC3\xA6ge", got.role);
		assert_slice("1802602810", got.cpr);
	}
}

static void
an_incomplete_or_ambiguous_request_is_refused_by_name(void **state)
{
	static const struct { const char *from, *to, *says; } rows[] = {
		{ CLAIM("medcom:ITSystemName", "Sygdom.dk"), "", "medcom:ITSystemName" },
		{ ">Sygdom.dk<", "><", "medcom:ITSystemName" }, { ">Sygdom.dk<", "> \n<", "medcom:ITSystemName" },
		{ ">Sygdom.dk<", "><auth:Inner>x</auth:Inner><", "medcom:ITSystemName" },
		{ "<auth:Value>Sygdom.dk</auth:Value>", "", "medcom:ITSystemName" },
		{ "<auth:Value>Sygdom.dk</auth:Value>", "<auth:Value>Sygdom.dk</auth:Value><auth:Value>x</auth:Value>",
		    "medcom:ITSystemName" },
		{ CLAIMS, CLAIMS CLAIM("medcom:ITSystemName", "Sygdom.dk"), "medcom:ITSystemName" },
		{ CLAIMS, CLAIMS CLAIM("medcom:UserRole", "other"), "medcom:UserRole" },
		{ CLAIMS, CLAIMS CLAIM(" sosi:SubjectNameID ", "other"), "sosi:SubjectNameID" },
		{ ">ZXCVB<", "><", "medcom:UserAuthorizationCode" },
		{ "<wst:Claims Dialect=\"d\">", "<wst:Claims/><wst:Claims Dialect=\"d\">", "wst:Claims" },
		{ "<wst:Claims Dialect=\"d\">" CLAIMS "</wst:Claims>", "", "medcom:ITSystemName" },
		{ "<wst14:ActAs>" TOKEN "</wst14:ActAs>", "", "wst14:ActAs" }, { TOKEN, "", "wst14:ActAs" },
		{ TOKEN, "<auth:Assertion/>", "wst14:ActAs" },
		{ "</wst14:ActAs>", "</wst14:ActAs><wst14:ActAs/>", "wst14:ActAs" },
		{ "</wst:RequestSecurityToken>", "</wst:RequestSecurityToken><wst:RequestSecurityToken/>", "soap:Body" },
	};
	struct err e = { 0 };
	struct sts_claims got;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice text = unit_edited(*state, S(REQUEST), rows[i].from, rows[i].to);
		assert_err(ERR_TOKEN_REQUEST, read_claims(*state, text, &got, &e), &e);
		assert_string_equal(rows[i].says, e.said);
	}
}

static void
the_published_sample_of_a_request_lacks_its_claims_only(void **state)
{
	struct err e = { 0 };
	struct sts_claims got;
	struct slice text = unit_file(*state, DATA "oio-request.xml");

	assert_err(ERR_TOKEN_REQUEST, read_claims(*state, text, &got, &e), &e);
	assert_string_equal("medcom:ITSystemName", e.said);
	text = unit_edited(*state, text, "<wsp:AppliesTo>", "<wst:Claims xmlns:auth=\"" NS_WSFED "\">"
	    CLAIM("medcom:ITSystemName", "S") "</wst:Claims><wsp:AppliesTo>");
	assert_ok(read_claims(*state, text, &got, &e), &e);
	assert_slice("http://sosi.dk", got.applies_to);
}

/* ---- answers */

static void
published_answers_are_read(void **state)
{
	struct err e = { 0 };
	struct slice card;

	assert_ok(sts_read_bst_answer(*state, unit_file(*state, DATA "oio-response.xml"), &card, &e), &e);
	assert_true(slice_starts(card, S("<saml:Assertion xmlns:saml=\"" NS_SAML "\" IssueInstant=\"2012-09-23T14:47:12Z\"")));
	assert_ok(sts_read_answer(*state, unit_file(*state, DATA "sign-response.xml"), &card, &e), &e);
	assert_true(slice_starts(card, S("<saml:Assertion xmlns:saml=\"" NS_SAML "\" IssueInstant=\"2020-04-01T13:37:48Z\"")));
}

static void
a_status_that_is_not_valid_is_refused(void **state)
{
	struct err e = { 0 };
	struct slice card, good = unit_file(*state, DATA "sign-response.xml");

	assert_err(ERR_STS_ANSWER, sts_read_answer(*state, unit_edited(*state, good, "/status/valid", "/status/invalid"), &card, &e), &e);
	assert_err(ERR_STS_ANSWER, sts_read_answer(*state, unit_edited(*state, good, "/status/valid", ""), &card, &e), &e);
}

static void
published_faults_are_said_in_the_words_of_the_sts(void **state)
{
	struct err e = { 0 };
	struct slice card, fault = unit_file(*state, DATA "oio-error.xml");

	assert_err(ERR_STS_FAULT, sts_read_bst_answer(*state, fault, &card, &e), &e);
	assert_string_equal("Authentication failed: Token in request signed by untrusted party", e.said);
	assert_err(ERR_STS_FAULT, sts_read_answer(*state, fault, &card, &e), &e);
	fault = unit_file(*state, DATA "fault.xml");
	assert_err(ERR_STS_FAULT, sts_read_bst_answer(*state, fault, &card, &e), &e);
	assert_err(ERR_STS_FAULT, sts_read_answer(*state, fault, &card, &e), &e);
}

#define RSTR "<wst:RequestSecurityTokenResponse><wst:RequestedSecurityToken>@</wst:RequestedSecurityToken>" \
	"</wst:RequestSecurityTokenResponse>"
#define ALL "<wst:RequestSecurityTokenResponseCollection>" RSTR "</wst:RequestSecurityTokenResponseCollection>"
#define ANSWER "<soap:Envelope xmlns:soap=\"" NS_SOAP "\" xmlns:wst=\"" NS_WST13 "\" xmlns:saml=\"" NS_SAML "\">" \
	"<soap:Header/><soap:Body>" ALL "</soap:Body></soap:Envelope>"

static void
an_answer_holds_one_card_and_nothing_else(void **state)
{
	static const struct { const char *note, *from, *to; bool good; } rows[] = {
		{ "as it is", "@", "<saml:Assertion/>", true },
		{ "without a collection", ALL, "<wst:RequestSecurityTokenResponse><wst:RequestedSecurityToken>"
		    "<saml:Assertion/></wst:RequestedSecurityToken></wst:RequestSecurityTokenResponse>", true },
		{ "no card", "@", "", false }, { "text", "@", "card", false },
		{ "another namespace", "@", "<Assertion/>", false },
		{ "encrypted", "@", "<saml:EncryptedAssertion/>", false },
		{ "two cards", "@", "<saml:Assertion/><saml:Assertion/>", false },
		{ "something before it", "@", "<x/><saml:Assertion/>", false },
		{ "a comment in it", "@", "<saml:Assertion><saml:Issuer>a<!---->b</saml:Issuer></saml:Assertion>", false },
		{ "deeper", "@", "<x><saml:Assertion/></x>", false },
		{ "two tokens", "@</wst:RequestedSecurityToken>", "<saml:Assertion/></wst:RequestedSecurityToken>"
		    "<wst:RequestedSecurityToken/>", false },
		{ "two responses", RSTR, "<wst:RequestSecurityTokenResponse><wst:RequestedSecurityToken><saml:Assertion/>"
		    "</wst:RequestedSecurityToken></wst:RequestSecurityTokenResponse><wst:RequestSecurityTokenResponse/>", false },
		{ "an empty collection", RSTR, "", false }, { "an empty body", ALL, "", false },
		{ "two in the body", "</soap:Body>", "<x/></soap:Body>", false },
		{ "no body", "<soap:Body>" ALL "</soap:Body>", "", false },
		{ "the older WS-Trust", NS_WST13, NS_WST, false },
		{ "SOAP 1.2", NS_SOAP, NS_SOAP12, false },
		{ "DOCTYPE", "<soap:Envelope", "<!DOCTYPE x><soap:Envelope", false },
		{ "cut", "</soap:Envelope>", "", false },
	};
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice card, text = unit_edited(*state, S(ANSWER), rows[i].from, rows[i].to);
		if (rows[i].from[0] != '@' && slice_find(text, S("@")) >= 0)
			text = unit_edited(*state, text, "@", "<saml:Assertion/>");
		err_clear(&e);
		if ((sts_read_bst_answer(*state, text, &card, &e) == 0) != rows[i].good)
			fail_msg("%s: %s", rows[i].note, e.detail);
		if (rows[i].good)
			assert_slice("<saml:Assertion xmlns:saml=\"" NS_SAML "\"></saml:Assertion>", card);
		else
			assert_int_equal(e.kind, ERR_STS_ANSWER);
	}
	struct slice card, other = unit_file(*state, DATA "identity-token-response.xml");
	assert_err(ERR_STS_ANSWER, sts_read_bst_answer(*state, other, &card, &e), &e);
}

/* ---- the exchange */

struct world {
	struct arena *a;
	struct http *http;
	struct sts *sts;
	struct server *server;
	struct conf conf;
	struct conf_organisation org;
	struct slice pem;
	const char *urls[2];
	struct sts_claims claims;
	struct idcard *card;
	struct err e;
};

/* What the server answers with; set before a call, and read by its thread during it. */
static struct slice reply;
static int reply_status;

static void
script(struct peer *p)
{
	while (peer_request(p)) {
		char head[200];
		snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Type: text/xml\r\nContent-Length: %zu\r\n\r\n",
		    reply_status, reply.n);
		peer_say(p, head);
		peer_send(p, reply.p, reply.n);
	}
}

static struct slice
pem_of(struct arena *a, X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;

	PEM_write_bio_X509(bio, cert);
	long n = BIO_get_mem_data(bio, &text);
	struct slice out = arena_dup(a, (struct slice){ text, (size_t)n });
	BIO_free(bio);
	return out;
}

/* The card of the file, changed and then signed. */
static struct slice
card_with(struct world *w, const char *from, const char *to, struct signer *by)
{
	struct slice signed_card, xml = slice_trim(unit_file(w->a, CARD_FILE));

	if (from != NULL)
		xml = unit_edited(w->a, xml, from, to);
	assert_ok(dsig_sign(w->a, xml, DSIG_SHA1, by->key, by->cert, &signed_card, &w->e), &w->e);
	return signed_card;
}

static void
answer_with(struct world *w, struct slice card)
{
	reply = unit_edited(w->a, S(ANSWER), "@", arena_cstr(w->a, card));
	reply_status = 200;
}

static int
exchange(struct world *w)
{
	return sts_exchange_bst(w->sts, &w->conf, w->a, &w->org, S(REQUEST), &w->claims, &w->card, &w->e);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->a = arena_new(32 << 20);
	w->http = http_new(2);
	w->sts = sts_new(w->http);
	w->server = server_start(script, NULL);
	w->urls[0] = w->server->url;
	w->pem = pem_of(w->a, ours.cert);
	w->conf.sts = (struct conf_sts){
		.bst_urls = w->urls, .nbst_urls = 1, .certificates = &w->pem, .ncertificates = 1,
		.connect_ms = 2000, .answer_ms = 5000,
	};
	w->org = (struct conf_organisation){ .id = S("o"), .cvr = S("30808460"), .check_cvr = true };
	assert_ok(read_claims(w->a, S(REQUEST), &w->claims, &w->e), &w->e);
	clock_set(NOW);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	clock_set(0);
	sts_free(w->sts);
	http_free(w->http);
	server_stop(w->server);
	arena_free(w->a);
	free(w);
	return 0;
}

static void
the_request_goes_to_the_sts_as_it_came_and_the_card_comes_back(void **state)
{
	struct world *w = *state;
	struct slice card = card_with(w, NULL, NULL, &ours);

	answer_with(w, card);
	assert_ok(exchange(w), &w->e);
	assert_int_equal(w->server->body_n, sizeof REQUEST - 1);
	assert_memory_equal(w->server->body, REQUEST, sizeof REQUEST - 1);
	assert_non_null(strstr(w->server->head, "Content-Type: text/xml; charset=utf-8\r\n"));
	assert_true(slice_eq(w->card->xml, card));
	assert_slice("1802602810", w->card->name_id);
}

static void
a_card_that_is_not_what_was_claimed_is_refused(void **state)
{
	static const struct { const char *note, *from, *to; } rows[] = {
		{ "system", "Sygdom.dk", "Sygdom.dk 2" }, { "role", "l\xC3\xA6ge", "sygeplejerske" },
		{ "authorisation", "ZXCVB", "ZXCVA" }, { "person", "<saml:AttributeValue>1802602810", "<saml:AttributeValue>0501792275" },
		{ "NameID", "\"medcom:cprnumber\">1802602810", "\"medcom:cprnumber\">0501792275" },
		{ "level", "AuthenticationLevel\"><saml:AttributeValue>4", "AuthenticationLevel\"><saml:AttributeValue>3" },
		{ "no role", "<saml:AttributeValue>l\xC3\xA6ge", "<saml:AttributeValue>" },
		{ "ended", "NotOnOrAfter=\"2024-05-15T07:55:00Z\"", "NotOnOrAfter=\"2024-05-14T08:00:00Z\"" },
		{ "begins later", "NotBefore=\"2024-05-14T07:55:00Z\"", "NotBefore=\"2024-05-14T09:00:00Z\"" },
		{ "too long", "NotOnOrAfter=\"2024-05-15T07:55:00Z\"", "NotOnOrAfter=\"2024-06-15T07:55:00Z\"" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		answer_with(w, card_with(w, rows[i].from, rows[i].to, &ours));
		err_clear(&w->e);
		assert_int_equal(exchange(w), -1);
		if (w->e.kind != ERR_STS_CARD)
			fail_msg("%s: %s %s", rows[i].note, err_name(w->e.kind), w->e.detail);
	}
}

static void
what_was_not_claimed_may_be_anything(void **state)
{
	struct world *w = *state;

	w->claims = (struct sts_claims){ .system = S("Sygdom.dk") };
	answer_with(w, card_with(w, "\"medcom:cprnumber\">1802602810", "\"medcom:other\">Mads_Skjern", &ours));
	assert_ok(exchange(w), &w->e);
	assert_slice("Mads_Skjern", w->card->name_id);
}

static void
only_the_pinned_key_signs_cards(void **state)
{
	struct world *w = *state;
	struct slice good = card_with(w, NULL, NULL, &ours);

	answer_with(w, card_with(w, NULL, NULL, &stranger));
	assert_err(ERR_STS_CARD, exchange(w), &w->e);
	answer_with(w, slice_trim(unit_file(w->a, CARD_FILE)));
	assert_err(ERR_STS_CARD, exchange(w), &w->e);
	answer_with(w, unit_edited(w->a, good, "Svendsen", "Svendson"));
	assert_err(ERR_STS_CARD, exchange(w), &w->e);
	w->conf.sts.ncertificates = 0;
	answer_with(w, good);
	assert_err(ERR_CONFIG, exchange(w), &w->e);
}

static void
a_card_is_for_the_organisation_that_asks_unless_that_is_not_checked(void **state)
{
	struct world *w = *state;

	answer_with(w, card_with(w, ">30808460<", ">20921897<", &ours));
	assert_err(ERR_TOKEN_OTHER, exchange(w), &w->e);
	w->org.check_cvr = false;
	assert_ok(exchange(w), &w->e);
	w->org = (struct conf_organisation){ .id = S("o"), .check_cvr = true };
	assert_ok(exchange(w), &w->e);
	w->org.cvr = S("30808460");
	answer_with(w, card_with(w, "\"medcom:cvrnumber\"", "\"medcom:ynumber\"", &ours));
	assert_err(ERR_TOKEN_OTHER, exchange(w), &w->e);
}

static void
the_words_of_a_fault_are_passed_on_whatever_its_status(void **state)
{
	struct world *w = *state;

	reply = unit_file(w->a, DATA "oio-error.xml");
	for (int i = 0; i < 2; i++) {
		reply_status = i == 0 ? 500 : 200;
		assert_err(ERR_STS_FAULT, exchange(w), &w->e);
		assert_string_equal("Authentication failed: Token in request signed by untrusted party", w->e.said);
	}
}

static void
say_503(struct peer *p)
{
	while (peer_request(p))
		peer_say(p, "HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbusy");
}

static void
say_nothing(struct peer *p)
{
	if (peer_request(p))
		peer_wait_closed(p);
}

static void
what_is_no_answer_leads_to_the_next_sts(void **state)
{
	static const struct { int status; const char *text; } rows[] = {
		{ 503, "" }, { 502, "<html/>" }, { 504, ANSWER }, { 404, ANSWER }, { 302, ANSWER }, { 400, ANSWER }, { 200, "" },
		{ 200, "<html><br></html>" }, { 200, "<html/>" }, { 500, "Internal error" }, { 500, "" },
		{ 200, "<soap:Envelope xmlns:soap=\"" NS_SOAP "\"><soap:Body>" },
	};
	struct world *w = *state;
	struct server *last = server_start(say_503, NULL);

	w->urls[1] = last->url;
	w->conf.sts.nbst_urls = 2;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sts *fresh = sts_new(w->http);
		reply = slice_of(rows[i].text);
		reply_status = rows[i].status;
		err_clear(&w->e);
		assert_err(ERR_STS_ANSWER, sts_exchange_bst(fresh, &w->conf, w->a, &w->org, S(REQUEST), &w->claims, &w->card, &w->e),
		    &w->e);
		/* the last failure is told */
		assert_string_equal("HTTP status 503", w->e.detail);
		assert_int_equal(w->server->requests, i + 1);
		assert_int_equal(last->requests, i + 1);
		sts_free(fresh);
	}
	http_free(w->http);
	w->http = NULL;
	server_stop(last);
}

static void
an_sts_that_gave_no_answer_is_asked_last(void **state)
{
	struct world *w = *state;
	struct server *first = server_start(say_503, NULL);

	w->urls[0] = first->url;
	w->urls[1] = w->server->url;
	w->conf.sts.nbst_urls = 2;
	answer_with(w, card_with(w, NULL, NULL, &ours));
	for (int i = 1; i <= 3; i++) {
		assert_ok(exchange(w), &w->e);
		assert_int_equal(first->requests, 1);
		assert_int_equal(w->server->requests, i);
	}
	http_free(w->http);
	w->http = NULL;
	server_stop(first);
}

static void
a_fault_is_an_answer_whatever_its_status(void **state)
{
	struct world *w = *state;
	struct server *other = server_start(say_503, NULL);

	w->urls[1] = other->url;
	w->conf.sts.nbst_urls = 2;
	reply = unit_file(w->a, DATA "oio-error.xml");
	for (int i = 0; i < 2; i++) {
		reply_status = i == 0 ? 500 : 200;
		assert_err(ERR_STS_FAULT, exchange(w), &w->e);
	}
	assert_int_equal(other->requests, 0);
	server_stop(other);
}

static void
however_many_are_silent_the_time_is_bounded(void **state)
{
	enum { N = 5 };
	struct world *w = *state;
	struct server *silent[N];
	const char *urls[N];

	for (int i = 0; i < N; i++) {
		silent[i] = server_start(say_nothing, NULL);
		urls[i] = silent[i]->url;
	}
	w->conf.sts.bst_urls = urls;
	w->conf.sts.nbst_urls = N;
	w->conf.sts.connect_ms = 100;
	w->conf.sts.answer_ms = 300;
	assert_int_equal(sts_most_ms(&w->conf.sts), 800);
	int64_t began = clock_mono_ms();
	assert_err(ERR_STS_TIMEOUT, exchange(w), &w->e);
	/* without the bound: 1500 */
	assert_in_range(clock_mono_ms() - began, 600, 1200);
	for (int i = 0; i < N; i++)
		assert_int_equal(silent[i]->requests, 1);
	http_free(w->http);
	w->http = NULL;
	for (int i = 0; i < N; i++)
		server_stop(silent[i]);
}

static void
the_longest_exchange_is_known(void **state)
{
	static const struct { size_t nurls, nbst_urls; unsigned connect_ms, answer_ms, most; } rows[] = {
		{ 1, 0, 3000, 10000, 13000 }, { 1, 1, 3000, 10000, 13000 }, { 0, 1, 3000, 10000, 13000 },
		{ 2, 0, 3000, 10000, 26000 }, { 1, 2, 3000, 10000, 26000 }, { 16, 0, 3000, 10000, 26000 },
		{ 2, 0, 3000, 20000, 40000 }, { 1, 0, 3000, 60000, 40000 }, { 2, 0, 3600000, 3600000, 40000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(rows[i].most, sts_most_ms(&(struct conf_sts){ .nurls = rows[i].nurls, .nbst_urls = rows[i].nbst_urls,
		    .connect_ms = rows[i].connect_ms, .answer_ms = rows[i].answer_ms }));
}

static void
another_sts_is_asked_when_the_first_is_gone(void **state)
{
	struct world *w = *state;

	w->urls[0] = "http://127.0.0.1:1/";
	w->urls[1] = w->server->url;
	answer_with(w, card_with(w, NULL, NULL, &ours));
	assert_err(ERR_STS_UNREACHABLE, exchange(w), &w->e);
	w->conf.sts.nbst_urls = 2;
	assert_ok(exchange(w), &w->e);
	assert_int_equal(w->server->requests, 1);
}

static void
hang_up(struct peer *p)
{
	peer_request(p);
}

static void
an_sts_that_fails_is_asked_once(void **state)
{
	struct world *w = *state;
	struct server *rude = server_start(hang_up, NULL);

	w->urls[0] = rude->url;
	assert_err(ERR_STS_UNREACHABLE, exchange(w), &w->e);
	assert_int_equal(rude->requests, 1);
	/* when there is no other, it is asked though it failed lately */
	err_clear(&w->e);
	assert_err(ERR_STS_UNREACHABLE, exchange(w), &w->e);
	assert_int_equal(rude->requests, 2);
	server_stop(rude);
}

static void
without_an_address_it_says_that_it_is_not_offered(void **state)
{
	struct world *w = *state;

	/* the other service of the STS is no way in */
	w->conf.sts.urls = w->urls;
	w->conf.sts.nurls = 1;
	w->conf.sts.nbst_urls = 0;
	assert_err(ERR_CONFIG, exchange(w), &w->e);
	assert_string_equal("createIdCardFromBST (sts.bst_urls)", w->e.said);
	assert_int_equal(w->server->connections, 0);
}

static int
arena_up(void **state)
{
	*state = arena_new(16 << 20);
	return 0;
}

static int
arena_down(void **state)
{
	arena_free(*state);
	return 0;
}

int
main(void)
{
	struct err e = { 0 };

	xml_init();
	if (dsig_init(&e) < 0)
		return 1;
	ours = signer_of(EVP_RSA_gen(2048));
	stranger = signer_of(EVP_RSA_gen(2048));
#define IN_ARENA(test) cmocka_unit_test_setup_teardown(test, arena_up, arena_down)
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		IN_ARENA(a_request_says_what_it_claims),
		IN_ARENA(the_holder_of_the_token_is_known_when_it_is_one),
		IN_ARENA(what_a_request_leaves_out_is_absent),
		IN_ARENA(what_does_not_concern_us_passes),
		IN_ARENA(an_incomplete_or_ambiguous_request_is_refused_by_name),
		IN_ARENA(the_published_sample_of_a_request_lacks_its_claims_only),
		IN_ARENA(published_answers_are_read),
		IN_ARENA(a_status_that_is_not_valid_is_refused),
		IN_ARENA(published_faults_are_said_in_the_words_of_the_sts),
		IN_ARENA(an_answer_holds_one_card_and_nothing_else),
		IN_WORLD(the_request_goes_to_the_sts_as_it_came_and_the_card_comes_back),
		IN_WORLD(a_card_that_is_not_what_was_claimed_is_refused),
		IN_WORLD(what_was_not_claimed_may_be_anything),
		IN_WORLD(only_the_pinned_key_signs_cards),
		IN_WORLD(a_card_is_for_the_organisation_that_asks_unless_that_is_not_checked),
		IN_WORLD(the_words_of_a_fault_are_passed_on_whatever_its_status),
		IN_WORLD(what_is_no_answer_leads_to_the_next_sts),
		IN_WORLD(an_sts_that_gave_no_answer_is_asked_last),
		IN_WORLD(a_fault_is_an_answer_whatever_its_status),
		IN_WORLD(however_many_are_silent_the_time_is_bounded),
		cmocka_unit_test(the_longest_exchange_is_known),
		IN_WORLD(another_sts_is_asked_when_the_first_is_gone),
		IN_WORLD(an_sts_that_fails_is_asked_once),
		IN_WORLD(without_an_address_it_says_that_it_is_not_offered),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	signer_free(&ours);
	signer_free(&stranger);
	return rc;
}
