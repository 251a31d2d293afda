"""A message goes to the listed URL that its wsa:To spells octet for octet, and nowhere else, whatever message or service say."""
import re
import urllib.parse

import client
from harness import cases
from hostile import Canary, Refusals, check_fault, passes, signed_in, swap

WSA, WSA04 = client.WSA2005, client.WSA2004
TO = re.compile(rb'<To .*?</To>')


def with_to(message, text):
	"""The message with this markup in place of its To."""
	assert TO.search(message)
	return TO.sub(lambda _: text.encode(), message, count=1)


def to(value, ns=WSA, inside=''):
	return f'<To xmlns="{ns}">{inside or client.escape(value)}</To>'


# ---- the header

def headers(url):
	"""No To, or more than one way to read it."""
	return (
		('none', '', 'TO_MISSING'), ('empty', to(''), 'TO_MISSING'), ('as <To/>', f'<To xmlns="{WSA}"/>', 'TO_MISSING'),
		('blank', to(' \r\n\t'), 'TO_MISSING'),
		('only a comment', to('', inside=f'<!--{url}-->'), 'TO_MISSING'),
		('lower case', f'<to xmlns="{WSA}">{url}</to>', 'TO_MISSING'),
		('of another namespace', to(url, 'urn:x'), 'TO_MISSING'),
		('of WS-Addressing 2003', to(url, 'http://schemas.xmlsoap.org/ws/2003/03/addressing'), 'TO_MISSING'),
		('of no namespace', to(url, ''), 'TO_MISSING'), ('nested', f'<x>{to(url)}</x>', 'TO_MISSING'),
		('in ReplyTo', f'<ReplyTo xmlns="{WSA}">{to(url)}</ReplyTo>', 'TO_MISSING'),
		('an attribute', f'<To xmlns="{WSA}" To="{url}" Address="{url}"/>', 'TO_MISSING'),
		('twice', to(url) + to(url + '?x'), 'TO_AMBIGUOUS'),
		('twice, the other first', to('http://evil.example/') + to(url), 'TO_AMBIGUOUS'),
		('twice the same', to(url) * 2, 'TO_AMBIGUOUS'),
		('the second empty', to(url) + to(''), 'TO_AMBIGUOUS'), ('the first empty', to('') + to(url), 'TO_AMBIGUOUS'),
		('in two namespaces', to(url) + to(url, WSA04), 'TO_AMBIGUOUS'),
		('in two namespaces, the old first', to(url, WSA04) + to(url), 'TO_AMBIGUOUS'),
		('with a child', to('', inside=f'{url}<x/>'), 'TO_AMBIGUOUS'),
		('as a child', to('', inside=f'<Address>{url}</Address>'), 'TO_AMBIGUOUS'),
		('with To inside', to('', inside=to(url)), 'TO_AMBIGUOUS'),
	)


def a_to_that_is_missing_or_ambiguous_is_refused(world):
	lars, url = signed_in(world), world.service('service')
	good = client.proxy(lars, url)
	passes(world, good)
	with Refusals(world) as refused:
		for note, text, reason in headers(url):
			refused.post(note, with_to(good, text), reason, {'user': lars.name_id})
		refused.post('in the Body alone', swap(with_to(good, ''), '<soapenv:Body>', f'<soapenv:Body>{to(url)}'), 'TO_MISSING')
		refused.post('in the card', swap(with_to(good, ''), '<saml:Issuer>', f'{to(url)}<saml:Issuer>'), 'TO_MISSING')


@cases(('a comment inside', lambda u: f'{u[:9]}<!-- x -->{u[9:]}'),
    ('a comment with another', lambda u: f'<!--http://evil.example/-->{u}'), ('white space around', lambda u: f'\r\n\t {u}\n'),
    ('CDATA', lambda u: f'<![CDATA[{u}]]>'), ('references', lambda u: ''.join(f'&#x{ord(c):x};' for c in u)))
def the_whole_text_of_to_counts(world, spell):
	lars, url = signed_in(world), world.service('service')
	assert passes(world, with_to(client.proxy(lars, url), to('', inside=spell(url))))['verdict'] == 'ok'
	with Refusals(world) as refused:
		refused.post('and nothing less', with_to(client.proxy(lars, url), to('', inside=f'{spell(url)}<!---->.evil')),
		    'SERVICE_UNKNOWN')


