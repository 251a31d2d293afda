#include "page.h"

#include "ops_private.h"

#include "uri.h"

#include <string.h>

struct slice
page_base(struct arena *a, bool tls, struct slice host, struct slice server_name, struct slice server_port)
{
	const char *scheme = tls ? "https" : "http";
	const struct slice hosts[] = { host, arena_printf(a, "%.*s:%.*s", SLICE_FMT(server_name), SLICE_FMT(server_port)) };
	struct uri checked;

	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
		struct slice base = arena_printf(a, "%s://%.*s", scheme, SLICE_FMT(hosts[i]));
		if (uri_parse(base, &checked) == 0 && checked.path.n == 0)
			return base;
	}
	return arena_printf(a, "%s://localhost", scheme);
}

/* ---- the tables */

static const struct {
	const char *name, *example, *action, *ns, *element, *da, *en;
	bool by_token;
} operations[] = {
#define OP(ns, element, name, action, serve, by_token, da, en) { name, "#curl-" name, action, ns, element, da, en, by_token },
#include "operations.def"
#undef OP
};
#define NOPERATIONS (sizeof operations / sizeof *operations)

/* What a card must hold before one can be made of it: idcard_check_order. */
enum cell { NEEDED, MAY_FILL, UNUSED, IS_USER, IS_SYSTEM, LEVEL_USER, LEVEL_SYSTEM };
static const struct {
	const char *da, *en;
} cells[] = {
	[NEEDED] = { "skal være der", "required" },
	[MAY_FILL] = { "kan udelades; STS udfylder", "may be left out; the STS fills it in" },
	[UNUSED] = { "bruges ikke", "not used" },
	[IS_USER] = { "user", "user" },
	[IS_SYSTEM] = { "system", "system" },
	[LEVEL_USER] = { "1 eller 4", "1 or 4" },
	[LEVEL_SYSTEM] = { "3", "3" },
};
static const struct {
	const char *name;
	enum cell user, system;
} fields[] = {
	{ "saml:NameID", NEEDED, NEEDED },
	{ "sosi:IDCardType", IS_USER, IS_SYSTEM },
	{ "sosi:AuthenticationLevel", LEVEL_USER, LEVEL_SYSTEM },
	{ "medcom:UserGivenName", NEEDED, UNUSED },
	{ "medcom:UserSurName", NEEDED, UNUSED },
	{ "medcom:UserRole", NEEDED, UNUSED },
	{ "medcom:UserCivilRegistrationNumber", MAY_FILL, UNUSED },
	{ "medcom:UserAuthorizationCode", MAY_FILL, UNUSED },
	{ "medcom:ITSystemName", NEEDED, NEEDED },
	{ "medcom:CareProviderID", NEEDED, NEEDED },
	{ "medcom:CareProviderID/@NameFormat", NEEDED, NEEDED },
	{ "medcom:CareProviderName", NEEDED, NEEDED },
};
#define NFIELDS (sizeof fields / sizeof *fields)

/* The eight codes of the contract, in its order. */
static const struct {
	const char *code, *da, *en;
} faults[] = {
	{ "sosigw_no_valid_idcard_in_request", "Beskedens id-kort mangler, nævner ingen bruger eller har for få oplysninger.",
	    "The message's ID card is missing, names no user or holds too little data." },
	{ "sosigw_missing_signinginfo_in_request", "signIdCard uden signatur eller certifikat, eller med nogle, der ikke kan godkendes.",
	    "signIdCard without signature or certificate, or with ones that cannot be accepted." },
	{ "sosigw_syntax_error_in_request", "Beskeden er ikke SOAP 1.1, er tvetydig, overskrider en grænse eller mangler wsa:To.",
	    "The message is not SOAP 1.1, is ambiguous, exceeds a limit or lacks wsa:To." },
	{ "sosigw_awaiting_signing", "Kortet er bestilt, og brugeren har endnu ikke signeret. Prøv igen om lidt.",
	    "The card has been ordered and the user has not signed yet. Try again shortly." },
	{ "sosigw_no_valid_idcard_in_cache", "Brugeren har intet gyldigt kort. Bestil et, før kaldet gentages.",
	    "The user has no valid card. Order one before the call is repeated." },
	{ "sosigw_access_denied", "Klienten er ukendt, eller servicen er ikke på gatewayens liste.",
	    "The client is unknown, or the service is not on the gateway's list." },
	{ "sosigw_internal_error", "Fejl i gatewayen selv, eller STS afviste kortet: så står dens egne ord i teksten.",
	    "A failure of the gateway itself, or the STS refused the card: then its own words are in the text." },
	{ "sosigw_proxy_error", "Servicen bag gatewayen kan ikke nås, er for langsom eller brød forbindelsen.",
	    "The service behind the gateway cannot be reached, is too slow or broke the connection." },
};
#define NFAULTS (sizeof faults / sizeof *faults)

