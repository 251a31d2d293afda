"""What a clean refusal is, and many of them in one test.

    with Refusals(world) as refused:
        for note, message, reason in TABLE:
            refused.post(note, message, reason)

At the end of the block, for every message sent: HTTP 500, a well-formed fault with the right FaultCode, a text that is ours
word for word (so it holds no path, no value of the message and no word of a library) and the request id, one audit record
with status and reason (of strangers, who are only counted when they are many, if more is said of it). For all of them
together: nothing at the service, and no worker ended. All that is wrong is told at once, each with its note.
"""
import contextlib
import os
import re
import socket
import threading
import time

import client
from harness import TOP, read_json_rows, until, without_card

SYNTAX, NO_CARD = 'sosigw_syntax_error_in_request', 'sosigw_no_valid_idcard_in_request'
# which of the eight published codes each reason has (interface.md 3.6)
CODES = {
	**dict.fromkeys(('CONTENT_TYPE', 'BODY_CUT', 'BODY_TOO_BIG', 'XML', 'DOCTYPE', 'PROCESSING_INSTRUCTION', 'ENCODING', 'LIMIT',
	    'NO_ENVELOPE',
	    'SOAP_12', 'ENVELOPE_FORM', 'OPERATION', 'TWO_OPERATIONS', 'TWO_SECURITY', 'TWO_CARDS', 'TO_MISSING', 'TO_AMBIGUOUS'),
	    SYNTAX),
	**dict.fromkeys(('NO_CARD_IN_REQUEST', 'NO_NAME_ID', 'CARD_FORM', 'CARD_NOT_TRUSTED'), NO_CARD),
	**dict.fromkeys(('CLIENT_UNKNOWN', 'SERVICE_UNKNOWN'), 'sosigw_access_denied'),
	'NO_CARD': 'sosigw_no_valid_idcard_in_cache', **dict.fromkeys(('MESSAGE_LOST', 'AUDIT'), 'sosigw_internal_error'),
	**dict.fromkeys(('ENDPOINT_UNREACHABLE', 'ENDPOINT_TIMEOUT', 'ENDPOINT_BROKE', 'ENDPOINT_ANSWER'), 'sosigw_proxy_error'),
}
WORKERS = ('proxy-1', 'proxy-2', 'card-1', 'card-2')


def english_texts():
	"""The public text of every reason, from the table that the gateway is built from."""
	with open(os.path.join(TOP, 'lib', 'base', 'err.def'), encoding='utf-8') as f:
		rows = re.findall(r'^E\((\w+), \w+, "[^"]*",\s*"([^"]*)"\)', f.read(), re.M)
	return {text: reason for reason, text in rows}


TEXTS = english_texts()


def reason_of(parsed):
	"""(reason, request id) of a fault whose text is exactly one of ours; fails when anything else is in it."""
	m = re.fullmatch(r'(.*) \[([\w-]{22})\]', parsed.string or '', re.S)
	assert m and m[1] in TEXTS, f'the text is not ours alone: {parsed.string!r}'
	return TEXTS[m[1]], m[2]


def check_fault(answer):
	"""The answer is a clean refusal; (reason, request id)."""
	assert answer.status == 500, f'status {answer.status}: {answer.body[:300]}'
	assert answer.headers['Content-Type'] == 'text/xml; charset=utf-8', answer.headers['Content-Type']
	assert answer.complete, 'cut'
	parsed = answer.parse()
	assert parsed.fault and parsed.code == 'Server', answer.body[:300]
	reason, request_id = reason_of(parsed)
	assert parsed.fault_code == CODES.get(reason), f'{parsed.fault_code} for {reason}'
	return reason, request_id


def pids(world):
	return [world.pid(name) for name in WORKERS]


def resident_peak(world):
	"""The most memory that a worker has had, in bytes: the sum over all workers."""
	total = 0
	for pid in pids(world):
		with open(f'/proc/{pid}/status', encoding='ascii') as f:
			total += int(re.search(r'VmHWM:\s+(\d+) kB', f.read())[1]) << 10
	return total


def audit_rows(world, request_ids, since, seconds=20):
	"""The finished audit records of these requests: request id -> list of records."""
	def shipped():
		found = {i: [] for i in request_ids}
		for row in _rows(world, since):
			if row['request_id'] in found and row['status'] != 'open':
				found[row['request_id']].append(row)
		return found if all(found.values()) else None

	rows = until(shipped, seconds, 0.3)
	if rows is None:
		seen = {row['request_id'] for row in _rows(world, since)}
		raise AssertionError(f'{len(set(request_ids) - seen)} of {len(request_ids)} requests have no finished audit record')
	return rows


