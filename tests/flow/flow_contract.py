"""The habits of the clients that exist (docs/interface.md): whatever they were built with, their messages are taken, and what goes on to the
service is what they sent."""
import concurrent.futures
import os
import re
import subprocess
import urllib.request

import client
from harness import TOP, cases, without_card

NO_CARD = 'sosigw_no_valid_idcard_in_cache'
SYNTAX = 'sosigw_syntax_error_in_request'
IN_REQUEST = 'sosigw_no_valid_idcard_in_request'


# the helpers' first argument is w, as what takes a world is a test

def called(w, message, **options):
	"""A call that must arrive; what arrived."""
	before = w.stub_count()
	answer = w.post_proxy(message, **options)
	assert answer.status == 200, answer.body
	got = w.forwarded(before)
	assert got['complete'], got
	return got


def head_of(record):
	"""The headers that the service got, by lower-case name."""
	lines = record['head'].decode('latin-1').split('\r\n')[1:]
	return {k.lower(): v.strip() for k, _, v in (line.partition(':') for line in lines if line)}


# ---- headers of HTTP

ACTIONS = (('quoted', '"{}"'), ('unquoted', '{}'), ('empty', ''), ('empty in quotes', '""'), ('absent', None), ('of something else', '"urn:else"'))


@cases(*ACTIONS)
def any_soapaction_will_do_for_an_operation(world, form):
	lars = world.user()
	action = client.ACTION['requestIdCardDigestForSigning']
	answer = world.post_service(client.order_card(lars), action=None if form is None else form.format(action))
	assert answer.parse().digest, answer.body


@cases(*ACTIONS)
def the_soapaction_of_a_call_goes_on_as_it_came(world, form):
	lars = world.user()
	world.order_and_sign(lars)
	sent = None if form is None else form.format('http://nsi.dk/nts/invoke')
	got = called(world, world.proxy_request(lars), action=sent)
	assert head_of(got).get('soapaction', '') == (sent or ''), got['head']


@cases(*[(t, t) for t in ('text/xml; charset=utf-8', 'text/xml; charset=UTF-8', 'text/xml;charset="utf-8"', 'TEXT/XML', 'text/xml',
    'text/xml; charset=UTF-8, text/xml; charset=UTF-8')])
def the_content_types_of_real_clients_are_taken(world, content_type):
	lars = world.user()
	world.order_and_sign(lars)
	assert world.post_service(client.get_valid_id_card(lars), headers={'Content-Type': content_type}).status == 200
	got = called(world, world.proxy_request(lars), headers={'Content-Type': content_type})
	assert head_of(got)['content-type'] == content_type, got['head']


@cases(('at once', {}), ('when asked to continue', {'expect': True}), ('in chunks', {'chunked': True}),
    ('in chunks, when asked to continue', {'chunked': True, 'expect': True}), ('in chunks of seven', {'chunked': True, 'parts': 7}),
    ('octet by octet', {'parts': 1}))
def a_message_may_come(world, how):
	lars = world.user()
	world.order_and_sign(lars)
	options = dict(how)
	size = options.pop('parts', None)

	def parts(message):
		if size is None:
			return {'xml': message, **options}
		if not options.get('chunked'):
			options['length'] = len(message)
		return {'xml': iter([message[i:i + size] for i in range(0, len(message), size)]), **options}
	assert world.post_service(**parts(client.get_valid_id_card(lars))).status == 200
	sent = world.proxy_request(lars)
	before = world.stub_count()
	assert world.post_proxy(**parts(sent)).status == 200
	assert without_card(world.forwarded(before)['body']) == without_card(sent)


def one_connection_carries_many_calls(world):
	lars = world.user()
	world.order_and_sign(lars)
	http = world.http()
	for n in range(20):
		path, message = (client.SERVICE, client.get_valid_id_card(lars)) if n % 2 else (client.PROXY, world.proxy_request(lars))
		assert http.post(path, message, keep=True).status == 200
		assert http.kept, 'the connection was closed'
	http.close()


# ---- headers of SOAP

@cases(*[(f'{form}, {year}, {note}', form, ns, must) for form in ('seal', 'wcf') for year, ns in (('2005/08', client.WSA2005), ('2004/08', client.WSA2004))
    for note, must in (('as written', None), ('mustUnderstand', True), ('not mustUnderstand', False))])
