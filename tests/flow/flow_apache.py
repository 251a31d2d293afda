"""What apache-conf/sosigw.conf promises, and the sandbox itself."""
import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import tempfile

import client
from harness import SANDBOX, cases, until


@cases(('PUT', 'PUT', 405), ('DELETE', 'DELETE', 405), ('OPTIONS', 'OPTIONS', 405), ('TRACE', 'TRACE', 405))
def other_methods_do_not_reach_a_worker(world, method, status):
	for path in (client.SERVICE, client.PROXY):
		assert world.http().request(method, path).status == status


@cases(('the root', '/'), ('a neighbour', '/sosigw/servicex'), ('a file above', '/..%2f..%2fetc/passwd'), ('httpd.conf', '/httpd.conf'))
def nothing_else_is_served(world, path):
	assert world.http().get(path).status in (400, 403, 404)


def old_tls_is_refused(world):
	http = world.http(tls=True)
	http.tls.minimum_version = ssl.TLSVersion.TLSv1
	http.tls.maximum_version = ssl.TLSVersion.TLSv1_1
	http.tls.set_ciphers('ALL:@SECLEVEL=0')
	try:
		http.get(client.SERVICE)
	except (ssl.SSLError, OSError):
		return
	raise AssertionError('TLS 1.1 was taken')


def a_client_certificate_from_another_ca_is_refused(world):
	http = world.http(None, tls=True, cert=world.certs.cert('moces'), key=world.certs.key('moces'))
	try:
		http.post(client.SERVICE, client.order_card(world.user()))
	except (ssl.SSLError, OSError):
		return
	raise AssertionError('Apache let it in')


def every_line_of_the_access_log_is_json(world):
	http = world.http()
	http.raw(b'POST /sosigw/service/sosigw?"\\ HTTP/1.1\r\nHost: x\r\ntraceparent: "\xff\r\nContent-Length: 0\r\n\r\n', 1)
	http.raw(b'GET /\xc3\xa6"%22%0a HTTP/1.1\r\nHost: x\r\nUser-Agent: "\\\r\n\r\n', 1)
	http.raw(b'\x16\x03\x01 "\\ HTTP/1.1\r\n\r\n', 1)
	http.post(client.SERVICE, b'x', headers={'traceparent': '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'})
	path = os.path.join(world.folder, 'log', 's1', 'sosigw-access.log')

	def lines():
		with open(path, encoding='utf-8') as f:
			return [json.loads(line) for line in f]

	assert until(lambda: any(l['traceparent'].startswith('00-0af7651916cd43dd8448eb211c80319c') for l in lines()))


def a_card_worker_answers_while_its_twin_hangs(world):
	world.killed.add('card-1')
	pid = world.pid('card-1')
	os.kill(pid, signal.SIGSTOP)
	try:
		slow = [world.http(timeout=3) for _ in range(6)]
		answers = 0
		for http in slow:
			try:
				answers += http.post(client.SERVICE, client.get_valid_id_card(world.user())).status == 500
			except OSError:
				pass
		# the first call to the hanging worker keeps it busy, so the others go to its twin
		assert answers >= 4, f'{answers} of 6 were answered'
	finally:
		os.kill(pid, signal.SIGCONT)


@cases(*[(str(i), i) for i in range(3)])
def apache_is_back_at_once_when_it_was_killed(world, _):
	"""Its children do not outlive it: they would hold the port that the next one binds."""
	def ends():
		with open(os.path.join(world.folder, 'log', 'supervisor.log'), encoding='utf-8') as f:
			return re.findall(r' s1-apache ended with (-?\d+)', f.read())

	def answers():
		with contextlib.suppress(OSError):
			return world.get_card(world.user()).fault

	before = ends()
	world.killed.add('s1-apache')
	os.kill(world.pid('apache-1'), signal.SIGKILL)
	assert until(lambda: len(ends()) > len(before)) and until(answers)
	assert ends() == before + ['-9'], ends()


def a_second_sandbox_on_the_same_ports_is_refused(world):
	with tempfile.TemporaryDirectory(prefix='sosigw-flow-') as d:
		r = subprocess.run([SANDBOX, 'up', '--dir', os.path.join(d, 'box'), '--port-base', str(world.sandbox['port_base'])],
		    capture_output=True, text=True, check=False)
		assert r.returncode == 1 and 'taken' in r.stderr and not os.path.exists(os.path.join(d, 'box')), r
	r = subprocess.run([SANDBOX, 'up', '--dir', world.folder], capture_output=True, text=True, check=False)
	assert r.returncode == 1 and 'is up in' in r.stderr, r


def status_tells_what_is_stopped(world):
	def status():
		return subprocess.run([SANDBOX, 'status', '--dir', world.folder], capture_output=True, text=True, check=False)

	assert status().returncode == 0, status().stdout
	with world.stopped('memcached-b'):
		stopped = [line.split()[0] for line in status().stdout.splitlines() if ' stopped ' in line]
	assert stopped == ['memcached-b'] and status().returncode == 0