def _rows(world, since):
	return read_json_rows(world.ctl('--json', 'audit', 'search', '--from', since, '--most', '10000'))


class Refusals:
	def __init__(self, world, path=client.PROXY, who='epj-a', **http):
		self.world, self.path = world, path
		self.http = world.http(who, **http)
		self.wrong, self.sent = [], {}		# sent: request id -> (note, reason, more of the audit record)
		self.count = 0

	def __enter__(self):
		self.since = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - 1))
		self.pids, self.before = pids(self.world), self.world.stub_count()
		return self

	def post(self, note, message, reason, audit=None, http=None, **options):
		"""Sends it; reason: the only one allowed, or several. audit: what else its record must say."""
		options.setdefault('keep', http is None)
		try:
			answer = (http or self.http).post(self.path, message, **options)
		except OSError as e:
			self.count += 1
			self.wrong.append(f'{note}: no answer ({e!r})')
			return None
		return self.check(note, answer, reason, audit)

	def check(self, note, answer, reason, audit=None):
		self.count += 1
		allowed = (reason,) if isinstance(reason, str) else reason
		try:
			got, request_id = check_fault(answer)
			assert got in allowed, f'{got}, not {" or ".join(allowed)}'
			self.sent[request_id] = (note, got, audit or {})
		except Exception as e:	# pylint: disable=broad-exception-caught
			self.wrong.append(f'{note}: {str(e) or repr(e)}')
		return answer

	def __exit__(self, kind, *_):
		self.http.close()
		if kind is not None:
			return
		forwarded = self.world.stub_count() - self.before
		if forwarded:
			users = [r.get('user') for r in self.world.stub_requests(self.before)]
			self.wrong.append(f'{forwarded} messages reached the service, for {users}')
		if pids(self.world) != self.pids:
			self.wrong.append(f'workers ended: {self.pids} became {pids(self.world)}')
		self.check_audit()
		assert self.count, 'nothing was tried'
		assert not self.wrong, f'{len(self.wrong)} of {self.count} wrong:\n' + '\n'.join(self.wrong[:40])

	def check_audit(self):
		needed = [i for i, (_, reason, more) in self.sent.items() if reason != 'CLIENT_UNKNOWN' or more]
		rows = audit_rows(self.world, needed, self.since) if needed else {}
		for request_id, (note, reason, more) in self.sent.items():
			if request_id not in rows:
				continue
			want = {'status': 'failed' if reason.startswith('ENDPOINT') else 'refused', 'reason': reason, **more}
			got = [{k: r.get(k) for k in want} for r in rows[request_id]]
			if got != [want]:
				self.wrong.append(f'{note}: audit {got}, not {want}')


class Canary:
	"""A port that nobody has a reason to call: counts the connections that come all the same."""

	def __enter__(self):
		self.listener = socket.create_server(('127.0.0.1', 0), backlog=64)
		self.port = self.listener.getsockname()[1]
		self.calls = 0
		self.thread = threading.Thread(target=self.watch)
		self.thread.start()
		return self

	def watch(self):
		with contextlib.suppress(OSError):
			while True:
				self.listener.accept()[0].close()
				self.calls += 1

	def __exit__(self, kind, *_):
		self.listener.shutdown(socket.SHUT_RDWR)
		self.listener.close()
		self.thread.join()
		assert kind is not None or not self.calls, f'{self.calls} connections came to an address out of a message'

	def url(self, path='x'):
		return f'http://127.0.0.1:{self.port}/{path}'


def swap(message, old, new, count=1):
	"""The message with `old` replaced, which must be there."""
	old, new = (x.encode() if isinstance(x, str) else x for x in (old, new))
	assert old in message, f'{old!r} is not in the message'
	return message.replace(old, new, count)


def signed_in(world, like=client.LARS, **changes):
	"""A user with a card: a hostile message in this name would be forwarded, were it not refused."""
	user = world.user(like, **changes)
	world.order_and_sign(user)
	return user


def passes(world, message, **options):
	"""The message is forwarded, and all but the card arrives as it was sent; what the service got."""
	before = world.stub_count()
	answer = world.post_proxy(message, **options)
	assert answer.status == 200, f'{answer.status}: {answer.body[:500]}'
	got = world.forwarded(before)
	assert got['complete'] and without_card(got['body']) == without_card(message), 'what arrived is not what was sent'
	return got