# ---- the URL

HOSTS = ('127.1', '127.0.1', '2130706433', '0x7f000001', '0x7f.0.0.1', '017700000001', '0177.0.0.1', '127.0.0.01',
    '127.000.000.001', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::1]', '127.0.0.1.', 'localhost', 'LOCALHOST', '0.0.0.0', '0',
    '127.0.0.2', '\uff11\uff12\uff17.0.0.1', '127\u30020\u30020\u30021', '\u2460\u2461\u2466.0.0.1', '%31%32%37.0.0.1',
    '127.0.0.1%00', '127.0.0.1%2eevil', '127.0.0.1 ', ' 127.0.0.1', '')
PORTS = ('', ':', ':80', ':0@', ':+@', ':@ ', ':@0', ':@:@', ':65536')	# @: the listed port
SCHEMES = ('HTTP://', 'Http://', 'http:/', 'http:', '//', 'http:///', 'http:\\\\', 'https://', 'http ://', 'http://http://',
    '://', '')
PATHS = ('@/', '@s', '@/x', '@/..', '@/.', '/x/..@', '/.@', '/@', '@//', '/x/%2e%2e@', '/x/..%2fservice', '/%2e%2e@', '@%2f..',
    '@%252f..', '/%73ervice', '/%2573ervice', '/SERVICE', '/Service', '@;x', '@;', '@?', '@?x', '@?x=1&y', '@#', '@#x', '@%23',
    '@%3f',
    '@%00', '@%20', '@\\', '\\service', '@%0d%0aX-Injected:1', '/serv%69ce', '/servic', '', '/', '/..;@')	# @: the listed path
# $: the listed host and port, @: the whole listed URL, !: host and port of somebody who counts calls, ~: an at sign
URLS = (
	('userinfo', 'http://!~$/service'), ('empty userinfo', 'http://~$/service'), ('user and password', 'http://a:b~$/service'),
	('listed as userinfo', 'http://$~!/service'), ('listed as userinfo, with path', '@~!/'),
	('listed as userinfo, escaped', 'http://$%40!/service'), ('fragment and listed', 'http://!#~$/service'),
	('fragment, listed as path', 'http://!/#@'), ('backslash and at', 'http://$\\~!/service'),
	('backslash', 'http://!\\$/service'),
	('question mark and at', 'http://!?~$/service'), ('listed in a query', 'http://!/?@'), ('listed as path', 'http://!/@'),
	('listed as label', 'http://127.0.0.1.!/service'), ('somebody else', 'http://!/service'), ('two with a space', '@ http://!/'),
	('two with a line', '@\nhttp://!/'), ('two with a comma', '@,http://!/'), ('two in a row', '@@'),
	('a line break', 'http://$/serv\nice'),
	('CR LF', '@\r\nX-Injected: 1'), ('a tab', 'http://$/serv\tice'), ('a tab in the scheme', 'ht\ttp://$/service'),
	('no-break space behind', '@\xa0'), ('zero width space', '@\u200b'), ('quotes', '"@"'), ('angles', '<@>'), ('URL:', 'URL:@'),
	('an escaped reference', '@&#47;'), ('relative', '/service'), ('relative, no slash', 'service'),
	('anonymous', f'{WSA}/anonymous'),
	('anonymous of 2004', f'{WSA04}/role/anonymous'), ('none', f'{WSA}/none'),
	('URN', 'urn:uuid:7f4c0ac0-0000-4000-8000-000000000000'),
	('long', '@' + 'x' * 8000), ('an asterisk', '*'), ('a listed prefix', 'http://$/servic*'), ('file', 'file:///etc/passwd'),
	('file with a host', 'file://127.0.0.1/service'), ('unix', 'unix:/run/x.sock'), ('jar', 'jar:http://!/x!/'),
	('netdoc', 'netdoc:///etc/passwd'),
	('data', 'data:text/xml,x'), ('javascript', 'javascript:x'), ('php', 'php://filter/resource=x'),
	('http+unix', 'http+unix://%2frun%2fx.sock/'),
	*((scheme, f'{scheme}://!/x') for scheme in ('gopher', 'dict', 'ftp', 'ftps', 'tftp', 'ldap', 'ldaps', 'smb', 'scp', 'sftp',
	    'telnet',
	    'ws', 'wss', 'imap', 'smtp', 'pop3', 'rtsp', 'mqtt')),
)


