"""Signing in the browser (docs/interface.md): the link that a program shows is opened once, becomes a page that belongs to one
browser, and takes one answer at a time; the answer is judged as signIdCard's is. What is refused is said on a page, is
audited, and reaches no STS. What the page's script does itself is in tests/browser."""
import base64
import concurrent.futures
import os
import re
import shutil
import signal
import tempfile
import time

import browser
import client
from harness import World, cases, free_port_base, sandbox_down, sandbox_up, until

AWAITING, NO_CARD = 'sosigw_awaiting_signing', 'sosigw_no_valid_idcard_in_cache'
USED, LATE, UNKNOWN = 'The link has been opened already', 'The link has expired', 'The link cannot be used'
DONE, ALREADY = 'You are signed in until', 'You are already signed in until'
POLICY = {'default-src': "'none'", 'script-src': "'self'", 'style-src': "'self'", 'img-src': "'self'", 'form-action': "'self'", 'base-uri': "'none'",
    'frame-ancestors': "'none'", 'connect-src': "'self'", 'require-trusted-types-for': "'script'", 'trusted-types': 'sosi-xml',
    'report-uri': '/sosigw/csp'}


# the helpers' first argument is w, as what takes a world is a test

def visitor(w, server=0, **options):
	return browser.Browser(w.sandbox['servers'][server]['https'], ca=w.sandbox['tls_ca'], **options)


def order(w, who, client_id='epj-a'):
	parsed = w.post_service(client.order_card(who), client_id).parse()
	assert not parsed.fault, parsed.string
	return parsed


def link(w, who):
	return order(w, who).browser_url


def opened(w, who):
	"""A browser and the page that it was shown."""
	b = visitor(w)
	return b, shown(b.open(link(w, who)))


def shown(page):
	assert page.status == 200 and page.token, page
	return page


def says(page, status, title):
	assert page.status == status and page.title.startswith(title), page
	assert page.headers.get_content_type() == 'text/html' and "default-src 'none'" in page.headers['Content-Security-Policy']
	return page


def awaits(w, who):
	w.refused(w.post_service(client.get_valid_id_card(who)), AWAITING)


def exchanges(w):
	return w.sts_control()['exchanges']


def events(w, who, least=1):
	"""operation, status, reason of the audit records of that user's pages, oldest first."""
	rows = w.audit(least=least, user=who.name_id, kind='browser')
	return [(r['operation'], r['status'], r['reason']) for r in reversed(rows)]


def times(**seconds):
	def change(document):
		document['times'].update(seconds)
	return change


# ---- from the link to the card

@cases(('rsa-sha1', 'sha1'), ('rsa-sha256', 'sha256'))
def the_link_leads_to_a_card(world, hash_name):
	def change(document):
		for o in document['organisations']:
			o['signature_hash'] = hash_name

	lars = world.user()
	with world.configured(change):
		ordered = order(world, lars)
		b = visitor(world)
		page = shown(b.open(ordered.browser_url))
		assert page.signed_info == ordered.digest and browser.hash_of(page.signed_info) == hash_name
		awaits(world, lars)
		says(b.sign(page, world.certs), 200, DONE)
	card = world.get_card(lars)
	good, why = client.verify_card(card.card, world.certs.path('sts.pem'))
	assert good, why
	assert client.read_card(card.card)['medcom:UserSurName'] == lars.sur
	assert world.post_proxy(world.proxy_request(lars)).status == 200


def the_page_says_until_when_in_danish_time(world):
	lars = world.user()
	b, page = opened(world, lars)
	done = says(b.sign(page, world.certs), 200, DONE)
	ends = client.read_card(world.get_card(lars).card)['NotOnOrAfter']
	until_when = time.mktime(time.strptime(ends, '%Y-%m-%dT%H:%M:%SZ')) - time.timezone - 60	# the margin at which it is dropped
	os.environ['TZ'] = 'Europe/Copenhagen'
	time.tzset()
	local = time.localtime(until_when)
	del os.environ['TZ']
	time.tzset()
	assert time.strftime('%H:%M', local) in done.title and time.strftime('%-d %B', local) in done.title, (done.title, ends)


def the_octets_shown_are_those_that_are_signed(world):
	lars = world.user()
	_, page = opened(world, lars)
	digest = base64.b64encode(browser.hashed(page.card, page.signed_info)).decode()
	assert f'<ds:DigestValue>{digest}</ds:DigestValue>'.encode() in page.signed_info
	assert client.read_card(page.card)['medcom:UserGivenName'] == lars.given


OPENOCES = ('http://www.openoces.org/2003/10/signature#', 'http://www.openoces.org/2006/07/signature#')


def wrapped(namespace):
	return lambda structure: f'<openoces:signature xmlns:openoces="{namespace}" version="0.1">{structure}</openoces:signature>'


