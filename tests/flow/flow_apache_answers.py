"""What Apache answers by itself, when no worker sees the request or none answers: a fault for programs, a page for browsers."""
import contextlib
import glob
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

import lxml.html

import client
from harness import TOP, cases, free_port_base, until

SIGN = '/sosigw/sign/start'
SYNTAX, DENIED, INTERNAL = 'sosigw_syntax_error_in_request', 'sosigw_access_denied', 'sosigw_internal_error'
ERRORS = os.path.join(TOP, 'htdocs', 'errors')
KINDS = sorted(os.path.basename(p)[:-4] for p in glob.glob(os.path.join(ERRORS, '*.xml')))
POLICY = {'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-store'}


# ---- what is wanted of such an answer

def check_headers(answer, kind):
	assert answer.headers['Content-Type'] == f'{kind}; charset=utf-8', answer.headers['Content-Type']
	assert {name: answer.headers[name] for name in POLICY} == POLICY, answer.headers
	assert "default-src 'none'" in answer.headers['Content-Security-Policy']
	assert not any(answer.headers[name] for name in ('ETag', 'Last-Modified', 'Accept-Ranges')), answer.headers
	assert answer.complete and (answer.status == 405) == (answer.headers['Allow'] is not None), answer.headers


def is_fault(answer, status, code):
	"""A fault of Apache's: its text is in both languages and says what to do."""
	assert answer.status == status, f'{answer.status}: {answer.body[:200]}'
	check_headers(answer, 'text/xml')
	fault = answer.parse()
	assert fault.fault and fault.code == 'Server' and fault.fault_code == code, answer.body
	danish, english = fault.string.split('. / ')
	assert len(danish) > 20 and len(english) > 20 and int(answer.headers['Content-Length']) == len(answer.body)


def is_page(answer, status):
	assert answer.status == status, f'{answer.status}: {answer.body[:200]}'
	check_headers(answer, 'text/html')
	page = lxml.html.fromstring(answer.body.decode())
	assert page.get('lang') == 'da' and page.xpath('//main/h1') and page.xpath('//main/section[@lang="en"]/h2')
	assert int(answer.headers['Content-Length']) == len(answer.body)


def sent(http, octets):
	"""The answer to octets that client.Http would not send."""
	s = http.connect()
	with contextlib.closing(s):
		s.sendall(octets)
		status, headers, body, length, digest, complete = client._Connection(s).read('POST', False)	# pylint: disable=protected-access
	return client.Answer(status, headers, body, length, digest, 0, complete, True)


def head(method, path, *lines):
	return '\r\n'.join([f'{method} {path} HTTP/1.1', 'Host: gw.example.dk', 'Connection: close', *lines, '', '']).encode()


# ---- requests that no worker sees

@cases(('an encoded slash', client.SERVICE + '%2fx', 404, SYNTAX), ('a NUL', client.PROXY + '%00', 404, SYNTAX),
    ('a broken escape', client.PROXY + '%zz', 400, SYNTAX), ('above the root', '/..' + client.SERVICE, 400, SYNTAX),
    ('a neighbour', client.SERVICE + 'x', 403, DENIED), ('no address at all', '/', 403, DENIED))
def a_wrong_address_is_told_to_programs_by_a_fault(world, path, status, code):
	is_fault(sent(world.http(), head('POST', path, 'Content-Length: 0')), status, code)


@cases(('an encoded slash', SIGN + '%2fx', 404), ('no page', '/sosigw/signx', 403), ('the root', '/', 403), ('no file', '/sosigw/static/nosuch.css', 404),
    ('behind a range', '/sosigw/static/nosuch.css', 404, 'Range: bytes=0-9', 'If-None-Match: *', 'If-Modified-Since: Sun, 22 Nov 2099 09:00:00 GMT'))
def a_wrong_address_is_told_to_browsers_by_a_page(world, path, status, *lines):
	is_page(sent(world.http(None), head('GET', path, *lines)), status)


@cases(('for programs', 'POST', client.SERVICE, is_fault, SYNTAX), ('for browsers', 'GET', SIGN, is_page))
def a_request_that_is_too_long_gets_an_answer_that_its_sender_can_read(world, method, path, check, *code):
	http = world.http(None)
	check(sent(http, head(method, path + '?' + 'x' * 9000)), 414, *code)
	for lines in (['X: ' + 'y' * 20000], ['Cookie: ' + 'y' * 20000], [f'X-{i}: y' for i in range(120)], ['no colon'], ['Host: another'], ['Content-Length: x']):
		check(sent(http, head(method, path, *lines)), 400, *code)


