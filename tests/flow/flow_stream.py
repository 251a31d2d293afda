"""Large messages, slow services and broken connections: nothing is held, nothing is changed, and what breaks looks broken."""
import contextlib
import hashlib
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

import client
from harness import cases, until, without_card

NO_CARD = 'sosigw_no_valid_idcard_in_cache'
PROXY_ERROR = 'sosigw_proxy_error'
WORKERS = ('proxy-1', 'proxy-2')
GIGABYTE = 1 << 30
# What a worker may grow by, whatever passes; a sanitizer keeps what was freed for a while.
MOST = 400 << 20 if os.environ.get('SOSIGW_BUILD', 'plain').rsplit('/', maxsplit=1)[-1] != 'plain' else 8 << 20


# the helpers' first argument is w, as what takes a world is a test

def resident(w, name):
	with open(f'/proc/{w.pid(name)}/status', encoding='ascii') as f:
		return int(re.search(r'VmRSS:\s+(\d+) kB', f.read())[1]) << 10


@contextlib.contextmanager
def not_growing(w):
	"""No proxy worker's memory grows in this block by more than MOST; it is looked at all the time, so that a peak counts."""
	before = {name: resident(w, name) for name in WORKERS}
	peak, stop = dict(before), threading.Event()

	def watch():
		while not stop.wait(0.02):
			for name in WORKERS:
				peak[name] = max(peak[name], resident(w, name))
	watcher = threading.Thread(target=watch)
	watcher.start()
	try:
		yield
	finally:
		stop.set()
		watcher.join()
	for name in WORKERS:
		assert peak[name] - before[name] < MOST, f'{name}: from {before[name]} to {peak[name]} octets'


def ready(w):
	"""A user with a card, and both workers warm."""
	lars = w.user()
	w.order_and_sign(lars)
	for _ in range(4):
		assert w.post_proxy(w.proxy_request(lars)).status == 200
	return lars


def with_card_of(arrived, sent):
	"""The head that was sent, with the card that arrived in place of its own."""
	pattern = rb'<saml:Assertion[ >].*?</saml:Assertion>'
	card = re.search(pattern, arrived, re.S)[0]
	return re.sub(pattern, lambda _: card, sent, count=1, flags=re.S)


@cases(('length known', False), ('chunked', True))
def a_gigabyte_passes_and_no_worker_grows(world, chunked):
	lars = ready(world)
	length, parts = client.big_proxy(lars, world.service('sink'), GIGABYTE)
	head = next(parts)
	before = world.stub_count()

	def sent():
		yield head
		yield from parts
	with not_growing(world):
		answer = world.post_proxy(sent(), length=None if chunked else length, chunked=chunked)
	assert answer.status == 200, answer.body
	got = world.forwarded(before)
	expected = with_card_of(got['body'], head)
	digest = hashlib.sha256(expected)
	for part in client.filler(GIGABYTE):
		digest.update(part)
	tail = client.proxy(lars, 'http://x/', '<x:blob xmlns:x="urn:big">@@</x:blob>').split(b'@@')[1]
	digest.update(tail)
	assert got['length'] == length - len(head) + len(expected) and got['complete'], got['length']
	assert got['sha256'] == digest.hexdigest()


def a_gigabyte_comes_back_and_no_worker_grows(world):
	lars = ready(world)
	with not_growing(world):
		answer = world.post_proxy(world.proxy_request(lars, world.service(f'big/{GIGABYTE}')), hash_only=True)
	assert (answer.status, answer.length, answer.complete) == (200, GIGABYTE, True), answer
	assert answer.sha256 == client.big_sha256(GIGABYTE)


def a_service_that_reads_slowly_holds_the_client_back(world):
	"""A hundred thousand octets a second: what the client has, the gateway has not."""
	lars = ready(world)
	length, parts = client.big_proxy(lars, world.service('slow-read'), 300 << 20)
	with not_growing(world), contextlib.suppress(TimeoutError):
		http = world.http(timeout=2)
		http.post(client.PROXY, parts, length=length)
	with world.stopped('stub'):	# else what is under way keeps its worker busy for a minute
		world.audit(user=lars.name_id, kind='proxy')


def five_hundred_megabytes_without_a_card_cost_little(world):
	"""The refusal comes when the head has been read; a client that asks first sends nothing of the body."""
	lars = world.user()
	length, parts = client.big_proxy(lars, world.service('sink'), 500_000_000)
	sent = 0

	def counted():
		nonlocal sent
		for part in parts:
			for i in range(0, len(part), 4096):
				sent += 4096
				time.sleep(0.0005)
				yield part[i:i + 4096]
	with world.nothing_forwarded():
		answer = world.post_proxy(counted(), length=length)
		world.refused(answer, NO_CARD)
	assert sent < 4 << 20, f'{sent} octets were sent before the refusal'
	row, = world.audit(user=lars.name_id)
	assert int(row['bytes_in']) < 1 << 20 and row['status'] == 'refused', row


# ---- a client's own signature

def signed_body(w, who, body):
	"""A call whose client has signed its Body, with the signature in wsse:Security behind the card."""
	message = client.proxy(who, w.service('sink'), body=body).decode()
	message = message.replace('<soapenv:Body>', f'<soapenv:Body xmlns:u="{client.WSU}" u:Id="body">')
	signature = client.signature_over(message.encode(), ['body'], w.certs.key('moces'), w.certs.cert('moces'))
	return message.replace('</wsse:Security>', signature + '</wsse:Security>').encode()