def in_base64(text):
	return base64.b64encode(text.encode()).decode()


@cases(('XML', lambda x: x), ('base64', in_base64), ('base64 in lines', lambda x: '\r\n'.join(re.findall('.{1,76}', in_base64(x)))),
    ('XML with a declaration', lambda x: '<?xml version="1.0" encoding="UTF-8"?>\n' + x),
    ('openoces 2003', wrapped(OPENOCES[0])), ('openoces 2006', wrapped(OPENOCES[1])), ('openoces 2006 in base64', lambda x: in_base64(wrapped(OPENOCES[1])(x))))
def every_written_form_of_the_answer_is_taken(world, write):
	lars = world.user()
	b, page = opened(world, lars)
	value = client.sign(page.signed_info, world.certs.key('moces'))
	structure = browser.structure(page.signed_info, value, client.cert_base64(world.certs.cert('moces')))
	says(b.answer(page, write(structure)), 200, DONE)


def a_chain_of_certificates_in_any_order_is_taken(world):
	lars = world.user()
	b, page = opened(world, lars)
	value = client.sign(page.signed_info, world.certs.key('moces'))
	chain = [client.cert_base64(world.certs.cert(name)) for name in ('oces2-root', 'oces2-ca', 'moces')]
	says(b.answer(page, in_base64(browser.structure(page.signed_info, value, *chain))), 200, DONE)


def an_organisation_with_session_ids_signs_in_the_browser_too(world):
	def change(document):
		next(o for o in document['organisations'] if o['id'] == 'region-a')['session_ids'] = True

	lars = world.user()
	with world.configured(change):
		ordered = order(world, lars)
		session = lars.but(name_id=ordered.root.findtext(f'.//{{{client.GW}}}sessionId'), name_id_format='medcom:other')
		assert session.name_id not in ordered.browser_url
		b = visitor(world)
		says(b.sign(shown(b.open(ordered.browser_url)), world.certs), 200, DONE)
		assert client.read_card(world.get_card(session).card)['medcom:UserSurName'] == lars.sur
		world.refused(world.post_service(client.get_valid_id_card(lars)), NO_CARD)
	assert ('sign-answer', 'ok', '') in [(o, s, r or '') for o, s, r in events(world, lars, 2)]


def the_links_host_is_the_configured_one_whatever_the_caller_names(world):
	"""Behind a proxy the browser knows the gateway by another name: that one alone is in the link, and may post the answer."""
	base = 'https://sign.example.dk:8443'

	def change(document):
		document['browser_base'] = base

	lars = world.user()
	named = {'Host': 'evil.example', 'X-Forwarded-Host': 'evil.example', 'Forwarded': 'host=evil.example'}
	with world.configured(change):
		ordered = world.post_service(client.order_card(lars), headers=named).parse()
		assert ordered.browser_url.startswith(base + browser.START + '?id='), ordered.browser_url
		b = visitor(world)
		page = shown(b.open(ordered.browser_url, headers={'X-Forwarded-Host': 'evil.example'}))
		assert 'evil.example' not in page.text
		says(b.sign(page, world.certs, headers={'Origin': 'https://evil.example'}), 403, 'The answer came from another site')
		says(b.sign(page, world.certs, headers={'Origin': base}), 200, DONE)


def without_a_host_for_it_no_link_is_given(world):
	def change(document):
		document['browser_base'] = None

	with world.configured(change):
		ordered = order(world, world.user())
	assert ordered.digest and not ordered.browser_url


def the_link_of_a_refused_call_works_too(world):
	lars = world.user()
	refused = world.refused(world.post_proxy(world.proxy_request(lars)), NO_CARD)
	b = visitor(world)
	says(b.sign(shown(b.open(refused.browser_url)), world.certs), 200, DONE)
	assert world.post_proxy(world.proxy_request(lars)).status == 200


def an_open_page_outlives_the_workers(world):
	lars = world.user()
	b, page = opened(world, lars)
	for name in ('card-1', 'card-2'):
		world.kill(name)
	assert until(lambda: b.get(browser.START).status == 410)
	says(b.sign(page, world.certs), 200, DONE)


# ---- the page

def the_page_has_its_policy_and_cannot_be_framed(world):
	b, page = opened(world, world.user())
	policy = dict((rule + ' ').split(' ', 1) for rule in page.headers['Content-Security-Policy'].split('; '))
	assert {k: v.strip() for k, v in policy.items()} == POLICY, policy
	wanted = {'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-store',
	    'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Resource-Policy': 'same-origin',
	    'Permissions-Policy': 'camera=(), microphone=(), geolocation=()', 'Content-Language': 'en'}
	assert {name: page.headers[name] for name in wanted} == wanted, page.headers
	assert re.fullmatch(browser.COOKIE + '=[A-Za-z0-9_-]{43}; Path=/; Secure; HttpOnly; SameSite=Strict', page.headers['Set-Cookie'])
	assert b.cookie not in page.text