def what_is_no_http_gets_a_fault(world):
	for octets in (b'\x16\x03\x01\r\n\r\n', b'POST / HTTX/1.1\r\n\r\n', b'POST\r\n\r\n'):
		is_fault(sent(world.http(None), octets), 400, SYNTAX)
	plain = world.http(None)
	plain.port = world.sandbox['servers'][0]['https_port']
	is_fault(sent(plain, head('POST', client.SERVICE)), 400, SYNTAX)


def an_odd_expectation_gets_a_fault(world):
	is_fault(sent(world.http(), head('POST', client.SERVICE, 'Expect: miracles', 'Content-Length: 0')), 417, SYNTAX)


@cases(('cards', client.SERVICE, 'GET, HEAD, POST'), ('bootstrap tokens', client.BST, 'GET, HEAD, POST'), ('calls', client.PROXY, 'POST'),
    ('reports', '/sosigw/csp', 'POST'))
def a_method_that_is_not_taken_gets_a_fault_and_is_told_which_are(world, path, allowed):
	for method in ('PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'ODD'):
		answer = sent(world.http(), head(method, path))
		is_fault(answer, 405, SYNTAX)
		assert answer.headers['Allow'] == allowed, answer.headers


def head_gets_the_head_alone(world):
	for method in ('GET', 'HEAD'):
		answer = world.http(None).request(method, '/sosigw/static/nosuch.css')
		assert answer.status == 404 and bool(answer.body) == (method == 'GET')
		size = os.path.getsize(os.path.join(ERRORS, 'address.html'))
		assert int(answer.headers['Content-Length']) == size


def the_files_of_these_answers_have_no_address(world):
	http = world.http(None)
	for kind in KINDS:
		for path in (f'/sosigw/error/{kind}', f'/sosigw/error/{kind}.xml', f'/sosigw/static/errors/{kind}.xml', f'/sosigw/static//errors/{kind}.html',
		    f'/sosigw/static/%65rrors/{kind}.xml', f'/sosigw/static/x/../errors/{kind}.html', f'/errors/{kind}.xml'):
			answer = sent(http, head('GET', path, 'REDIRECT-STATUS: 200', 'REDIRECT_STATUS: 200'))
			if path == '/sosigw/error/denied':
				assert answer.status == 403	# Apache's own page: it sends no error to its own address
			else:
				is_page(answer, 403)


def what_workers_answer_is_left_alone(world):
	"""Whatever its status."""
	http = world.http()
	for answer, status, words in ((http.get(client.PROXY), 405, rb'HTTP POST.* \[[\w-]{22}\]<'),
	    (http.get(client.SERVICE + '?xsd=nosuch'), 404, rb'no such schema'), (http.get(SIGN + '?id=x'), 410, rb'The link cannot be used'),
	    (http.request('PUT', SIGN), 405, rb'cannot be opened in this way'), (http.post(client.SERVICE, b'x'), 500, rb'\[[\w-]{22}\]<')):
		assert answer.status == status and re.search(words, answer.body), (answer.status, answer.body)


def the_access_log_tells_what_was_asked_and_not_what_was_answered(world):
	trace = '00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba90001-01'
	sent(world.http(), head('PUT', client.PROXY, f'traceparent: {trace}'))
	path = os.path.join(world.folder, 'log', 's1', 'sosigw-access.log')

	def row():
		with open(path, encoding='utf-8') as f:
			return next((json.loads(line) for line in f if trace in line), None)
	got = until(row)
	assert (got['method'], got['path'], got['status']) == ('PUT', client.PROXY, 405), got


# ---- what the files say

@cases(*[(kind, kind) for kind in KINDS])
def each_answer_has_its_fault_and_its_page(world, kind):
	assert world
	with open(os.path.join(ERRORS, f'{kind}.html'), encoding='utf-8') as f:
		text = f.read()
	page = lxml.html.fromstring(text)
	assert not page.xpath('//script | //style | //@style | //@*[starts-with(name(), "on")]')
	assert set(page.xpath('//@href')) == {'/sosigw/static/page.css', '/sosigw/static/icon.svg', '#main', '#english'}
	with open(os.path.join(ERRORS, f'{kind}.xml'), 'rb') as f:
		fault = client.Parsed(f.read())
	assert fault.fault_code in (SYNTAX, DENIED, INTERNAL)
	with open(os.path.join(TOP, 'apache-conf', 'sosigw-urls.conf'), encoding='utf-8') as f:
		assert re.search(rf'^ErrorDocument \d+ /sosigw/error/{kind}$', f.read(), re.M), 'nothing leads there'


# ---- workers that are away, hang, or break off: an Apache of its own with the same files, in front of sockets of ours

class Apache:
	"""Waits a second for a worker, and a second for a client. behave: what comes of a connection to a worker; None when none listens."""

	def __init__(self, world, behave):
		self.d = tempfile.mkdtemp(prefix='sosigw-flow-')
		self.base, self.user = free_port_base(), world.sandbox['user'] if os.geteuid() == 0 else None
		self.sockets, self.kept, self.behave = [], [], behave
		if self.user:
			shutil.chown(self.d, self.user)
		with open(os.path.join(world.folder, 's1', 'httpd.conf'), encoding='utf-8') as f:
			text = f.read()
		server = world.sandbox['servers'][0]
		for was, now in ((f':{server["https_port"]}', f':{self.base}'), (f':{server["http_port"]}', f':{self.base + 1}'),
		    (os.path.join(world.folder, 's1', 'run'), self.d), (os.path.join(world.folder, 'log', 's1'), self.d), (os.path.join(world.folder, 'log'), self.d)):
			text = text.replace(was, now)
		self.conf = os.path.join(self.d, 'httpd.conf')
		with open(self.conf, 'w', encoding='utf-8') as f:
			f.write('Define SOSIGW_PROXY_TIMEOUT 1\n' + text.replace(f'Listen 127.0.0.1:{self.base}\n', '').replace('</VirtualHost>',
			    'RequestReadTimeout header=1 body=1\n</VirtualHost>\nStartServers 1\nMinSpareThreads 1'))
		self.http = client.Http(f'http://127.0.0.1:{self.base + 1}', timeout=20)

	def serve(self, listening):
		with contextlib.suppress(OSError):
			while True:
				s, _ = listening.accept()
				self.behave(s)
				self.kept.append(s)

	def __enter__(self):
		for name in ('proxy-1', 'proxy-2', 'card-1', 'card-2') if self.behave else ():
			s = socket.socket(socket.AF_UNIX)
			s.bind(os.path.join(self.d, f'{name}.sock'))
			os.chmod(os.path.join(self.d, f'{name}.sock'), 0o777)
			s.listen()
			self.sockets.append(s)
			threading.Thread(target=self.serve, args=(s,), daemon=True).start()
		self.child = subprocess.Popen(['/usr/sbin/apache2', '-f', self.conf, '-DFOREGROUND'], user=self.user, cwd='/')	# pylint: disable=consider-using-with

		def listens():
			with contextlib.suppress(OSError):
				self.http.connect().close()
				return True
		assert until(listens), 'Apache does not come up'
		return self

	def __exit__(self, *_):
		self.child.terminate()
		self.child.wait(60)
		for s in self.sockets:
			with contextlib.suppress(OSError):
				s.shutdown(socket.SHUT_RDWR)
			s.close()
		for s in self.kept:
			s.close()
		shutil.rmtree(self.d)


def silent(s):
	assert s


def closing(s):
	s.recv(65536)
	s.close()


def garbled(s):
	s.recv(65536)
	with contextlib.suppress(OSError):
		s.sendall(b'this is no record of FastCGI\n' * 10)


def cut(s):
	"""Half of a head."""
	s.recv(65536)
	text = b'Status: 200 OK\r\nContent-Ty'
	with contextlib.suppress(OSError):
		s.sendall(struct.pack('>BBHHBx', 1, 6, 1, len(text), 0) + text)
		s.shutdown(socket.SHUT_RDWR)


@cases(('are away', None, 503), ('hang', silent, 504), ('hang up', closing, 503), ('talk something else', garbled, 503), ('stop in the head', cut, 503))
def a_fault_tells_of_workers_that(world, behave, status):
	message = client.proxy(world.user(), world.service('service'))
	with Apache(world, behave) as apache:
		is_fault(apache.http.post(client.PROXY, message), status, INTERNAL)
		is_fault(apache.http.post(client.PROXY, iter([message[:500], message[500:]]), chunked=True), status, INTERNAL)
		if behave is not silent:	# card workers have a minute
			is_fault(apache.http.post(client.SERVICE, message), status, INTERNAL)
			is_page(apache.http.get(SIGN), status)


def a_message_that_comes_too_slowly_gets_a_fault(world):
	with Apache(world, silent) as apache:
		is_fault(sent(apache.http, head('POST', client.PROXY)[:-2] + b'X: '), 408, SYNTAX)
		is_fault(sent(apache.http, head('POST', client.PROXY, 'Content-Type: text/xml', 'Content-Length: 20000') + b'<x>'), 408, SYNTAX)
