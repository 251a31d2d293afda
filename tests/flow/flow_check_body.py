"""A service set to check_body: a message that is not well formed to its end never reaches it whole."""
import contextlib
import time

import client
from harness import cases, without_card

SYNTAX = 'sosigw_syntax_error_in_request'


@contextlib.contextmanager
def checked(w):
	url = w.service('sink?checked')

	def add(document):
		document['services'].append({**document['services'][0], 'id': 'checked', 'url': url, 'check_body': True})

	with w.configured(add):
		yield url


def complete_since(w, before):
	return [r for r in w.stub_requests(before) if r.get('complete')]


@cases(('a foreign end tag', b'</soapenv:Body>', b'</a></soapenv:Body>'), ('a second Body', b'</soapenv:Body>', b'</soapenv:Body><soapenv:Body/>'),
    ('cut', b'</soapenv:Envelope>', b''), ('text behind the end', b'</soapenv:Envelope>', b'</soapenv:Envelope>x'))
def a_broken_body_is_refused(world, old, new):
	lars = world.user()
	world.order_and_sign(lars)
	with checked(world) as url:
		message = world.proxy_request(lars, url)
		assert world.post_proxy(message).status == 200
		assert message.count(old) == 1
		before = world.stub_count()
		world.refused(world.post_proxy(message.replace(old, new)), SYNTAX)
		assert not complete_since(world, before)


def a_multipart_is_told_that_this_service_takes_none(world):
	lars = world.user()
	world.order_and_sign(lars)
	with checked(world) as url, world.nothing_forwarded():
		message = b'--b\r\nContent-Type: application/xop+xml; type="text/xml"\r\n\r\n' + world.proxy_request(lars, url) + b'\r\n--b--\r\n'
		world.refused(world.post_proxy(message, headers={'Content-Type': 'multipart/related; type="application/xop+xml"; boundary=b'}), SYNTAX,
		    'This service takes text/xml only')


def a_long_broken_body_is_refused_before_its_end_is_sent(world):
	lars = world.user()
	world.order_and_sign(lars)
	with checked(world) as url:
		length, parts = client.big_proxy(lars, url, 5_000_000)
		good = b''.join(parts)
		assert world.post_proxy(good).status == 200
		before = world.stub_count()
		world.refused(world.post_proxy(good[:-40] + b'<' * 40), SYNTAX)
		assert not complete_since(world, before)
		assert length == len(good)


@cases(('small', 3), ('long', 3_000_000))
def a_cdata_section_arrives_as_it_is(world, count):
	"""Also one that was made to cost the parser much; a long one streams."""
	lars = world.user()
	world.order_and_sign(lars)
	body = '<t:x xmlns:t="urn:t"><![CDATA[' + ']<[<!-' * count + ']]]]>]]&gt;</t:x>'
	with checked(world) as url:
		message = world.proxy_request(lars, url, body=body)
		before = world.stub_count()
		assert world.post_proxy(message).status == 200
		assert without_card(world.forwarded(before, 30)['body']) == without_card(message)


def a_tag_of_many_attributes_costs_little(world):
	lars = world.user()
	world.order_and_sign(lars)
	body = '<a ' + ' '.join(f'a{i:x}=""' for i in range(300000)) + '/>'
	with checked(world) as url:
		before = world.stub_count()
		began = time.monotonic()
		world.refused(world.post_proxy(world.proxy_request(lars, url, body=body)), SYNTAX)
		assert time.monotonic() - began < 2
		assert not complete_since(world, before)