def the_page_runs_one_script_whose_hash_it_names_and_loads_nothing_from_elsewhere(world):
	b, page = opened(world, world.user())
	script, = page.root.xpath('//script')
	assert script.get('src').startswith('/sosigw/static/signer.js?v=') and script.get('type') == 'module' and not script.text
	served = b.http.request('GET', script.get('src'))
	assert served.status == 200 and script.get('integrity') == 'sha384-' + browser.sha384(served.body)
	assert not page.root.xpath('//style | //@style | //@*[starts-with(name(), "on")] | //iframe | //object')
	assert all(re.match('/sosigw/|#', url) for url in page.root.xpath('//@src | //@href | //@action'))


def without_script_the_page_says_so_and_nothing_can_be_sent(world):
	_, page = opened(world, world.user())
	assert 'JavaScript' in page.form.getroottree().xpath('//noscript')[0].text_content()
	button, = page.form.xpath('.//button')
	assert button.get('disabled') is not None
	assert {i.get('name') for i in page.form.xpath('.//input')} == {'token', 'signature', 'lang', None}
	assert not [i for i in page.form.xpath('.//input[@type="file" or @type="password"]') if i.get('name')]


HOSTILE = '"><script src=/x></script>\'&lt;img onerror=alert(1)>{{x}}</p>æøå\u202e'


@cases(*[(field, field) for field in ('given', 'sur', 'role', 'occupation', 'code', 'system', 'care_name', 'name_id')])
def markup_in_what_is_signed_for_stays_text(world, field):
	lars = world.user()
	lars = lars.but(**{field: (lars.name_id if field == 'name_id' else '') + HOSTILE})
	_, page = opened(world, lars)
	assert any(HOSTILE in str(value) for value in client.read_card(page.card).values()), 'it is what is signed, as it came'
	assert '<img' not in page.text and 'src=/x' not in page.text and '{{x}}' not in page.text


def the_language_is_the_links_then_the_browsers(world):
	url = link(world, world.user())
	assert url.endswith('&lang=en')
	b = visitor(world)
	page = shown(b.open(url.replace('&lang=en', '&lang=da')))
	assert page.title == 'Signér dit id-kort' and page.headers['Content-Language'] == 'da', page
	page = shown(b.open(url.replace('&lang=en', ''), headers={'Accept-Language': 'da-DK, en;q=0.5'}))
	assert page.title == 'Signér dit id-kort'
	page = shown(b.open(url.replace('&lang=en', ''), headers={'Accept-Language': 'de'}))
	assert page.title == 'Sign your ID card'
	done = b.post(browser.ANSWER, {'token': page.token, 'signature': browser.signature(page.signed_info, world.certs), 'lang': 'da'})
	assert done.title.startswith('Du er logget på til kl. '), done


def the_same_browser_gets_the_same_page_again(world):
	"""A reload, and the link to the other language."""
	b, page = opened(world, world.user())
	other, = page.root.xpath('//header//a/@href')
	again = shown(b.open(other))
	assert again.title == 'Signér dit id-kort' and again.token == page.token and 0 < again.seconds <= page.seconds
	says(b.sign(again, world.certs), 200, DONE)


def the_administrator_decides_whether_the_page_may_remember_the_file(world):
	def change(document):
		document['browser_remember_key_file'] = True

	_, page = opened(world, world.user())
	assert page.form.get('data-remember') is None and not page.form.xpath('.//*[@id="remember"]')
	with world.configured(change):
		_, page = opened(world, world.user())
	assert page.form.get('data-remember') is not None and page.form.xpath('.//*[@id="remember"]')


# ---- the link is opened once

def who_looks_first_does_not_open_the_link(world):
	"""HEAD, and what a browser fetches before its user has asked."""
	url = link(world, world.user())
	assert visitor(world).open(url, method='HEAD').status == 200
	for header in ({'Sec-Purpose': 'prefetch'}, {'Sec-Purpose': 'prefetch;prerender'}, {'Purpose': 'prefetch'}, {'X-Moz': 'prefetch'}):
		page = visitor(world).open(url, headers=header)
		assert page.status == 503 and not page.token and not page.headers['Set-Cookie'], page
	shown(visitor(world).open(url))


def a_link_works_once(world):
	lars = world.user()
	url = link(world, lars)
	b = visitor(world)
	page = shown(b.open(url))
	says(visitor(world).open(url), 410, USED)
	other = visitor(world)
	other.cookie = 'A' * 43
	says(other.open(url), 410, USED)
	assert ('sign-start', 'refused', 'LINK_USED') in events(world, lars, 3)
	says(b.sign(page, world.certs), 200, DONE)