/* Kinds that never reach a client: there is none any more, or they are between our own programs. */
static bool
is_internal(enum err_kind kind)
{
	return kind == ERR_CLIENT_GONE || kind == ERR_NOT_FOUND || kind == ERR_CONFLICT || kind == ERR_INVALID;
}

static int
fill_operations(struct page *p, struct err *e)
{
	for (size_t i = 0; i < NOPERATIONS; i++) {
		struct page_operation *o = &p->operations[i];
		*o = (struct page_operation){
			.name = operations[i].name, .action = operations[i].action, .ns = operations[i].ns,
			.element = operations[i].element, .what = p->danish ? operations[i].da : operations[i].en,
			.orders = strcmp(operations[i].name, "requestIdCardDigestForSigning") == 0,
			.signs = strcmp(operations[i].name, "signIdCard") == 0, .by_token = operations[i].by_token,
		};
		if (html_url_local(slice_of(operations[i].example), &o->example, e) < 0)
			return -1;
	}
	p->noperations = NOPERATIONS;
	return 0;
}

static void
fill_fields(struct page *p)
{
	for (size_t i = 0; i < NFIELDS; i++)
		p->fields[i] = (struct page_field){
			.name = fields[i].name,
			.user = p->danish ? cells[fields[i].user].da : cells[fields[i].user].en,
			.system = p->danish ? cells[fields[i].system].da : cells[fields[i].system].en,
		};
	p->nfields = NFIELDS;
}

/* texts: room for all kinds */
static void
fill_faults(struct page *p, struct slice *texts)
{
	for (size_t i = 0; i < NFAULTS; i++) {
		struct page_fault *f = &p->faults[i];
		*f = (struct page_fault){ .code = faults[i].code, .when = p->danish ? faults[i].da : faults[i].en, .texts = texts };
		for (enum err_kind kind = ERR_NONE + 1; kind < ERR_KINDS; kind++)
			if (strcmp(err_code(kind), f->code) == 0 && !is_internal(kind))
				texts[f->ntexts++] = slice_of(err_text(kind, p->danish));
		texts += f->ntexts;
	}
	p->nfaults = NFAULTS;
}

int
page_fill(struct page *p, struct arena *a, struct err *e)
{
	struct slice *texts = arena_alloc(a, ERR_KINDS * sizeof *texts);

	p->operations = arena_alloc(a, NOPERATIONS * sizeof *p->operations);
	p->fields = arena_alloc(a, NFIELDS * sizeof *p->fields);
	p->faults = arena_alloc(a, NFAULTS * sizeof *p->faults);
	if (texts == NULL || p->operations == NULL || p->fields == NULL || p->faults == NULL)
		return err_set(e, ERR_MEMORY, "page");
	if (fill_operations(p, e) < 0)
		return -1;
	fill_fields(p);
	fill_faults(p, texts);
	p->limits = (struct page_limits){ .head_kb = xml_head_limits.bytes >> 10, .depth = xml_head_limits.depth,
		.attributes = xml_head_limits.attributes, .value_kb = xml_head_limits.value >> 10, .elements = xml_head_limits.elements };
	return 0;
}
