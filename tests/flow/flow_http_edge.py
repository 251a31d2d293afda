"""What comes over HTTP and FastCGI that is not a plain call: a message whose end was not seen never reaches a service whole."""
import base64
import contextlib
import itertools
import json
import os
import random
import re
import socket
import struct
import threading
import time
import urllib.request
from http.client import HTTPConnection

import client
from harness import cases, until, without_card
from hostile import Canary, Refusals, check_fault, passes, pids, signed_in

PATH = client.PROXY.encode()


# ---- who calls

def every_wrong_way_to_show_a_secret_is_refused(world):
	lars = signed_in(world)
	secret, other = world.secret('epj-a'), world.secret('far-a')
	message = client.proxy(lars, world.service('service'))
	name = 'SOSIGW-Secret'

	def basic(text):
		return {'Authorization': 'Basic ' + base64.b64encode(text.encode()).decode()}

	with Refusals(world, who=None) as refused:
		for note, headers in (
		    ('none', {}), ('wrong', {name: 'x' * len(secret)}), ('empty', {name: ''}), ('a prefix', {name: secret[:-1]}),
		    ('a suffix', {name: secret[1:]}), ('longer', {name: secret + 'x'}),
		    ('doubled', {name: secret + secret}), ('other case', {name: secret.swapcase()}), ('quoted', {name: f'"{secret}"'}),
		    ('its stored form', {name: stored_secret(world)}),
		    ('another client\'s', {name: other}), ('twice, right and wrong', {name: secret, name.lower(): 'wrong'}),
		    ('twice, wrong and right', {name: 'wrong', name.lower(): secret}),
		    ('twice the same', {name: secret, name.lower(): secret}), ('with a comma', {name: secret + ','}),
		    ('underscore', {'SOSIGW_Secret': secret}), ('all underscore', {'HTTP_SOSIGW_SECRET': secret}),
		    ('as a parameter', {'HTTP-SOSIGW-SECRET': secret}), ('in a cookie', {'Cookie': f'{name}={secret}'}),
		    ('another name', {'X-SOSIGW-Secret': secret}), ('the client id', {name: 'epj-a'}),
		    ('Basic, wrong', basic('epj-a:wrong')), ('Basic, no password', basic('epj-a:')),
		    ('Basic, no colon', basic(f'epj-a{secret}')), ('Basic, other client', basic(f'lab-a:{secret}')),
		    ('Basic, unknown client', basic(f'nobody:{secret}')), ('Basic, empty id', basic(f':{secret}')),
		    ('Basic, id in upper case', basic(f'EPJ-A:{secret}')), ('Basic, NUL', basic(f'epj-a:{secret}\0')),
		    ('Basic, not base64', {'Authorization': 'Basic %%%'}), ('Basic, nothing', {'Authorization': 'Basic '}),
		    ('Bearer', {'Authorization': f'Bearer {secret}'}), ('Digest', {'Authorization': f'Digest {secret}'}),
		    ('no scheme', {'Authorization': secret}), ('Basic twice',
		    {**basic('epj-a:wrong'), 'authorization': basic(f'epj-a:{secret}')['Authorization']}),
		    ('wrong Basic and right header', {**basic('epj-a:wrong'), name: secret}),
		    ('Proxy-Authorization', {'Proxy-Authorization': basic(f'epj-a:{secret}')['Authorization']}),
		    ('very long', {name: 'x' * 8000})):
			refused.post(note, message, 'CLIENT_UNKNOWN', headers=headers)
		refused.post('from another address', message, 'CLIENT_UNKNOWN', {'address': '127.0.4.1', 'client': None, 'user': None},
		    http=world.http('epj-a', source='127.0.4.1'))
		for query in (f'?{name}={secret}', f'?secret={secret}', f'?HTTP_SOSIGW_SECRET={secret}'):
			refused.path = client.PROXY + query
			refused.post(f'in the query {query[:8]}', message, 'CLIENT_UNKNOWN')
	assert world.http('epj-a').post(client.PROXY, message).status == 200


def stored_secret(w):
	return next(c['secrets'][0] for c in w.configuration()['clients'] if c['id'] == 'epj-a')