def until_it_is_opened_everybody_who_asks_gets_the_same_link(world):
	lars = world.user()
	url = link(world, lars)
	assert link(world, lars) == url == order(world, lars, 'lab-a').browser_url
	shown(visitor(world).open(url))


def a_link_that_was_opened_is_followed_by_another(world):
	"""The page was closed, or opened in the wrong browser: the program asks again and the user starts over."""
	lars = world.user()
	seen = {}
	for _ in range(3):
		url = link(world, lars)
		assert url not in seen and link(world, lars) == url
		b = visitor(world)
		seen[url] = b, shown(b.open(url))
	(first, page), *_, (last, newest) = seen.values()
	says(last.sign(newest, world.certs), 200, DONE)
	says(first.sign(page, world.certs), 200, ALREADY)


def a_link_that_is_opened_late_is_refused_and_works_when_it_is_asked_for_again(world):
	lars = world.user()
	with world.configured(times(signing_url_seconds=1)):
		url = link(world, lars)
		time.sleep(2.5)
		says(visitor(world).open(url), 410, LATE)
		assert ('sign-start', 'refused', 'LINK_LATE') in events(world, lars)
		assert link(world, lars) == url
		shown(visitor(world).open(url))


@cases(('no parameter', ''), ('empty', '?id='), ('guessed', '?id=' + 'A' * 43), ('very long', '?id=' + 'A' * 4000), ('twice', '?id=a&id=b'),
    ('odd bytes', '?id=%ff%00'), ('markup', '?id=%3Cscript%3E'))
def a_link_that_was_never_given_is_told_so(world, query):
	page = visitor(world, source='127.0.6.1').open(browser.START + query)
	assert page.status in (400, 410) and page.title in (UNKNOWN, 'The answer cannot be read'), page
	assert not page.headers['Set-Cookie'] and '<script' not in page.text


def a_link_with_a_piece_missing_is_unknown(world):
	url = link(world, world.user())
	says(visitor(world, source='127.0.6.2').open(url.replace('&lang', '')[:-12]), 410, UNKNOWN)
	shown(visitor(world).open(url))


def strangers_are_audited_one_by_one_and_then_in_sum(world):
	b = visitor(world, source='127.0.6.3')
	for i in range(100):
		says(b.open(f'{browser.START}?id={i}'), 410, UNKNOWN)

	def told():
		rows = world.audit(address='127.0.6.3')
		assert all((r['kind'], r['status'], r['reason']) == ('browser', 'refused', 'LINK_UNKNOWN') for r in rows), rows
		sums = [int(r['operation'].split()[0]) for r in rows if 'more refusals' in r['operation']]
		return len(rows) - len(sums) + sum(sums), len(rows) - len(sums)

	assert 0 < told()[1] <= 40, 'each of two workers tells twenty a minute'
	for worker in ('card-1', 'card-2'):
		world.kill(worker, signal.SIGTERM)	# a worker that ends tells what it has counted
	assert until(lambda: told()[0] == 100, 20, 0.3), told()
	assert until(lambda: b.open(browser.START).status == 410)


def race(w, urls):
	"""What comes of many who open a link at the same moment, each another browser."""
	browsers = [visitor(w, i % len(w.sandbox['servers'])) for i in range(20)]
	with concurrent.futures.ThreadPoolExecutor(20) as pool:
		pages = list(pool.map(lambda i: browsers[i].open(urls), range(20)))
	won = [(b, p) for b, p in zip(browsers, pages) if p.token]
	assert len(won) == 1, [str(p)[:80] for p in pages]
	for p in pages:
		assert p.token or (p.status, p.title) == (410, USED), p
	return won[0]


def of_twenty_at_once_one_gets_the_page(world):
	lars = world.user()
	b, page = race(world, link(world, lars))
	says(b.sign(page, world.certs), 200, DONE)


def on_two_servers_one_gets_the_page_and_so_while_a_node_is_away(world):
	"""With an installation of its own. The node is stopped and started again while links are raced for."""
	assert world
	top = tempfile.mkdtemp(prefix='sosigw-flow-')
	os.chmod(top, 0o755)
	folder = os.path.join(top, 'box')
	try:
		sandbox_up(folder, free_port_base(), '--servers', '2', '--threads', '32')
		two = World(folder)
		for _ in range(3):
			lars = two.user()
			b, page = race(two, link(two, lars))
			says(b.sign(page, two.certs), 200, DONE)
		users = [two.user() for _ in range(4)]
		urls = [link(two, lars) for lars in users]
		two.switch('stop', 'memcached-a')
		winners = [race(two, urls[0]), race(two, urls[1])]
		two.switch('start', 'memcached-a')
		winners += [race(two, urls[2]), race(two, urls[3])]
		for b, page in winners:
			says(b.sign(page, two.certs), 200, DONE)
		for url in urls:
			says(visitor(two, 1).open(url), 410, USED)
	finally:
		sandbox_down(folder)
		shutil.rmtree(top, ignore_errors=True)


