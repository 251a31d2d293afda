#include "sign_private.h"

#include "clock.h"
#include "conv.h"
#include "page.h"

#include <string.h>

#define PAGE_MOST (1u << 20)

static const struct {
	enum err_kind kind;
	int status;
	const char *da_title, *da_advice, *en_title, *en_advice;
} texts[] = {
#define TEXT(kind, status, da_title, da_advice, en_title, en_advice) { ERR_##kind, status, da_title, da_advice, en_title, en_advice },
#include "texts.def"
#undef TEXT
};

struct refusal { int status; struct slice title, advice; };

static struct refusal
refusal_of(enum err_kind kind, bool danish)
{
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].kind == kind)
			return (struct refusal){ texts[i].status,
				slice_of(danish ? texts[i].da_title : texts[i].en_title),
				slice_of(danish ? texts[i].da_advice : texts[i].en_advice) };
	bool ours = strcmp(err_code(kind), err_code(ERR_INTERNAL)) == 0;
	return (struct refusal){ ours ? 503 : 422, danish ? S("Der er ikke logget på") : S("You are not signed in"),
		slice_of(err_text(kind, danish)) };
}

static const char *const da_months[] = { "januar", "februar", "marts", "april", "maj", "juni", "juli", "august", "september",
	"oktober", "november", "december" };
static const char *const en_months[] = { "January", "February", "March", "April", "May", "June", "July", "August", "September",
	"October", "November", "December" };

/* "17:05", with the date when that is not today. */
static struct slice
clock_text(struct arena *a, int64_t t, bool danish)
{
	struct tm then, now;

	clock_danish(t, &then);
	clock_danish(clock_now(), &now);
	if (then.tm_year == now.tm_year && then.tm_yday == now.tm_yday)
		return arena_printf(a, "%02d:%02d", then.tm_hour, then.tm_min);
	return danish ? arena_printf(a, "%02d:%02d den %d. %s", then.tm_hour, then.tm_min, then.tm_mday, da_months[then.tm_mon]) :
	    arena_printf(a, "%02d:%02d on %d %s", then.tm_hour, then.tm_min, then.tm_mday, en_months[then.tm_mon]);
}

/* The link's own address: what was opened with it, to the browser that opened it. */
static int
own_address(struct visit *v, bool danish, struct html_url *out, struct err *e)
{
	struct slice text = arena_printf(v->call.arena, "/sosigw/sign/start?id=%.*s&lang=%s", SLICE_FMT(v->token),
	    danish ? "da" : "en");

	return html_url_local(text, out, e);
}

static int
send(struct visit *v, struct web_page *page, struct buf *b, struct err *e)
{
	page->danish = v->danish;
	page->html = buf_slice(b);
	v->call.event.http_status = page->status;
	int rc = web_answer(v->call.req, page, e);
	buf_free(b);
	return rc;
}

static int
send_message(struct visit *v, struct web_page *page, struct web_message *m, struct err *e)
{
	struct buf b;

	m->danish = v->danish;
	if (v->link != NULL && own_address(v, !v->danish, &m->other_language, e) == 0)
		m->other = true;
	buf_init(&b, PAGE_MOST);
	web_message_write(&b, m);
	return send(v, page, &b, e);
}

static struct slice
signed_title(struct visit *v, bool already)
{
	struct arena *a = v->call.arena;
	struct slice until = clock_text(a, v->signed_until, v->danish);

	if (v->danish)
		return arena_printf(a, "Du er %slogget på til kl. %.*s", already ? "allerede " : "", SLICE_FMT(until));
	return arena_printf(a, "You are %ssigned in until %.*s", already ? "already " : "", SLICE_FMT(until));
}

int
show_signed(struct visit *v, struct err *e)
{
	const struct slice text = v->danish ? S("Dit id-kort er signeret. Du kan lukke vinduet og arbejde videre i dit program.") :
	    S("Your ID card has been signed. You can close this window and continue in your program.");
	struct web_page page = { .status = 200 };
	struct web_message m = { .title = signed_title(v, false), .paragraphs = &text, .nparagraphs = 1 };

	return send_message(v, &page, &m, e);
}