FORWARDING = ('X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'Client-IP', 'X-Client-IP', 'True-Client-IP', 'CF-Connecting-IP',
    'X-Cluster-Client-IP', 'X-Forwarded', 'Forwarded-For', 'X-Originating-IP',
    'X-Remote-IP', 'X-Remote-Addr', 'X-ProxyUser-Ip', 'Fastly-Client-IP', 'X-Azure-ClientIP', 'X-Host', 'Remote-Addr',
    'REMOTE_ADDR', 'X-Forwarded-Client-Cert', 'X-SSL-Client-Verify', 'Via', 'X-Envoy-External-Address')


def no_header_makes_another_address(world):
	"""Only the connection's address counts, and X-Forwarded-For alone from a listed front proxy alone."""
	message = client.proxy(signed_in(world), world.service('service'))
	with Refusals(world, who=None) as refused:
		for i, header in enumerate(FORWARDING):
			http = world.http(None, source=f'127.0.5.{i + 1}')	# of one address only so many refusals are audited one by one
			for value in ('127.0.0.2', 'for=127.0.0.2', '127.0.0.3, 127.0.0.2'):
				refused.post(f'{header}: {value}', message, 'CLIENT_UNKNOWN', {'address': f'127.0.5.{i + 1}'}, http=http,
				    headers={header: value})
	with Refusals(world, who=None, source='127.0.0.3') as refused:
		for header in FORWARDING[1:]:
			refused.post(f'{header} of a front proxy', message, 'CLIENT_UNKNOWN', headers={header: '127.0.0.2'})
		for value in ('127.0.0.2, 127.0.0.9', '127.0.0.2, x', '127.0.0.2,', 'x', '127.0.0.2:80', '"127.0.0.2"', '0x7f000002',
		    '127.2'):
			refused.post(f'X-Forwarded-For: {value} of a front proxy', message, 'CLIENT_UNKNOWN',
			    headers={'X-Forwarded-For': value})
	assert world.http(None, source='127.0.0.3').post(client.PROXY, message,
	    headers={'X-Forwarded-For': '10.0.0.1, 127.0.0.2'}).status == 200


@cases(('Proxy', 'Proxy'), ('HTTP-Proxy', 'HTTP-Proxy'), ('http_proxy', 'http_proxy'), ('all_proxy', 'ALL_PROXY'),
    ('X-Forwarded-Host', 'X-Forwarded-Host'), ('SCRIPT-FILENAME', 'SCRIPT-FILENAME'),
    ('Content_Length', 'Content_Length'), ('Document-Root', 'DOCUMENT-ROOT'), ('LD_PRELOAD', 'LD-PRELOAD'))
def a_header_that_looks_like_the_environment_has_no_effect(world, name):
	with Canary() as canary:
		passes(world, client.proxy(signed_in(world), world.service('service')), headers={name: f'127.0.0.1:{canary.port}'})


# ---- where a message ends

def request(w, body, *lines, start=b'POST ' + PATH + b' HTTP/1.1'):
	"""A request as octets, with the secret; lines: its other headers."""
	head = [start, b'Host: localhost', b'Content-Type: text/xml; charset=utf-8', b'SOSIGW-Secret: ' + w.secret('epj-a').encode(),
	    *lines]
	return b'\r\n'.join(head) + b'\r\n\r\n' + body


def chunked(body, size=1000, end=b'0\r\n\r\n', extension=b''):
	return b''.join(b'%x%b\r\n%b\r\n' % (len(p), extension,
	    p) for p in (body[i:i + size] for i in range(0, len(body), size))) + end


def status_of(octets):
	"""The statuses in what came back."""
	return [int(s) for s in re.findall(rb'HTTP/1\.1 (\d{3}) ', octets) if s != b'100']


def settle(w):
	"""Waits until what is under way has ended, so that it is not laid at the next test's door."""
	def under_way():
		with urllib.request.urlopen(w.sandbox['stub'] + '/requests?last=0', timeout=5) as r:
			return json.load(r)['open']

	time.sleep(0.2)
	assert until(lambda: not under_way()), 'requests are still open at the service'