# ---- the answer is given once, by the browser that has the page, in time

def an_answer_is_taken_once(world):
	lars = world.user()
	b, page = opened(world, lars)
	text = browser.signature(page.signed_info, world.certs)
	before = exchanges(world)
	with concurrent.futures.ThreadPoolExecutor(8) as pool:
		answers = list(pool.map(lambda _: b.answer(page, text), range(8)))
	assert sum(a.title.startswith(DONE) for a in answers) == 1, [str(a)[:80] for a in answers]
	assert {a.title for a in answers if not a.title.startswith(DONE)} <= {'The page has been used already', answers[0].title.replace('are', 'are already'),
	    *(a.title for a in answers if a.title.startswith(ALREADY))}
	assert exchanges(world) == before + 1
	says(b.answer(page, text), 200, ALREADY)
	assert events(world, lars, 10).count(('sign-answer', 'ok', None)) <= 1


def the_back_button_after_signing_shows_that_it_is_done(world):
	lars = world.user()
	url = link(world, lars)
	b = visitor(world)
	says(b.sign(shown(b.open(url)), world.certs), 200, DONE)
	says(b.open(url), 200, ALREADY)


def another_browser_cannot_answer(world):
	lars = world.user()
	b, page = opened(world, lars)
	before = exchanges(world)
	for cookie in (None, 'A' * 43, b.cookie[:-1], b.cookie + 'A', f'{b.cookie}; {browser.COOKIE}=x'):
		other = visitor(world)
		other.cookie = cookie
		says(other.sign(page, world.certs), 403, 'The answer came from another browser')
	assert exchanges(world) == before
	assert events(world, lars, 6).count(('sign-answer', 'refused', 'BROWSER_OTHER')) == 5
	awaits(world, lars)
	says(b.sign(page, world.certs), 200, DONE)


def somebody_elses_token_is_of_no_use(world):
	lars, mallory = world.user(), world.user()
	_, page = opened(world, lars)
	b, own = opened(world, mallory)
	before = exchanges(world)
	says(b.sign(page, world.certs), 403, 'The answer came from another browser')
	half = page.token.split('.')[0] + '.' + own.token.split('.')[1]
	says(b.post(browser.ANSWER, {'token': half, 'signature': browser.signature(page.signed_info, world.certs)}), 403, 'The answer came from another')
	assert exchanges(world) == before
	awaits(world, lars)
	awaits(world, mallory)
	says(b.sign(own, world.certs), 200, DONE)


def two_tabs_of_a_browser_do_not_disturb_each_other(world):
	lars, soren = world.user(), world.user()
	b = visitor(world)
	one = shown(b.open(link(world, lars)))
	cookie = b.cookie
	two = shown(b.open(link(world, soren)))
	assert b.cookie == cookie and not two.headers['Set-Cookie']
	says(b.sign(one, world.certs), 200, DONE)
	says(b.sign(two, world.certs), 200, DONE)
	assert not world.get_card(lars).fault and not world.get_card(soren).fault


def an_answer_that_comes_late_is_refused(world):
	lars = world.user()
	with world.configured(times(answer_url_seconds=1)):
		url = link(world, lars)
		b = visitor(world)
		page = shown(b.open(url))
		time.sleep(2.5)
		before = exchanges(world)
		says(b.sign(page, world.certs), 410, 'The time is up')
		says(b.open(url), 410, 'The time is up')
		assert b.extend(page).status == 410
	assert exchanges(world) == before
	assert ('sign-answer', 'refused', 'ANSWER_LATE') in events(world, lars, 4)
	awaits(world, lars)
	b, page = opened(world, lars)
	says(b.sign(page, world.certs), 200, DONE)


def the_time_can_be_put_off_up_to_the_limit(world):
	lars = world.user()
	with world.configured(times(answer_url_seconds=3, answer_url_max_seconds=5)):
		b, page = opened(world, lars)
		time.sleep(2)
		more = b.extend(page)
		assert more.status == 200 and more.headers.get_content_type() == 'text/plain' and 2 <= int(more.text) <= 3, more
		time.sleep(1.5)
		assert shown(b.open(f'{browser.START}?id={page.token.split(".")[0]}')).token == page.token
		while (more := b.extend(page)).status == 200:
			assert 0 < int(more.text) <= 3
			time.sleep(0.3)
		assert more.status in (409, 410), more
	assert ('sign-extend', 'ok', '') in [(o, s, r or '') for o, s, r in events(world, lars, 3)]