def spellings(url, evil):
	"""What is not http://127.0.0.1:port/service, but looks like it or could be taken for it: (note, URL)."""
	u = urllib.parse.urlsplit(url)
	yield from ((f'host {h}', f'http://{h}:{u.port}{u.path}') for h in HOSTS)
	yield from ((f'port {p!r}', f'http://127.0.0.1{p.replace("@", str(u.port))}{u.path}') for p in PORTS)
	yield from ((f'scheme {s}', f'{s}{u.netloc}{u.path}') for s in SCHEMES)
	yield from ((f'path {p!r}', f'http://{u.netloc}{p.replace("@", u.path)}') for p in PATHS)
	for note, text in URLS:
		yield note, text.replace('@', url).replace('$', u.netloc).replace('!', evil).replace('~', '@')
	yield 'the gateway itself', f'http://127.0.0.1:{u.port - 5}{client.PROXY}'
	yield 'the STS', f'http://127.0.0.1:{u.port - 1}/sts/services/NewSecurityTokenService'


def pictured(text):
	"""As sosigwctl shows it: control characters as their pictures."""
	return ''.join(chr(0x2400 + ord(c)) if c < ' ' else c for c in text)


def every_other_spelling_of_a_listed_url_is_refused(world):
	lars, url = signed_in(world), world.service('service')
	good = client.proxy(lars, url)
	passes(world, good)
	with Canary() as canary, Refusals(world) as refused:
		for note, spelt in spellings(url, f'127.0.0.1:{canary.port}'):
			assert spelt.strip(' \t\r\n') != url, note
			endpoint = {'endpoint': pictured(spelt.strip(' \t\r\n'))} if len(spelt) < 2000 else {}
			refused.post(note, with_to(good, to(spelt).replace('\r', '&#13;')), 'SERVICE_UNKNOWN',
			    {'user': lars.name_id, **endpoint})
		assert refused.count > 150


@cases(('old namespace', WSA04), ('new namespace', WSA))
def nobody_but_the_service_is_contacted(world, ns):
	"""ReplyTo and FaultTo with an address are not supported: the answer goes to the caller."""
	lars = signed_in(world)
	with Canary() as canary:
		other = ''.join(f'<{name} xmlns="{ns}"><Address>{canary.url()}</Address></{name}>' for name in ('ReplyTo', 'FaultTo',
		    'From', 'Endpoint'))
		good = re.sub(rb'<ReplyTo.*?</ReplyTo>', b'', client.proxy(lars, world.service('service'), wsa=ns, extra=other))
		assert passes(world, good)['verdict'] == 'ok'
		faulty = good.replace(world.service('service').encode(), world.service('fault').encode())
		assert world.post_proxy(faulty).parse().fault_code == 'processing_problem'
		check_fault(world.post_proxy(faulty.replace(b'/fault', b'/nowhere')))
		check_fault(world.post_service(swap(client.get_valid_id_card(world.user()), '</soapenv:Header>',
		    f'{other}</soapenv:Header>')))


# ---- what comes back

@cases(('refuses connections', 'nobody', 'ENDPOINT_UNREACHABLE'), ('hangs', 'hang', 'ENDPOINT_TIMEOUT'),
    ('closes early', 'close-early', 'ENDPOINT_BROKE'),
    ('is cut', 'cut/1000', 'ENDPOINT_BROKE'), ('is cut late', 'cut/1000000', 'ENDPOINT_BROKE'),
    ('is cut, chunked', 'cut-chunked', 'ENDPOINT_BROKE'),
    ('hangs in its answer', 'hang-body', 'ENDPOINT_TIMEOUT'), ('is no HTTP', 'garbage', 'ENDPOINT_ANSWER'))
def a_service_that_fails_is_audited_with_the_reason(world, path, reason):
	lars = signed_in(world)
	answer = world.post_proxy(client.proxy(lars,
	    world.sandbox['nobody'] + '/service' if path == 'nobody' else world.service(path)))
	assert not answer.complete or check_fault(answer)[0] == reason, answer
	row, = world.audit(user=lars.name_id, kind='proxy')
	assert (row['status'], row['reason']) == ('failed', reason), row