def framings(m):
	"""note, body, headers, and whether the client then shuts down: what cannot be a whole message."""
	n = len(m)
	te = b'Transfer-Encoding: chunked'

	def cl(value):
		return b'Content-Length: ' + (value if isinstance(value, bytes) else b'%d' % value)

	return (
		('length half', m, [cl(n // 2), b'Connection: close']), ('length one long', m, [cl(n + 1)]),
		('length much too long', m, [cl(n * 10)]),
		('negative', m, [cl(-n)]), ('-1', m, [cl(-1)]), ('plus sign', m, [cl(b'+%d' % n)]), ('empty', m, [cl(b'')]),
		('hex', m, [cl(b'0x%x' % n)]), ('no number', m, [cl(b'all')]), ('a fraction', m, [cl(b'%d.0' % n)]),
		('an exponent', m, [cl(b'1e3')]), ('trailing text', m, [cl(b'%dx' % n)]), ('two numbers', m, [cl(b'%d %d' % (n, n))]),
		('a list', m, [cl(b'%d, %d' % (n, n + 1))]), ('2^63', m, [cl(1 << 63)]), ('2^64 and the length', m, [cl((1 << 64) + n)]),
		('2^32 and the length', m, [cl((1 << 32) + n)]), ('40 digits', m, [cl(b'9' * 40)]),
		('twice, different', m, [cl(n), cl(n - 1)]), ('twice, different, short first', m, [cl(n - 1), cl(n)]),
		('no length at all', m, []), ('chunk size not hex', b'zz\r\n' + m, [te]), ('chunk size negative', b'-5\r\n' + m, [te]),
		('chunk size empty', b'\r\n' + m, [te]), ('chunk size overflow', b'f' * 17 + b'\r\n' + m, [te]),
		('chunk size with 0x', b'0x%x\r\n%b\r\n0\r\n\r\n' % (n, m), [te]),
		('chunk longer than its size', b'%x\r\n%b\r\n0\r\n\r\n' % (n - 5, m), [te]),
		('chunk shorter than its size', b'%x\r\n%b\r\n0\r\n\r\n' % (n + 50, m), [te]),
		('no CRLF behind a chunk', b'%x\r\n%b0\r\n\r\n' % (n, m), [te]), ('no last chunk', chunked(m, end=b''), [te]),
		('last chunk without its end', chunked(m, end=b'0\r\n'), [te]), ('half of the last chunk', chunked(m, end=b'0'), [te]),
		('a chunk that is cut', chunked(m)[:-60], [te]), ('TE unknown', m, [b'Transfer-Encoding: x', cl(n)]),
		('TE identity', m, [b'Transfer-Encoding: identity', cl(n)]),
		('TE misspelt', chunked(m), [b'Transfer-Encoding: xchunked']),
		('chunked, then gzip', chunked(m), [b'Transfer-Encoding: chunked, gzip']),
		('space before the colon', chunked(m), [b'Transfer-Encoding : chunked']),
		('TE with a tab', chunked(m), [b'Transfer-Encoding:\x0bchunked']), ('a bare CR', m, [cl(n) + b'\rX: y']),
		('NUL in a header', m, [cl(n), b'X: a\0b']), ('a header without a colon', m, [cl(n), b'X']),
	)


def a_message_whose_end_is_not_clear_is_never_forwarded(world):
	m = client.proxy(signed_in(world), world.service('sink'))
	http, before, workers = world.http(None), world.stub_count(), pids(world)
	wrong = []
	for note, body, lines in framings(m):
		got = http.raw(request(world, body, *lines), 5, shut=True)
		if 200 in status_of(got):
			wrong.append(f'{note}: {got[:200]}')
		elif got and not set(status_of(got)) <= {400, 408, 411, 413, 500, 501}:
			wrong.append(f'{note}: {got[:200]}')
	assert pids(world) == workers and not wrong, '\n'.join(wrong)
	settle(world)	# a length too long for one piece is on its way already when the client stops
	whole = [r for r in world.stub_requests(before) if r['complete']]
	assert not whole, whole


def passing(m):
	"""Odd, but with one meaning only: it arrives whole, or Apache refuses it."""
	cl, te = b'Content-Length: %d' % len(m), b'Transfer-Encoding: chunked'
	return (
		('leading zeros', m, [b'Content-Length: 000%d' % len(m)]), ('the same length twice', m, [cl, cl]),
		('length and chunked: chunked counts', chunked(m), [b'Content-Length: 5', te]),
		('chunked and length', chunked(m), [te, b'Content-Length: 5']),
		('chunked, length of all', chunked(m), [te, b'Content-Length: %d' % len(chunked(m))]),
		('CHUNKED', chunked(m), [b'Transfer-Encoding: CHUNKED']),
		('chunked named twice', chunked(m), [b'Transfer-Encoding: chunked, chunked']),
		('gzip, chunked', chunked(m), [b'Transfer-Encoding: gzip, chunked']), ('chunks of one octet', chunked(m, 1), [te]),
		('one chunk', chunked(m, len(m)), [te]), ('chunk extensions', chunked(m, extension=b';a=b;c="d e"'), [te]),
		('upper case sizes', chunked(m, 171).replace(b'ab\r\n', b'AB\r\n'), [te]),
		('zeros before sizes', b'000000%x\r\n%b\r\n0\r\n\r\n' % (len(m), m), [te]),
		('trailers', chunked(m, end=b'0\r\nX-Evil: y\r\nContent-Length: 3\r\n\r\n'), [te]),
		('a folded header', m, [cl, b'X: a\r\n b']), ('a range', m, [cl, b'Range: bytes=0-9']),
		('text behind the message', m + b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', [cl]),
	)


def a_message_with_an_odd_frame_arrives_whole_or_not_at_all(world):
	m = client.proxy(signed_in(world), world.service('sink'))
	http, arrived = world.http(None), 0
	whole = without_card(m)
	starts = ((b'POST %b HTTP/9.9' % PATH, 'HTTP/9.9'), (b'POST http://evil.example%b HTTP/1.1' % PATH, 'absolute form'),
	    (b'POST %b HTTP/1.0' % PATH, 'HTTP/1.0'))
	rows = [(note, request(world, body, *lines, b'Connection: close')) for note, body, lines in passing(m)]
	rows += [(note, request(world, m, b'Content-Length: %d' % len(m), b'Connection: close', start=start)) for start,
	    note in starts]
	for note, octets in rows:
		before = world.stub_count()
		got = http.raw(octets, 10)
		bodies = [(without_card(r['body']), r['complete']) for r in world.stub_requests(before)]
		if bodies:
			assert bodies == [(whole, True)] and status_of(got) == [200], f'{note}: {len(bodies)} requests, {got[:300]}'
			arrived += 1
		else:
			assert status_of(got) == [400], f'{note}: {got[:300]}'
	assert arrived > 12, f'only {arrived} arrived'


@cases(('small chunks', 100, 0), ('with a length and pauses', None, 0.01))
def a_message_that_comes_in_pieces_arrives_whole(world, size, pause):
	m = client.proxy(signed_in(world), world.service('service'))
	parts = [m[i:i + (size or 500)] for i in range(0, len(m), size or 500)]
	before = world.stub_count()
	answer = world.post_proxy(iter(parts), chunked=size is not None, length=len(m), pause=pause)
	assert answer.status == 200, answer.body
	assert without_card(world.forwarded(before)['body']) == without_card(m)


def cut_request(w, octets, at, how):
	"""Sends the first octets of a request and breaks off."""
	s = w.http(None).connect()
	with contextlib.suppress(OSError):
		s.sendall(octets[:at])
		if how == 'reset':
			time.sleep(0.01)	# what was sent is to arrive before
			s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
		elif how == 'half-closed':
			s.shutdown(socket.SHUT_WR)
			s.settimeout(5)
			while s.recv(65536):
				pass
	s.close()


@cases(*[(f'{how}, {coding}', how, coding) for how in ('closed', 'half-closed', 'reset') for coding in ('length', 'chunked')])
def a_client_that_breaks_off_leaves_no_whole_message_at_the_service(world, how, coding):
	lars = signed_in(world)
	body = client.proxy(lars, world.service('sink'), body=f'<x>{"y" * 300000}</x>')
	workers, before = pids(world), world.stub_count()
	octets = request(world, chunked(body, 8192), b'Transfer-Encoding: chunked') if coding == 'chunked' else request(world, body,
	    b'Content-Length: %d' % len(body))
	head = octets.index(b'\r\n\r\n') + 4
	dice = random.Random(how + coding)
	offsets = [head - 9, head, head + 1, head + 400, head + 3000, head + 3700, head + 5000, head + 49152, head + 65536,
	    head + 66000, *(dice.randrange(head, len(octets)) for _ in range(10)), len(octets) - 1]
	for at in offsets:
		cut_request(world, octets, at, how)
	rows = world.audit(least=8, user=lars.name_id, kind='proxy')
	assert {(r['status'], r['reason']) for r in rows} == {('refused', 'BODY_CUT')}, {(r['status'], r['reason']) for r in rows}
	settle(world)
	got = [r for r in world.stub_requests(before) if r['complete']]
	assert not got, f'{len(got)} whole messages from clients that broke off'
	assert pids(world) == workers and world.post_proxy(client.proxy(lars, world.service('service'))).status == 200


def a_refused_body_is_never_taken_for_the_next_request(world):
	"""What stands behind the head of a refused message must not become a request of its own."""
	lars, stranger = signed_in(world), world.user()
	inner = client.proxy(lars, world.service('sink'))
	smuggled = request(world, inner, b'Content-Length: %d' % len(inner)) * 30
	with world.nothing_forwarded():
		for bad in (client.proxy(stranger, world.service('sink'), body='@@').replace(b'@@', smuggled), b'<!DOCTYPE x>' + smuggled,
		    b'x' + smuggled):
			for framed in (request(world, bad, b'Content-Length: %d' % len(bad), b'Connection: close'),
			    request(world, chunked(bad), b'Transfer-Encoding: chunked', b'Connection: close')):
				assert status_of(world.http(None).raw(framed, 10)) == [500]
	http = world.http()
	for _ in range(20):	# refused and served in turn, over one connection
		check_fault(http.post(client.PROXY, b'<!DOCTYPE x>' + smuggled[:30000], keep=True))
		assert http.post(client.PROXY, inner, keep=True).status == 200


# ---- many at once

def pipelined_answers_come_in_order(world):
	users = [signed_in(world) for _ in range(4)]
	order = [users[i % 4] for i in (0, 1, 2, 3, 3, 1, 0, 2)]
	bodies = [client.proxy(u, world.service('service')) for u in order]
	octets = b''.join(request(world, m, b'Content-Length: %d' % len(m),
	    *([b'Connection: close'] if i == len(bodies) - 1 else [])) for i, m in enumerate(bodies))
	got = world.http(None).raw(octets, 10)
	assert status_of(got) == [200] * len(order), got[:300]
	ids = re.findall(rb'<r:IDCardID>([^<]+)<', got)
	mine = [client.read_card(world.get_card(u).card)['sosi:IDCardID'].encode() for u in users]
	assert ids == [mine[users.index(u)] for u in order], 'answers are swapped'


def two_hundred_clients_at_once_each_get_their_own_answer(world):
	users = [signed_in(world) for _ in range(8)]
	mine = [client.read_card(world.get_card(u).card)['sosi:IDCardID'].encode() for u in users]
	wrong = []

	def call(i):
		who = i % len(users)
		try:
			answer = world.post_proxy(client.proxy(users[who], world.service('service')))
			if answer.status != 200 or mine[who] not in answer.body:
				wrong.append(f'{answer.status} {answer.body[:300]}')
		except OSError as e:
			wrong.append(repr(e))

	threads = [threading.Thread(target=call, args=(i,)) for i in range(200)]
	for t in threads:
		t.start()
	for t in threads:
		t.join()
	assert not wrong, f'{len(wrong)} of 200: {wrong[0]}'


@contextlib.contextmanager
def held_open(w, how, count=50):
	"""Connections that send a little of something every half second."""
	start = {'headers': b'POST %b HTTP/1.1\r\nHost: x\r\n' % PATH,
	    'a body': request(w, b'<s:Envelope', b'Content-Length: 100000'),
	    'a chunked body': request(w, b'', b'Transfer-Encoding: chunked'), 'nothing': b''}[how]
	drop = {'headers': b'X: y\r\n', 'a body': b' ', 'a chunked body': b'1\r\n \r\n', 'nothing': b''}[how]
	sockets = [w.http(None).connect() for _ in range(count)]
	done = threading.Event()

	def drip():
		while not done.wait(0.5):
			for s in sockets:
				with contextlib.suppress(OSError):
					s.sendall(drop)

	for s in sockets:
		s.sendall(start)
	thread = threading.Thread(target=drip)
	thread.start()
	try:
		yield
	finally:
		done.set()
		thread.join()
		for s in sockets:
			s.close()


@cases(*[(how, how) for how in ('headers', 'a body', 'a chunked body', 'nothing')])
def slow_clients_do_not_hold_up_others(world, how):
	lars = signed_in(world)
	message = client.proxy(lars, world.service('service'))
	with held_open(world, how):
		end = time.monotonic() + 2
		seconds = []
		while time.monotonic() < end:
			answer = world.post_proxy(message)
			assert answer.status == 200, answer.body
			seconds.append(answer.seconds)
			time.sleep(0.02)
	assert sorted(seconds)[len(seconds) // 2] < 0.5 and max(seconds) < 3, f'{max(seconds):.2f} s at most in {len(seconds)} calls'


def connections_that_come_and_go_do_no_harm(world):
	workers = pids(world)
	for i in range(300):
		s = world.http(None).connect()
		if i % 3 == 0:
			s.sendall(b'POST ')
		if i % 3 == 1:
			s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
		s.close()
	assert world.post_proxy(client.proxy(signed_in(world), world.service('service'))).status == 200 and pids(world) == workers


# ---- methods, and the end before the end

@cases(*[(m or 'none', m) for m in ('PATCH', 'PROPFIND', 'CONNECT', 'TRACK', 'DEBUG', 'post', 'POSTX', 'MERGE', 'SEARCH')])
def odd_methods_are_refused(world, method):
	message = client.proxy(signed_in(world), world.service('service'))
	with world.nothing_forwarded():
		got = world.http(None).raw(request(world, message, b'Content-Length: %d' % len(message), b'Connection: close',
		    start=method.encode() + b' ' + PATH + b' HTTP/1.1'), 5)
		assert status_of(got) and set(status_of(got)) <= {400, 403, 405, 501}, got[:300]


@cases(('GET', 'GET', 405), ('HEAD', 'HEAD', 405))
def the_proxy_is_for_posting(world, method, status):
	answer = world.http().request(method, client.PROXY)
	assert answer.status == status and answer.headers['Allow'], (answer.status, answer.headers)


def small_buffer(http):
	"""The kernel takes little ahead of the other end: what was sent is what travelled."""
	connect = http.connect

	def connect_small():
		s = connect()
		s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
		return s

	http.connect = connect_small
	return http


def taken_by_apache(w, trace):
	"""How many bytes of this request Apache had read when it was done with it."""
	path = os.path.join(w.folder, 'log', 's1', 'sosigw-access.log')

	def row():
		with open(path, encoding='utf-8') as f:
			return next((json.loads(line) for line in f if trace in line), None)

	got = until(row)
	assert got, 'not in the access log'
	return got['in']


@cases(('sending at once', {}), ('chunked', {'chunked': True}), ('Expect: 100-continue', {'expect': True}),
    ('Expect: 100-continue, chunked', {'expect': True, 'chunked': True}))
def a_refused_upload_costs_the_client_little(world, options):
	"""Of 500 MB Apache takes what it reads ahead and what fits into the worker's socket; docs/interface.md has the figure."""
	total, sent = 500 << 20, []
	before = client.proxy(world.user(), world.service('sink'), body='@@').split(b'@@')[0]

	def parts():
		yield before
		for piece in client.filler(total - len(before)):
			for i in range(0, len(piece), 16384):
				sent.append(piece[i:i + 16384])
				yield sent[-1]

	for who, reason in (('epj-a', 'NO_CARD'), (None, 'CLIENT_UNKNOWN')):
		with Refusals(world, who=who) as refused:
			sent.clear()
			trace = f'{random.getrandbits(128):032x}'
			refused.post(reason, parts(), reason, http=small_buffer(world.http(who)), headers={'traceparent': f'00-{trace}-00f067aa0ba902b7-01'},
			    length=None if options.get('chunked') else total, **options)
			taken, octets = taken_by_apache(world, trace), sum(map(len, sent))
			assert taken < 160_000, f'{taken} octets were read'
			assert octets < 512 << 10, f'{octets} octets of the body were sent'	# some in buffers of the kernel


@cases(('of known length', False), ('chunked', True))
def a_client_that_sends_all_before_it_reads_gets_the_refusal(world, is_chunked):
	"""As Python's and Java's own clients do: what it goes on sending is taken and thrown away, so that the answer is not lost in a reset."""
	first = client.proxy(world.user(), world.service('sink'), body='@@').split(b'@@')[0]
	base = world.http()
	connection = HTTPConnection(base.host, base.port, timeout=30)
	headers = {'Content-Type': 'text/xml', 'SOSIGW-Secret': world.secret('epj-a')}
	length = 50 << 20
	headers.update({'Transfer-Encoding': 'chunked'} if is_chunked else {'Content-Length': str(length)})
	with world.nothing_forwarded(), contextlib.closing(connection):
		connection.request('POST', client.PROXY, itertools.chain([first], client.filler(length - len(first))), headers,
		    encode_chunked=is_chunked)
		answer = connection.getresponse()
		assert answer.status == 500 and b'implicitLoginHeader' in answer.read()


@cases(('short', 100, {}), ('long', 300_000, {}), ('chunked', 300_000, {'chunked': True}))
def a_message_that_its_worker_took_along_is_not_the_clients_fault(world, size, options):
	"""The balancer gives it to the other worker without what was read of it, maybe after it was forwarded: that is said, and not that it was wrong."""
	lars, answers = signed_in(world), []
	message = client.proxy(lars, world.service('slow/10000'), body=f'<x>{"y" * size}</x>')
	parts = [message[i:i + 8192] for i in range(0, len(message), 8192)]

	def call():
		answers.append(world.post_proxy(iter(parts) if options else message, **options))

	thread = threading.Thread(target=call)
	with world.stopped('s1-proxy-2'):
		for _ in range(3):	# so that Apache knows that it is away: it tries two workers, not three
			world.post_proxy(client.proxy(lars, world.service('service')))
		before = world.stub_count()
		thread.start()
		assert until(lambda: world.stub_count() > before), 'the call did not reach the service'
	time.sleep(1.2)		# Apache looks at a worker that was away again after a second (retry=1)
	world.kill('proxy-1')
	thread.join()
	reason, request_id = check_fault(answers[0])
	assert reason == 'MESSAGE_LOST' and world.stub_count() == before + 1
	rows = until(lambda: [r for r in world.audit(kind='proxy', status='failed') if r['request_id'] == request_id], 15, 0.3)
	assert rows and rows[0]['reason'] == 'MESSAGE_LOST', rows
	assert until(lambda: world.post_proxy(client.proxy(lars, world.service('service'))).status == 200)


# ---- straight to a worker, past Apache

def pair(name, value):
	def length(n):
		return struct.pack('>I', n | 1 << 31) if n > 127 else bytes([n])
	name, value = (x if isinstance(x, bytes) else x.encode() for x in (name, value))
	return length(len(name)) + length(len(value)) + name + value


def record(kind, content=b'', rid=1, version=1, padding=0, length=None):
	return struct.pack('>BBHHBx', version, kind, rid, len(content) if length is None else length,
	    padding) + content + b'\0' * padding


def fcgi(w, body, length=None, begin=None, more=(), stdin=None, params=None):
	"""A FastCGI request: BEGIN_REQUEST, PARAMS, STDIN."""
	given = {'REQUEST_METHOD': 'POST', 'REMOTE_ADDR': '127.0.0.1', 'CONTENT_TYPE': 'text/xml',
	    'HTTP_SOSIGW_SECRET': w.secret('epj-a'), 'CONTENT_LENGTH': str(len(body)) if length is None else length}
	out = (begin if begin is not None else record(1, struct.pack('>HB5x', 1, 1)))
	out += params if params is not None else record(4, b''.join(pair(k, v) for k, v in [*given.items(), *more])) + record(4)
	return out + (stdin if stdin is not None else record(5, body) + record(5))


def to_worker(w, octets):
	"""What a worker answers to these octets on its socket, at whose end it closes."""
	out = b''
	with socket.socket(socket.AF_UNIX) as s:
		s.settimeout(30)
		with contextlib.suppress(OSError):
			s.connect(os.path.join(w.folder, 's1', 'run', 'proxy-1.sock'))
			s.sendall(octets)
			s.shutdown(socket.SHUT_WR)
			while part := s.recv(65536):
				out += part
	return out


def garbage(w, m):
	dice = random.Random(7)
	whole = fcgi(w, m)
	yield from ((f'cut at {at}', whole[:at]) for at in sorted(dice.sample(range(1, len(whole) - 8), 40)))
	yield from ((f'random octets {i}', dice.randbytes(dice.randrange(1, 4000))) for i in range(20))
	yield from ((f'random octets behind a head {i}', whole[:16] + dice.randbytes(300)) for i in range(10))
	begin = struct.pack('>HB5x', 1, 1)
	yield from (
		('version 0', whole.replace(b'\x01', b'\x00', 1)), ('version 2', record(1, begin, version=2) + whole[16:]),
		('role 0', fcgi(w, m, begin=record(1, struct.pack('>HB5x', 0, 1)))),
		('role 99', fcgi(w, m, begin=record(1, struct.pack('>HB5x', 99, 1)))),
		('id 0', fcgi(w, m, begin=record(1, begin, rid=0))), ('another id in PARAMS', fcgi(w, m, begin=record(1, begin, rid=7))),
		('BEGIN_REQUEST twice', fcgi(w, m, begin=record(1, begin) * 2)),
		('BEGIN_REQUEST too short', fcgi(w, m, begin=record(1, begin[:3]))), ('no BEGIN_REQUEST', fcgi(w, m, begin=b'')),
		('GET_VALUES', record(9, pair('FCGI_MPXS_CONNS', ''), rid=0) * 50), ('ABORT first', record(2) + whole),
		('ABORT in the body', fcgi(w, m, stdin=record(5, m[:900]) + record(2))),
		('a name of 2 GB', fcgi(w, m, params=record(4, b'\xff\xff\xff\xff\xff\xff\xff\xff' + b'x' * 100) + record(4))),
		('a value of 2 GB', fcgi(w, m, params=record(4, b'\x01\xff\xff\xff\xffx') + record(4))),
		('PARAMS that end in a name', fcgi(w, m, params=record(4, pair('A', 'b')[:-1]) + record(4))),
		('10,000 parameters', fcgi(w, m, params=record(4, (pair('A', 'bc') * 10000)[:65535]) + record(4))),
		('parameters without end', record(1, begin) + record(4, pair('A', 'b' * 60000)) * 20),
		('no parameters', fcgi(w, m, params=record(4))), ('length longer than STDIN', fcgi(w, m, length=str(len(m) + 1))),
		('length shorter than STDIN', fcgi(w, m, length=str(len(m) - 1))), ('length negative', fcgi(w, m, length='-5')),
		('length no number', fcgi(w, m, length='5x')), ('length overflow', fcgi(w, m, length='9' * 30)),
		('STDIN not ended', fcgi(w, m, stdin=record(5, m))),
		('another id in STDIN', fcgi(w, m, stdin=record(5, m, rid=9) + record(5, rid=9))),
		('record longer than it says', fcgi(w, m, stdin=record(5, m, length=len(m) - 9) + record(5))),
		('DATA in place of STDIN', fcgi(w, m, stdin=record(8, m) + record(8))), ('unknown type', fcgi(w, m, stdin=record(77, m))),
		('no length, STDIN not ended', fcgi(w, m, length='', stdin=record(5, m))),
	)


def a_worker_survives_whatever_comes_on_its_socket(world):
	lars = signed_in(world)
	m = client.proxy(lars, world.service('sink'))
	workers, before = pids(world), world.stub_count()
	assert b'Status: 200' in to_worker(world, fcgi(world, m)), 'a good request is served'
	assert b'Status: 200' in to_worker(world, fcgi(world, m, length='')), 'and one of unknown length'
	assert world.stub_count() == before + 2
	wrong = []
	for note, octets in garbage(world, m):
		seen = world.stub_count()
		got = to_worker(world, octets)
		if b'Status: 200' in got or world.stub_count() != seen:
			wrong.append(f'{note}: {got[:200]}')
	assert not wrong, '\n'.join(wrong)
	assert pids(world) == workers and b'Status: 200' in to_worker(world, fcgi(world, m))