def the_limit_is_told_to_the_script(world):
	with world.configured(times(answer_url_seconds=30, answer_url_max_seconds=30)):
		b, page = opened(world, world.user())
		more = b.extend(page)
	assert (more.status, more.headers.get_content_type()) == (409, 'text/plain'), more


def who_cancels_has_signed_nothing_and_the_program_is_told(world):
	lars = world.user()
	url = link(world, lars)
	b = visitor(world)
	page = shown(b.open(url))
	before = exchanges(world)
	says(b.cancel(page), 200, 'You have cancelled')
	world.refused(world.post_service(client.get_valid_id_card(lars)), NO_CARD)
	says(b.sign(page, world.certs), 410, 'The signing was cancelled')
	says(b.open(url), 410, 'The signing was cancelled')
	assert b.extend(page).status == 410
	assert exchanges(world) == before
	assert ('sign-cancel', 'ok', '') in [(o, s, r or '') for o, s, r in events(world, lars, 4)]
	b, page = opened(world, lars)
	says(b.sign(page, world.certs), 200, DONE)


def a_card_that_was_signed_in_the_program_meanwhile_is_shown(world):
	lars = world.user()
	url = link(world, lars)
	b = visitor(world)
	page = shown(b.open(url))
	world.order_and_sign(lars)
	says(b.sign(page, world.certs), 200, ALREADY)
	says(b.open(url), 200, ALREADY)


def after_a_logout_there_is_nothing_to_sign(world):
	lars = world.user()
	b, page = opened(world, lars)
	world.logout(lars)
	says(b.sign(page, world.certs), 410, 'There is nothing to sign')
	assert ('sign-answer', 'refused', 'ORDER_GONE') in events(world, lars, 2)


# ---- where it comes from, and what it is

ELSEWHERE = 'https://evil.example'


@cases(('another site', {'Sec-Fetch-Site': 'cross-site'}), ('another host of the site', {'Sec-Fetch-Site': 'same-site'}),
    ('nobody', {'Sec-Fetch-Site': 'none'}), ('an origin elsewhere', {'Origin': ELSEWHERE}),
    ('an origin elsewhere, from an older browser', {'Origin': ELSEWHERE, 'Sec-Fetch-Site': None}),
    ('no origin, from an older browser', {'Origin': 'null', 'Sec-Fetch-Site': None}), ('another port', {'Origin': 'https://127.0.0.1:1'}),
    ('without TLS', {'Origin': 'http://127.0.0.1'}))
def an_answer_from_elsewhere_is_refused(world, headers):
	lars = world.user()
	b, page = opened(world, lars)
	before = exchanges(world)
	says(b.sign(page, world.certs, headers=headers), 403, 'The answer came from another site')
	assert b.cancel(page, headers=headers).status == 403 and b.extend(page, headers={'Origin': 'null', **headers}).status == 403
	assert exchanges(world) == before
	assert events(world, lars, 4).count(('sign-answer', 'refused', 'CROSS_SITE')) == 1
	awaits(world, lars)
	says(b.sign(page, world.certs), 200, DONE)


@cases(('the page tells its origin', {}), ('an older browser', {'Sec-Fetch-Site': None}))
def an_answer_from_here_is_taken(world, headers):
	b, page = opened(world, world.user())
	says(b.sign(page, world.certs, headers={'Origin': b.origin, **headers}), 200, DONE)


def an_answer_of_ten_megabytes_is_refused_before_it_is_read(world):
	lars = world.user()
	b, page = opened(world, lars)
	began = time.monotonic()
	answer = b.post(browser.ANSWER, b'signature=' + b'A' * 10_000_000)
	says(answer, 413, 'The answer is too large')
	assert time.monotonic() - began < 20
	says(b.sign(page, world.certs), 200, DONE)


def an_answer_without_a_length_is_held_to_the_same(world):
	b, _ = opened(world, world.user())
	got = b.http.request('POST', browser.ANSWER, iter([b'signature='] + [b'A' * 10_000] * 20), chunked=True,
	    headers={'Content-Type': 'application/x-www-form-urlencoded', 'Cookie': f'{browser.COOKIE}={b.cookie}'})
	assert got.status == 413, got


@cases(('no form', b'', 400), ('no token', b'signature=x', 400), ('half a token', b'token=x', 400), ('an unknown token', b'token=x.y', 410),
    ('a token twice', b'token=x.y&token=x.y', 400), ('a broken escape', b'token=%4', 400), ('no UTF-8', b'token=%ff.y', 400),
    ('many fields', b'&'.join(b'f%d=' % i for i in range(100)), 400), ('SOAP', b'<soap/>', 400))
def a_form_that_is_not_whole_gets_a_page(world, form, status):
	for path in (browser.ANSWER, browser.CANCEL):
		page = visitor(world, source='127.0.6.4').post(path, form)
		assert page.status == status and page.title, page
	assert visitor(world, source='127.0.6.4').post(browser.EXTEND, form).headers.get_content_type() == 'text/plain'


