"""Calls through the proxy: the card is put in, all else arrives as it was sent; the answer comes back as it was given."""
import hashlib

import client
from harness import cases, without_card

NO_CARD = 'sosigw_no_valid_idcard_in_cache'


@cases(*[(form, form) for form in client.FORMS])
def a_call_arrives_with_the_card_and_else_unchanged(world, form):
	lars = world.user()
	world.order_and_sign(lars)
	before = world.stub_count()
	sent = client.proxy(lars, world.service('service'), form=form)
	answer = world.post_proxy(sent)
	assert answer.status == 200, answer.body
	got = world.forwarded(before)
	assert got['verdict'] == 'ok', got['text']
	assert without_card(got['body']) == without_card(sent)
	assert got['card'] != client.read_card(client.card_in(sent))['sosi:IDCardID']
	good, said = client.verify_card(client.card_in(got['body']), world.certs.path('sts.pem'))
	assert good, said
	assert client.card_in(got['body']).startswith(b'<') and b'id="IDCard"' in got['body']


BODIES = (
	('CDATA', '<a xmlns="urn:a"><![CDATA[<saml:Assertion>&amp;]]]]><![CDATA[>]]></a>'),
	('comments', '<!-- </soapenv:Body> --><a xmlns="urn:a"><!--x--></a>'),
	('prefix in content', '<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="soapenv:string">1</a>'),
	('odd white space', '<a\n\txmlns = "urn:a"\r\n b=\'1\'   >\r\n\t</a  >'),
	('character references', '<a xmlns="urn:a">&#230;&#x1F600;&lt;\u00e6</a>'),
	('a card of its own', '<a xmlns="urn:a"><saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" id="IDCard"/></a>'),
	('empty', ''),
)


@cases(*BODIES)
def the_body_arrives_byte_for_byte(world, body):
	lars = world.user()
	world.order_and_sign(lars)
	before = world.stub_count()
	sent = world.proxy_request(lars, world.service('sink'), body=body)
	assert world.post_proxy(sent).status == 200
	assert without_card(world.forwarded(before)['body']) == without_card(sent)


@cases(('length known', False), ('chunked', True))
def fifty_megabytes_arrive_whole(world, chunked):
	lars = world.user()
	world.order_and_sign(lars)
	before = world.stub_count()
	length, parts = client.big_proxy(lars, world.service('sink'), 50_000_000)
	parts = list(parts)
	answer = world.post_proxy(iter(parts), length=None if chunked else length, chunked=chunked)
	assert answer.status == 200, answer.body
	got = world.forwarded(before)
	assert got['complete'] and hashlib.sha256(got['body']).hexdigest() == got['sha256']
	assert without_card(got['body']) == without_card(b''.join(parts))


@cases(('1 KB', 'big/1000', 1000), ('1 MB', 'big/1000000', 1_000_000), ('1 MB, chunked', 'big/1000000?chunked', 1_000_000),
    ('50 MB', 'big/52428800', 52_428_800))
def an_answer_comes_back_whole(world, path, size):
	lars = world.user()
	world.order_and_sign(lars)
	answer = world.post_proxy(world.proxy_request(lars, world.service(path)), hash_only=True)
	assert (answer.status, answer.length, answer.complete) == (200, size, True), answer
	assert answer.sha256 == client.big_sha256(size)


def a_fault_of_the_service_passes_unchanged(world):
	lars = world.user()
	world.order_and_sign(lars)
	answer = world.post_proxy(world.proxy_request(lars, world.service('fault')))
	assert answer.status == 500 and answer.parse().fault_code == 'processing_problem', answer.body


@cases(('the service refuses connections', 'nobody', None), ('closes early', 'close-early', None), ('redirects', 'redirect', None),
    ('talks no HTTP', 'garbage', None), ('hangs', 'hang', None))
def a_service_that_fails_gives_a_proxy_fault(world, path, _):
	lars = world.user()
	world.order_and_sign(lars)
	to = world.sandbox['nobody'] + '/service' if path == 'nobody' else world.service(path)
	world.refused(world.post_proxy(world.proxy_request(lars, to)), 'sosigw_proxy_error')


@cases(('length known', 'cut/1000000'), ('chunked', 'cut-chunked'))
def an_answer_that_was_cut_looks_cut(world, path):
	lars = world.user()
	world.order_and_sign(lars)
	answer = world.post_proxy(world.proxy_request(lars, world.service(path)))
	assert not answer.complete, f'{answer.length} octets look like a whole answer'


def addressing_headers_are_taken_out_where_the_service_says_so(world):
	lars = world.user()
	world.order_and_sign(lars)
	before = world.stub_count()
	answer = world.post_proxy(world.proxy_request(lars, world.service('service?strip'), form='wcf'))
	assert answer.status == 200, answer.body
	got = world.forwarded(before)
	assert b'addressing' not in got['body'] and got['verdict'] == 'ok', got


def a_service_with_tls_gets_our_certificate(world):
	lars = world.user()
	world.order_and_sign(lars)
	before = world.stub_count()
	answer = world.post_proxy(world.proxy_request(lars, world.sandbox['stub_tls'] + '/service'))
	assert answer.status == 200, answer.body
	assert 'sosigw test client' in world.forwarded(before)['tls']


def a_service_whose_certificate_we_cannot_check_gets_nothing(world):
	lars = world.user()
	world.order_and_sign(lars)
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(lars, world.sandbox['stub_tls'] + '/service?untrusted')), 'sosigw_proxy_error')


def an_order_made_by_a_refused_call_can_be_signed(world):
	lars = world.user()
	request = world.proxy_request(lars)
	with world.nothing_forwarded():
		refused = world.refused(world.post_proxy(request), NO_CARD)
	assert refused.implicit, 'no implicitLoginHeader'
	signature = client.sign(refused.digest, world.certs.key('moces'))
	assert world.post_service(client.sign_id_card(lars, signature, world.certs.cert('moces'))).parse().ok
	assert world.post_proxy(request).status == 200


def the_refusal_comes_before_the_body(world):
	"""A client that waits for 100 Continue, as .NET does, is spared sending a body that nobody wants."""
	length, parts = client.big_proxy(world.user(), world.service('sink'), 20_000_000)
	answer = world.post_proxy(parts, length=length, pause=0.001)
	world.refused(answer, NO_CARD)


def a_proxy_call_leaves_an_audit_record(world):
	lars = world.user()
	world.order_and_sign(lars)
	before = world.stub_count()
	world.post_proxy(world.proxy_request(lars), 'lab-a')
	row, = world.audit(user=lars.name_id, kind='proxy')
	assert (row['status'], row['client'], row['service'], row['endpoint']) == ('ok', 'lab-a', 'service', world.service('service')), row
	assert row['card_id'] == world.forwarded(before)['card'], row
	assert int(row['http_status']) == 200 and int(row['bytes_in']) > 1000, row