def both_addressings_are_taken_with_and_without_must_understand(world, form, ns, must):
	lars = world.user()
	world.order_and_sign(lars)
	sent = client.proxy(lars, world.service('service'), form=form, wsa=ns)
	if must is not None:
		prefix = b's' if form == 'wcf' else b'soapenv'
		sent = sent.replace(b' s:mustUnderstand="1"', b'')
		sent, n = re.subn(rb'<((?:a:)?(?:To|Action))( xmlns)', rb'<\1 %s:mustUnderstand="%d"\2' % (prefix, must), sent)
		assert n == 2
	assert without_card(called(world, sent)['body']) == without_card(sent)


@cases(*[(form, form) for form in ('seal', 'wcf')])
def an_operation_may_have_other_headers(world, form):
	"""The decoupling component sends medcom:Header, WCF its debugging data and addressing, others what they like."""
	lars = world.user()
	others = (f'<medcom:Header xmlns:medcom="{client.MEDCOM}"><medcom:SecurityLevel>4</medcom:SecurityLevel><medcom:Linking>'
	    '<medcom:MessageID>1</medcom:MessageID></medcom:Linking></medcom:Header><VsDebuggerCausalityData xmlns='
	    '"http://schemas.microsoft.com/vstudio/diagnostics/servicemodelsink">uIDPo</VsDebuggerCausalityData>' +
	    client.addressing('http://gateway/sosigw/service/sosigw', 'urn:x', client.WSA2005, form))
	for message in (client.order_card(lars, form), client.get_valid_id_card(lars, form), client.logout_with_response(lars, form)):
		for before in (True, False):
			end = b'<s:Header>' if form == 'wcf' else b'<soapenv:Header>'
			end = end if before else end.replace(b'<', b'</')
			added = others.encode() + end if not before else end + others.encode()
			assert message.count(end) == 1
			answer = world.post_service(message.replace(end, added))
			assert answer.status == 200 or answer.parse().fault_code == 'sosigw_awaiting_signing', answer.body


@cases(('an operation', False), ('a call', True))
def a_header_that_must_be_understood_hinders_nobody(world, is_call):
	"""The gateway's own operations ignore what they do not know, as the original's do; on a call such a header is the service's to judge."""
	lars = world.user()
	world.order_and_sign(lars)
	block = b'<x:Else xmlns:x="urn:else" soapenv:mustUnderstand="1"/></soapenv:Header>'
	if is_call:
		sent = world.proxy_request(lars).replace(b'</soapenv:Header>', block)
		assert without_card(called(world, sent)['body']) == without_card(sent) and block in sent
	else:
		assert world.post_service(client.get_valid_id_card(lars).replace(b'</soapenv:Header>', block)).parse().card


def a_call_needs_no_medcom_header(world):
	lars = world.user()
	world.order_and_sign(lars)
	sent = re.sub(rb'<medcom:Header.*?</medcom:Header>', b'', world.proxy_request(lars))
	assert b'medcom:Header' not in sent
	assert without_card(called(world, sent)['body']) == without_card(sent)


@cases(('no Header', rb'<soapenv:Header>.*</soapenv:Header>', b'', IN_REQUEST), ('an empty Header', rb'(<soapenv:Header)>.*</soapenv:Header>', rb'\1/>', IN_REQUEST),
    ('SOAP 1.2', client.SOAP.encode(), b'http://www.w3.org/2003/05/soap-envelope', SYNTAX))
def a_message_without_the_right_envelope_is_refused(world, pattern, by, code):
	lars = world.user()
	for post, message in ((world.post_service, client.order_card(lars)), (world.post_proxy, world.proxy_request(lars))):
		changed = re.sub(pattern, by, message, flags=re.S)
		assert changed != message
		with world.nothing_forwarded():
			fault = world.refused(post(changed), code)
		assert code != SYNTAX or 'SOAP 1.2' in fault.string, fault.string


# ---- times and forms of the card

@cases(('DGWS 1.0, local time', '2006-11-01T08:30:00', '1.0'), ('DGWS 1.0.1, Z', '2024-05-14T08:00:00Z', '1.0.1'), ('with an offset', '2024-05-14T08:00:00+02:00', '1.0.1'),
    ('with a fraction', '2024-05-14T08:00:00.123Z', '1.0.1'), ('years ago', '2011-01-01T00:00:00Z', '1.0.1'), ('far ahead', '2099-01-01T00:00:00Z', '1.0.1'),
    ('no time at all', 'whenever', '1.0.1'))
def the_times_of_a_requests_card_do_not_matter(world, time, version):
	lars = world.user()

	def dated(message):
		message, n = re.subn(rb'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', time.encode(), message)
		assert n >= 4, 'Created, IssueInstant, NotBefore, NotOnOrAfter'
		return message.replace(b'>1.0.1<', f'>{version}<'.encode())
	ordered = world.post_service(dated(client.order_card(lars))).parse()
	signature = client.sign(ordered.digest, world.certs.key('moces'))
	assert world.post_service(dated(client.sign_id_card(lars, signature, world.certs.cert('moces')))).parse().ok
	sent = dated(world.proxy_request(lars))
	got = called(world, sent)
	assert got['verdict'] == 'ok' and without_card(got['body']) == without_card(sent), got['text']