def a_form_of_another_type_is_refused(world):
	b, page = opened(world, world.user())
	for kind in ('text/plain', 'multipart/form-data; boundary=x', 'application/json', 'text/xml', None):
		says(b.sign(page, world.certs, headers={'Content-Type': kind or ''}), 400, 'The answer cannot be read')
	says(b.sign(page, world.certs, headers={'Content-Type': 'Application/X-WWW-Form-URLencoded; charset=UTF-8'}), 200, DONE)


@cases(('PUT to open', 'PUT', 'start', 405), ('GET to answer', 'GET', 'answer', 405), ('HEAD to answer', 'HEAD', 'answer', 405),
    ('PUT', 'PUT', 'answer', 405), ('DELETE', 'DELETE', 'start', 405), ('another page', 'GET', 'elsewhere', 404), ('the folder', 'GET', '', 404))
def what_is_no_page_gets_one_all_the_same(world, method, name, status):
	page = visitor(world, source='127.0.6.5').request(method, '/sosigw/sign/' + name)
	assert page.status == status, page
	assert page.headers['Allow'] == (None if status != 405 else 'GET, HEAD, POST' if name == 'start' else 'POST'), page.headers['Allow']
	assert method == 'HEAD' or page.title, page


def a_post_to_the_link_leads_to_the_link(world):
	"""As WebKit reloads a page that was refused: to the same page, in the same browser; the post itself opens nothing."""
	url, b = link(world, world.user()), visitor(world)
	again = b.post(url[url.index('/sosigw/'):], {'token': 'x'})
	assert again.status == 303 and again.headers['Location'] == 'start?' + url.split('?')[1], again.headers.items()
	assert again.headers['Set-Cookie'] is None and b.open(url).status == 200


# ---- what is signed, and by whom

def altered(page, w):
	"""Another SignedInfo, validly signed."""
	other = page.signed_info.replace(b'<ds:DigestValue>', b'<ds:DigestValue>AAAA', 1)
	return browser.structure(other, client.sign(other, w.certs.key('moces')), client.cert_base64(w.certs.cert('moces')))


def over_something_else(page, w):
	return browser.structure(page.signed_info, client.sign(b'something else', w.certs.key('moces')), client.cert_base64(w.certs.cert('moces')))


def with_hash(name):
	return lambda page, w: browser.structure(page.signed_info, client.sign(page.signed_info, w.certs.key('moces'), name),
	    client.cert_base64(w.certs.cert('moces')))


def with_certificate_of_another_key(page, w):
	return browser.structure(page.signed_info, client.sign(page.signed_info, w.certs.key('moces')), client.cert_base64(w.certs.cert('moces2')))


def without(pattern):
	def make(page, w):
		return re.sub(pattern, '', with_hash('sha1')(page, w), flags=re.S)
	return make


@cases(('an altered SignedInfo', altered), ('a signature over something else', over_something_else), ('another hash', with_hash('sha256')),
    ('the certificate of another key', with_certificate_of_another_key), ('no SignatureValue', without('<ds:SignatureValue>.*</ds:SignatureValue>')),
    ('no certificate', without('<ds:X509Certificate>.*</ds:X509Certificate>')), ('no SignedInfo', without('<ds:SignedInfo.*</ds:SignedInfo>')),
    ('nothing', lambda page, w: ''), ('no XML', lambda page, w: '!'), ('another root', lambda page, w: '<x/>'),
    ('a DOCTYPE', lambda page, w: '<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]>' + with_hash('sha1')(page, w)),
    ('the signature twice', lambda page, w: with_hash('sha1')(page, w) * 2))
def a_wrong_signature_is_refused_and_she_can_try_again_on_the_page(world, make):
	lars = world.user()
	b, page = opened(world, lars)
	before = exchanges(world)
	again = b.answer(page, in_base64(make(page, world)))
	assert again.status == 422 and again.token and again.token != page.token and 'role="alert"' in again.text, again
	assert again.signed_info == page.signed_info and again.seconds > 50
	assert b.sign(page, world.certs).status == 410, 'an answer is taken once, whatever came of it'
	assert exchanges(world) == before
	assert events(world, lars, 3)[1][:2] == ('sign-answer', 'refused')
	awaits(world, lars)
	says(b.sign(again, world.certs), 200, DONE)