def redirects_and_other_odd_statuses_are_not_obeyed(world):
	lars = signed_in(world)
	paths = [f'redirect/{code}' for code in (300, 301, 302, 303, 304, 305, 306, 307, 308)] + ['status/304', 'status/399',
	    'status/600', 'status/999']

	def add(document):
		model = document['services'][0]
		document['services'] += [{**model, 'id': f'odd-{i}', 'url': world.service(path)} for i, path in enumerate(paths)]

	with world.configured(add):
		for path in paths:
			before = world.stub_count()
			answer = world.post_proxy(client.proxy(lars, world.service(path)))
			reason, _ = check_fault(answer)
			assert reason == 'ENDPOINT_ANSWER' and 'Location' not in answer.headers, (path, reason, answer.headers)
			got = [r['head'].split()[1].decode() for r in world.stub_requests(before)]
			assert got == ['/' + path], f'the service was asked for {got}'
	rows = world.audit(least=len(paths), user=lars.name_id, kind='proxy')
	assert {(r['status'], r['reason']) for r in rows} == {('failed', 'ENDPOINT_ANSWER')} and len(rows) == len(paths), rows


def headers_of_a_service_are_not_obeyed_nor_passed_on(world):
	lars = signed_in(world)
	for _ in range(4):	# over the same connection to the service too
		before = world.stub_count()
		answer = world.post_proxy(client.proxy(lars, world.service('headers')))
		assert (answer.status, answer.body) == (200, b'<ok/>'), answer
		names = {n.lower() for n in answer.headers.keys()}
		assert not names & {'status', 'location', 'set-cookie', 'x-sendfile', 'x-accel-redirect', 'refresh', 'x-long'}, names
		assert 'stub' not in answer.headers.get('Server', '')
		assert b'cookie' not in world.forwarded(before)['head'].lower()


def nothing_in_a_message_becomes_a_header(world):
	lars = signed_in(world)
	good = client.proxy(lars, world.service('service'), action='@@')
	evil = 'http://x&#13;&#10;X-Injected: 1&#13;&#10;&#13;&#10;GET /sink HTTP/1.1'
	got = passes(world, re.sub(rb'(<MessageID[^>]*>)', rb'\g<1>' + evil.encode(), swap(good, '@@', evil)))
	assert b'injected' not in got['head'].lower(), got['head']
	row, = world.audit(user=lars.name_id, kind='proxy')
	assert row['operation'].startswith('http://x'), row


def a_folded_header_stays_one_header(world):
	lars = signed_in(world)
	before = world.stub_count()
	answer = world.post_proxy(client.proxy(lars, world.service('service')),
	    headers={'SOAPAction': '"a"\r\n X-Injected: 1', 'traceparent': '00-x\r\n\tX-Injected: 1'})
	if answer.status == 200:
		lines = world.forwarded(before)['head'].lower().split(b'\r\n')
		assert not [line for line in lines if line.startswith((b'x-injected', b' ', b'\t'))], lines
	else:
		assert answer.status == 400 and world.stub_count() == before, answer


def what_the_client_shows_us_does_not_go_on(world):
	"""Its secret, cookies and address are between the client and the gateway."""
	lars = signed_in(world)
	private = {'Cookie': 'a=private', 'Authorization': 'Basic private', 'Proxy-Authorization': 'Basic private',
	    'X-Forwarded-For': '10.0.0.private', 'Forwarded': 'for=private', 'Referer': 'http://private/',
	    'Via': '1.1 private', 'X-Other': 'private', 'User-Agent': 'private', 'From': 'private', 'Range': 'bytes=0-1',
	    'If-None-Match': 'private', 'Upgrade': 'private', 'TE': 'private'}
	for dropped in ('Authorization', None):
		given = {k: v for k, v in private.items() if k != dropped}
		before = world.stub_count()
		answer = world.post_proxy(client.proxy(lars, world.service('service')), headers=given)
		if dropped is None:	# a wrong claim in it is refused
			assert check_fault(answer)[0] == 'CLIENT_UNKNOWN' and world.stub_count() == before
			continue
		head = world.forwarded(before)['head']
		assert b'private' not in head and world.secret('epj-a').encode() not in head and b'range' not in head.lower(), head