def clients_that_search_the_text_find_it(world):
	"""A client of the medicine card looks for these very octets."""
	body = world.post_proxy(world.proxy_request(world.user())).body
	assert re.search(rb'<ns2:BrowserUrl>https://[^<]+&amp;[^<]+</ns2:BrowserUrl>', body), body
	assert b'sosigw_no_valid_idcard_in_cache' in body and b'<ns2:implicitLoginHeader ' in body
	assert b'<faultcode>Server</faultcode>' in body


# ---- Seal's own schemas (tests/data/seal-xsd), by which receivers that were built on Seal validate

SEAL = os.path.join(TOP, 'tests', 'data', 'seal-xsd', 'soap-specialized.xsd')


def seal_takes(message):
	r = subprocess.run(['xmllint', '--noout', '--nonet', '--schema', SEAL, '-'], input=message, capture_output=True, check=False)
	assert r.returncode == 0, r.stderr.decode()[:1500] + message.decode()[:3000]


@cases(('Seal', {'form': 'seal'}, {}, 'moces'), ('WCF', {'form': 'wcf'}, {}, 'moces'), ('FMK', {'form': 'fmk'}, {}, 'moces'),
    ('as little as is enough', {'form': 'seal'}, {'cpr': None, 'email': None, 'code': None, 'occupation': None, 'level': '1'}, 'moces'),
    ('odd characters', {'form': 'wcf'}, {'given': "<Ærø> & 'x\"", 'occupation': ' ]]> '}, 'moces'),
    ('a y-number', {'form': 'seal'}, {'care_id': '012345', 'care_format': 'medcom:ynumber'}, 'moces'),
    ('a system', {'form': 'seal'}, {'kind': 'system', 'level': '3', 'cpr': None}, 'voces'),
    ('an OCES3 system', {'form': 'wcf'}, {'kind': 'system', 'level': '3', 'cpr': None}, 'voces3'))
def what_goes_on_is_valid_by_seals_schemas(world, form, changes, cert):
	"""Both ways: what the STS is asked, and what the service gets, headers, the gateway's card and all."""
	who = world.user(**changes)
	world.order_and_sign(who, cert)
	with urllib.request.urlopen(world.sandbox['sts'] + '/last', timeout=5) as r:
		seal_takes(r.read())
	message = client.proxy(who, world.service('sink'), **form)
	seal_takes(message)
	before = world.stub_count()
	assert world.post_proxy(message).status == 200
	seal_takes(world.forwarded(before)['body'])


# ---- faults

@cases(('en', 'en', 'There is no valid ID card'), ('da', 'da', 'Der er intet gyldigt id-kort'))
def faults_speak_the_language_that_is_configured(world, language, text):
	def change(document):
		document['language'] = language
	lars = world.user()
	with world.configured(change):
		fault = world.refused(world.post_service(client.get_valid_id_card(lars)), NO_CARD, text)
		url = world.post_service(client.order_card(lars)).parse().browser_url
	assert re.search(r' \[[\w-]{22}\]$', fault.string), f'no request id: {fault.string}'
	assert f'lang={language}' in url


def the_request_id_of_a_fault_finds_it_in_the_log(world):
	lars = world.user()
	found = re.search(r'\[([\w-]{22})\]$', world.refused(world.post_proxy(world.proxy_request(lars)), NO_CARD).string)[1]
	text = ''
	for name in os.listdir(os.path.join(world.folder, 'log')):
		if 'proxy' in name:
			with open(os.path.join(world.folder, 'log', name), encoding='utf-8', errors='replace') as f:
				text += f.read()
	assert found in text


# ---- SHA-256

def an_organisation_can_sign_with_sha256(world):
	def change(document):
		next(o for o in document['organisations'] if o['id'] == 'region-a')['signature_hash'] = 'sha256'
	lars = world.user()
	with world.configured(change):
		digest = world.post_service(client.order_card(lars)).parse().digest
		assert b'rsa-sha256' in digest and b'xmlenc#sha256' in digest and b'sha1' not in digest, digest
		for hash_name, good in (('sha1', False), ('sha256', True)):
			signature = client.sign(digest, world.certs.key('moces'), hash_name)
			answer = world.post_service(client.sign_id_card(lars, signature, world.certs.cert('moces'))).parse()
			assert answer.ok == good, answer.string
		assert called(world, world.proxy_request(lars))['verdict'] == 'ok'
		# other organisations are not concerned
		assert b'rsa-sha1' in world.post_service(client.order_card(lars), 'epj-b').parse().digest