@cases(('expired', 'moces-expired', 422, 'The certificate has expired', 'CERT_EXPIRED'),
    ('not valid yet', 'moces-future', 422, 'The certificate is not valid yet', 'CERT_NOT_YET'),
    ('revoked', 'moces-revoked', 422, 'The certificate is revoked', 'CERT_REVOKED'),
    ('of a foreign issuer', 'moces-foreign', 422, 'The certificate has an unknown issuer', 'CERT_UNTRUSTED'),
    ('of another organisation', 'moces-other', 422, 'The certificate belongs to somebody else', 'CERT_OTHER'),
    ('of an organisation, not a person', 'voces', 422, 'The certificate is of the wrong kind', 'CERT_KIND'))
def a_certificate_that_will_not_do_is_refused_with_what_to_do(world, name, status, title, reason):
	lars = world.user()
	b, page = opened(world, lars)
	before = exchanges(world)
	again = b.sign(page, world.certs, name)
	assert again.status == status and title in again.said and again.token, again
	assert exchanges(world) == before
	assert ('sign-answer', 'refused', reason) in events(world, lars, 2)
	says(b.sign(again, world.certs), 200, DONE)


def the_words_of_an_sts_that_refuses_are_shown_and_are_text(world):
	lars = world.user()
	b, page = opened(world, lars)
	again = b.sign(page, world.certs, 'moces2')
	assert again.status == 502 and again.title == 'Sign your ID card' and 'The STS has refused the ID card' in again.said, again
	says(b.sign(again, world.certs), 200, DONE)


def when_the_sts_is_away_she_tries_again_on_the_same_page(world):
	lars = world.user()
	b, page = opened(world, lars)
	with world.stopped('sts'):
		again = b.sign(page, world.certs)
	assert again.status == 503 and again.token and 'The STS cannot be reached' in again.said, again
	assert ('sign-answer', 'failed', 'STS_UNREACHABLE') in events(world, lars, 2)
	awaits(world, lars)
	says(b.sign(again, world.certs), 200, DONE)


def a_reload_after_a_refusal_shows_the_page_that_awaits_the_next_answer(world):
	lars = world.user()
	url = link(world, lars)
	b = visitor(world)
	page = shown(b.open(url))
	again = b.answer(page, 'x')
	assert shown(b.open(url)).token == again.token
	used = says(b.answer(page, 'x'), 410, 'The page has been used already')
	back, = used.root.xpath('//main//a/@href')
	says(b.sign(shown(b.open(back)), world.certs), 200, DONE)


# ---- the audit, and reports

def each_page_is_audited_with_whom_it_was_for(world):
	lars = world.user()
	b, page = opened(world, lars)
	says(b.sign(page, world.certs), 200, DONE)
	done, start = world.audit(least=2, user=lars.name_id, kind='browser')
	for row, operation in ((start, 'sign-start'), (done, 'sign-answer')):
		assert (row['operation'], row['status'], row['client'], row['organisation'], row['system']) == \
		    (operation, 'ok', 'epj-a', 'region-a', lars.system), row
		assert row['address'] == '127.0.0.1' and int(row['http_status']) == 200
	assert done['card_id'] == client.read_card(world.get_card(lars).card)['sosi:IDCardID']


def the_address_behind_a_front_proxy_is_the_browsers(world):
	lars = world.user()
	b = visitor(world, source='127.0.0.3')
	shown(b.open(link(world, lars), headers={'X-Forwarded-For': '192.0.2.7'}))
	assert world.audit(user=lars.name_id, kind='browser')[0]['address'] == '192.0.2.7'


def no_token_and_no_cookie_is_in_any_log(world):
	lars = world.user()
	b, page = opened(world, lars)
	says(b.sign(page, world.certs), 200, DONE)
	secrets = [secret.encode() for secret in (*page.token.split('.'), b.cookie)]
	seen = 0
	for folder, _, names in os.walk(os.path.join(world.folder, 'log')):
		for name in names:
			with open(os.path.join(folder, name), 'rb') as f:
				text = f.read()
			seen += b'/sosigw/sign/answer' in text
			assert not any(secret in text for secret in secrets), name
	assert seen, 'the access log is among them'


def reports_of_a_broken_policy_are_counted_and_bounded(world):
	b = visitor(world)
	report = b'{"csp-report":{"violated-directive":"script-src","blocked-uri":"https://evil.example/\\u001b"}}'
	for _ in range(30):
		got = b.http.request('POST', '/sosigw/csp', report, headers={'Content-Type': 'application/csp-report'})
		assert (got.status, got.body) == (204, b'')
	assert b.http.request('POST', '/sosigw/csp', b'x' * 100_000, headers={'Content-Type': 'application/csp-report'}).status == 413
	assert b.http.request('GET', '/sosigw/csp').status == 405
	logged = 0
	for name in os.listdir(os.path.join(world.folder, 'log')):
		if 'card' in name:
			with open(os.path.join(world.folder, 'log', name), encoding='utf-8') as f:
				logged += f.read().count('"event":"csp"')
	assert 1 <= logged <= 20, logged