int
show_cancelled(struct visit *v, struct err *e)
{
	const struct slice text = v->danish ? S("Intet er signeret, og du er ikke logget på. Du kan lukke vinduet.") :
	    S("Nothing has been signed, and you are not signed in. You can close this window.");
	struct web_page page = { .status = 200 };
	struct web_message m = { .title = v->danish ? S("Du har annulleret") : S("You have cancelled"), .paragraphs = &text, .nparagraphs = 1 };

	return send_message(v, &page, &m, e);
}

int
show_refusal(struct visit *v, struct err *e)
{
	enum err_kind kind = v->call.err.kind;
	struct refusal why = refusal_of(kind, v->danish);
	struct web_page page = { .status = why.status, .allow = kind == ERR_PAGE_METHOD ? v->allow : NULL };
	struct web_message m = {
		.title = kind == ERR_SIGNED_ALREADY ? signed_title(v, true) : why.title,
		.paragraphs = &why.advice, .nparagraphs = 1,
		.request_id = kind == ERR_SIGNED_ALREADY ? (struct slice){ NULL, 0 } : req_id(v->call.req),
	};

	if (v->by_script) {
		v->call.event.http_status = why.status;
		return web_answer_text(v->call.req, why.status, why.title, e);
	}
	/* the page may await another answer than the one that was sent twice */
	if (kind == ERR_ANSWER_USED && own_address(v, v->danish, &m.back_link, e) == 0) {
		m.back = true;
		m.back_text = v->danish ? S("Tilbage til siden") : S("Back to the page");
	}
	return send_message(v, &page, &m, e);
}

static int
fill(struct visit *v, const struct cards_order *order, const struct err *failed, struct sign_page *p, struct err *e)
{
	struct arena *a = v->call.arena;
	int64_t now = clock_now(), left = v->page->until - now;

	*p = (struct sign_page){
		.danish = v->danish, .remember = v->call.conf->browser_remember, .seconds = left > 0 ? left : 0, .now = now,
		.token = arena_printf(a, "%.*s.%.*s", SLICE_FMT(v->token), SLICE_FMT(v->page->answer)),
		.card = conv_base64(a, order->xml), .signed_info = conv_base64(a, order->signed_info),
	};
	if (p->token.p == NULL || p->card.p == NULL || p->signed_info.p == NULL)
		return err_set(e, ERR_MEMORY, "page");
	if (failed != NULL) {
		struct refusal why = refusal_of(failed->kind, v->danish);
		p->refused = true;
		p->refusal = why.title;
		p->advice = why.advice;
		p->said = slice_of(failed->said);
		p->request_id = req_id(v->call.req);
	}
	if (idp_fill(v, p) < 0 || own_address(v, v->danish, &p->again, e) < 0)
		return -1;
	return own_address(v, !v->danish, &p->other_language, e);
}

int
show_continue(struct visit *v, struct slice posted, struct err *e)
{
	const struct sign_continue p = { .danish = v->danish, .link = v->token, .posted = posted };
	struct web_page page = { .status = 200 };
	struct buf b;

	buf_init(&b, PAGE_MOST);
	sign_continue_write(&b, &p);
	return send(v, &page, &b, e);
}

int
show_sign_page(struct visit *v, const struct cards_order *order, struct slice set_cookie, const struct err *failed,
    struct err *e)
{
	struct web_page page = {
		.status = failed == NULL ? 200 : refusal_of(failed->kind, v->danish).status, .policy = WEB_SIGNER,
		.set_cookie = set_cookie,
	};
	struct sign_page p;
	struct buf b;

	if (fill(v, order, failed, &p, e) < 0)
		return -1;
	buf_init(&b, PAGE_MOST);
	sign_page_write(&b, &p);
	return send(v, &page, &b, e);
}