# ---- MTOM

PART = b'\x00\x01\xff\r\n--not the boundary\r\n--MIME\xe6\r\n\r\n<saml:Assertion/>' + bytes(range(256)) * 200


def multipart(root, other=PART, root_headers=b'', root_id=b'<root@x>', other_id=b'<part@x>', first=b'', boundary=b'MIME_1'):
	def part(headers, content):
		return b'--' + boundary + b'\r\n' + headers + b'\r\n\r\n' + content + b'\r\n'
	return (first + part(b'Content-Type: application/xop+xml; charset=utf-8; type="text/xml"' + root_headers + b'\r\nContent-ID: ' + root_id, root) +
	    part(b'Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\nContent-ID: ' + other_id, other) + b'--' + boundary + b'--\r\n')


MTOM = 'multipart/related; type="application/xop+xml"; start="<root@x>"; start-info="text/xml"; boundary="MIME_1"'
XOP = '<x:f xmlns:x="urn:f"><xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:part@x"/></x:f>'


@cases(('as WCF and CXF write it', MTOM, {}), ('no start', MTOM.replace('start="<root@x>"; ', ''), {}), ('text/xml', MTOM.replace('application/xop+xml', 'text/xml'), {}),
    ('an empty line first', MTOM, {'first': b'\r\n'}), ('8bit', MTOM, {'root_headers': b'\r\nContent-Transfer-Encoding: 8bit'}),
    ('binary', MTOM, {'root_headers': b'\r\nContent-Transfer-Encoding: binary'}), ('10 MB', MTOM, {'other': os.urandom(10_000_000)}),
    ('an empty part', MTOM, {'other': b''}))
def of_a_multipart_only_the_root_changes(world, content_type, how):
	lars = world.user()
	world.order_and_sign(lars)
	sent = multipart(world.proxy_request(lars, world.service('sink'), body=XOP), **how)
	for chunked in (False, True):
		parts = {'xml': iter([sent[:700], sent[700:]]), 'chunked': True} if chunked else {'xml': sent}
		before = world.stub_count()
		answer = world.post_proxy(headers={'Content-Type': content_type}, **parts)
		assert answer.status == 200, answer.body
		got = world.forwarded(before)
		assert without_card(got['body']) == without_card(sent)
		assert head_of(got)['content-type'] == content_type
		card = re.search(rb'<saml:Assertion[ >].*?</saml:Assertion>', got['body'], re.S)[0]
		good, said = client.verify_card(card, world.certs.path('sts.pem'))
		assert good, said


@cases(('quoted-printable', MTOM, lambda root: multipart(root, root_headers=b'\r\nContent-Transfer-Encoding: quoted-printable')),
    ('the root is in UTF-16', MTOM, lambda root: multipart(root.decode().replace('encoding="UTF-8"', 'encoding="UTF-16"').encode('utf-16'))),
    ('the root says it is in Latin-1', MTOM, lambda root: multipart(root).replace(b'charset=utf-8', b'charset=iso-8859-1')),
    ('SOAP 1.2', MTOM.replace('start-info="text/xml"', 'start-info="application/soap+xml"'), multipart),
    ('it ends in the root', MTOM, lambda root: multipart(root)[:900]))
def a_multipart_that_can_be_read_two_ways_is_refused(world, content_type, make):
	lars = world.user()
	world.order_and_sign(lars)
	message = make(world.proxy_request(lars))
	with world.nothing_forwarded():
		world.refused(world.post_proxy(message, headers={'Content-Type': content_type}), SYNTAX)


def a_card_operation_is_no_multipart(world):
	world.refused(world.post_service(multipart(client.order_card(world.user())), headers={'Content-Type': MTOM}), SYNTAX)


# ---- one order for a user

@cases(*[(form, form) for form in client.FORMS])
def orders_at_once_have_the_same_octets_to_sign(world, form):
	lars = world.user()
	asks = [('epj-a', client.order_card(lars, form)), ('lab-a', client.order_card(lars, form)), ('addr-a', client.order_card(lars))] * 3
	with concurrent.futures.ThreadPoolExecutor(9) as pool:
		answers = list(pool.map(lambda ask: world.post_service(ask[1], ask[0]).parse(), asks))
	assert len({a.digest for a in answers}) == 1 and answers[0].digest
	assert len({a.browser_url for a in answers}) == 1
