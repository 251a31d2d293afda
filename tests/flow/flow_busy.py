"""When no thread becomes free in time: a prompt refusal, which the audit tells under the program's own kind."""
import concurrent.futures
import contextlib
import os

import client
from harness import cases, read_json_rows, until

CALLS = 8


@contextlib.contextmanager
def one_thread(w, program):
	"""With the workers of that program having one thread each, and nobody waiting for it long."""
	path = os.path.join(w.folder, 's1', 'sosigw.conf')
	names = [f's1-{program}-{i}' for i in (1, 2)]

	def restart(text):
		with open(path, 'w', encoding='utf-8') as f:
			f.write(text)
		for name in names:
			w.switch('stop', name)
			w.switch('start', name)

	with open(path, encoding='utf-8') as f:
		before = f.read()
	after = before.replace('threads = 64', 'threads = 1').replace('queue_ms = 5000', 'queue_ms = 100')
	assert after.count('threads = 1\n') == 1 and 'queue_ms = 100' in after, before
	restart(after)
	try:
		yield
	finally:
		restart(before)


def call_slow_service(w):
	lars = w.user()
	w.order_and_sign(lars)
	return lambda: w.post_proxy(w.proxy_request(lars, w.service('slow/1000')))


def sign_at_slow_sts(w):
	lars = w.user()
	order = w.post_service(client.order_card(lars)).parse()
	sign = client.sign_id_card(lars, client.sign(order.digest, w.certs.key('moces')), w.certs.cert('moces'))
	return lambda: w.post_service(sign)


@cases(('a call', 'proxy', call_slow_service, 'proxy'), ('a card operation', 'card', sign_at_slow_sts, 'service'))
def what_no_thread_is_free_for_is_refused_and_audited_as_what_it_was(world, program, prepare, kind):
	calls = [prepare(world) for _ in range(CALLS)]
	with one_thread(world, program), world.sts('slow', ms=1500), concurrent.futures.ThreadPoolExecutor(CALLS) as pool:
		answers = list(pool.map(lambda call: call(), calls))
	refused = [a for a in answers if a.status == 500 and 'overloaded' in a.parse().string]
	assert 0 < len(refused) < CALLS, [a.status for a in answers]

	def rows():
		found = read_json_rows(world.ctl('--json', 'audit', 'search', '--kind', kind, '--status', 'failed'))
		return [r for r in found if r['reason'] == 'BUSY']

	assert until(lambda: len(rows()) >= len(refused), 10, 0.3), rows()