def verifies(w, message):
	with tempfile.NamedTemporaryFile(suffix='.xml') as f:
		f.write(message)
		f.flush()
		r = subprocess.run(['xmlsec1', '--verify', '--id-attr:Id', f'{client.SOAP}:Body', '--enabled-key-data', 'key-name', '--pubkey-cert-pem',
		    w.certs.cert('moces'), '--node-xpath', "//*[local-name()='Security']/*[local-name()='Signature']", f.name],
		    capture_output=True, text=True, check=False)
	return r.returncode == 0, r.stdout + r.stderr


@cases(('prefixes in content', '<a xmlns="urn:a" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="wsse:x" xmlns:wsse="urn:other">1</a>'),
    ('default namespaces', '<a xmlns="urn:a"><b xmlns=""><c xmlns="urn:c"/></b></a>'), ('CDATA and comments', '<a><![CDATA[<x/>]]><!-- y --> &#230;æ</a>'),
    ('white space', '\n\t<a  b = "1"\n>\t\n</a >  \n'), ('prefixes of the card', f'<saml:a xmlns:saml="urn:mine"><ds:b xmlns:ds="{client.DS}"/></saml:a>'))
def a_clients_signature_over_the_body_still_verifies(world, body):
	lars = world.user()
	world.order_and_sign(lars)
	sent = signed_body(world, lars, body)
	assert verifies(world, sent)[0], 'the test signs wrongly'
	before = world.stub_count()
	assert world.post_proxy(sent).status == 200
	got = world.forwarded(before)['body']
	assert without_card(got) == without_card(sent)
	good, said = verifies(world, got)
	assert good, said
	assert not verifies(world, got.replace(b'u:Id="body">', b'u:Id="body">x'))[0], 'anything verifies'


# ---- what breaks

def is_audited(w, who, reason):
	row, = w.audit(user=who.name_id, kind='proxy')
	assert (row['status'], row['reason']) == ('failed', reason), row


@cases(('with its length', 'cut/1000000', 'ENDPOINT_BROKE'), ('of less than a buffer', 'cut/1000', 'ENDPOINT_BROKE'), ('chunked', 'cut-chunked', 'ENDPOINT_BROKE'),
    ('a service that stops talking', 'hang-body', 'ENDPOINT_TIMEOUT'))
def an_answer_that_breaks_off_looks_broken_and_is_audited(world, path, reason):
	lars = world.user()
	world.order_and_sign(lars)
	began = time.monotonic()
	answer = world.post_proxy(world.proxy_request(lars, world.service(path)))
	assert not answer.complete and b'Fault' not in answer.body, answer
	assert time.monotonic() - began < 4
	is_audited(world, lars, reason)


@cases(('that says nothing', 'hang', 1.5), ('that says it too late', 'slow/5000', 1.0))
def a_service_is_given_up_in_time(world, path, seconds):
	lars = world.user()
	world.order_and_sign(lars)
	began = time.monotonic()
	world.refused(world.post_proxy(world.proxy_request(lars, world.service(path))), PROXY_ERROR, 'did not answer in time')
	took = time.monotonic() - began
	assert seconds - 0.1 < took < seconds + 1, took
	is_audited(world, lars, 'ENDPOINT_TIMEOUT')


@cases(('a fault', 'fault'), ('status 400', 'status/400'), ('status 404', 'status/404'), ('status 503', 'status/503'))
def what_a_service_answers_comes_back_octet_for_octet(world, path):
	lars = world.user()
	world.order_and_sign(lars)
	sent = world.proxy_request(lars, world.service(path))
	direct = client.Http(world.sandbox['stub']).post('/' + path, sent)
	answer = world.post_proxy(sent)
	assert (answer.status, answer.headers['Content-Type']) == (direct.status, direct.headers['Content-Type'])
	assert path == 'fault' or answer.body == direct.body
	assert answer.parse().fault_code == 'processing_problem' if path == 'fault' else True
	row, = world.audit(user=lars.name_id, kind='proxy')
	assert row['status'] == 'ok' and int(row['http_status']) == direct.status, row


def a_service_that_refuses_at_once_is_heard(world):
	"""It answers before the body has come; the client gets that answer and no error of ours."""
	lars = world.user()
	world.order_and_sign(lars)
	length, parts = client.big_proxy(lars, world.service('early'), 20_000_000)
	answer = world.post_proxy(parts, length=length)
	assert answer.status == 500 and answer.parse().fault_code == 'not_authorized', answer.body


@cases(('length known', False), ('chunked', True))
def a_client_that_goes_away_is_no_whole_message(world, chunked):
	"""The service must see that it is cut."""
	lars = world.user()
	world.order_and_sign(lars)
	before = world.stub_count()
	sent = world.proxy_request(lars, world.service('sink'), body='<a>' + 'x' * 500_000 + '</a>')
	half = sent[:250_000]
	framing = f'Content-Length: {len(sent)}' if not chunked else 'Transfer-Encoding: chunked'
	with world.http().connect() as s:
		s.sendall(f'POST {client.PROXY} HTTP/1.1\r\nHost: localhost\r\nSOSIGW-Secret: {world.secret("epj-a")}\r\nContent-Type: text/xml\r\n{framing}\r\n\r\n'
		    .encode() + (half if not chunked else b'%x\r\n' % len(half) + half + b'\r\n'))
		time.sleep(0.2)
		s.shutdown(socket.SHUT_WR)
		s.settimeout(3)
		with contextlib.suppress(OSError):
			s.recv(1000)
	until(lambda: world.stub_count() > before, 2)
	assert all(not r['complete'] for r in world.stub_requests(before)), 'it looks whole'
	row, = world.audit(user=lars.name_id, kind='proxy')
	assert row['status'] != 'ok', row
