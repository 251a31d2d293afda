"""What a flow test is given: a whole installation (scripts/sandbox) and short ways to use it.

A flow test is a function in a flow_*.py whose name is a true sentence and whose argument is `world`:

    def a_call_without_a_card_is_refused(world):
        answer = world.post_proxy(client.proxy(client.LARS, world.service('service'), assertion=''))
        world.refused(answer, 'sosigw_no_valid_idcard_in_request')

One sandbox serves all tests, so each takes a user of its own (world.user()) and leaves things as they were: use
`with world.sts('slow', ms=9000):`, `with world.configured(change):`, `with world.stopped('memcached-a'):`. @cases makes
one test per row of a table.
"""
import contextlib
import glob
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tests', 'world'))
import client

SANDBOX = os.path.join(TOP, 'scripts', 'sandbox')
SANITIZER = re.compile(r'ERROR: (?:Address|Leak)Sanitizer|runtime error: |WARNING: ThreadSanitizer')
ENDED = re.compile(r'^\S+ (\S+) ended with (-?\d+)', re.M)
FINE = {0, -signal.SIGTERM, -signal.SIGINT}	# how a process that was asked to may end
ASSERTION = re.compile(rb'<(?:\w+:)?Assertion[ >].*?</(?:\w+:)?Assertion>', re.S)
PROGRAM = re.compile(r'/s\d+-(?:proxy-\d+|card-\d+|housekeeper)\.log$')
USED = re.compile(rb'"event":"configuration","message":"revision (\d+) is in use"')


def free_port_base():
	"""A port base nobody uses now, below the ports that the kernel hands out by itself."""
	for base in random.sample(range(15000, 30000, 100), 100):
		if all(port_is_free(base + n) for n in range(40)):
			return base
	raise RuntimeError('no free ports')


def port_is_free(port):
	with socket.socket() as s:
		s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		try:
			s.bind(('127.0.0.1', port))
		except OSError:
			return False
	return True


def sandbox_up(folder, base, *options):
	"""Brings a sandbox up in this folder. When we are interrupted it takes itself down first;"""
	argv = [SANDBOX, 'up', '--dir', folder, '--port-base', str(base), *options]
	with subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True) as up:
		try:
			if up.wait():
				raise subprocess.CalledProcessError(up.returncode, argv)
		except BaseException:
			up.send_signal(signal.SIGINT)
			up.wait()
			raise


def sandbox_down(folder, *options):
	"""Takes it down, unless there is none any more; whether all went well."""
	if not os.path.isdir(folder):
		return True
	with subprocess.Popen([SANDBOX, 'down', '--dir', folder, *options], start_new_session=True) as down:
		while True:
			try:
				return down.wait() == 0
			except KeyboardInterrupt:
				pass	# an impatient second Ctrl-C


def cases(*rows):
	"""One test per row; a row is a note and then the arguments that follow world."""
	def mark(test):
		test.cases = rows
		return test
	return mark


def until(what, seconds=10, interval=0.05):
	"""The first true value of what(), or its last value after so many seconds."""
	end = time.monotonic() + seconds
	while True:
		got = what()
		if got or time.monotonic() > end:
			return got
		time.sleep(interval)


def without_card(message):
	"""A message with its card cut out, for comparing all the rest byte for byte."""
	return ASSERTION.sub(b'<CARD/>', message, count=1)


class World:
	def __init__(self, folder):
		with open(os.path.join(folder, 'sandbox.json'), encoding='utf-8') as f:
			self.sandbox = json.load(f)
		with open(self.sandbox['secrets'], encoding='utf-8') as f:
			self.secrets = json.load(f)
		self.folder = folder
		self.certs = client.World(self.sandbox['world'])
		self.numbers = itertools.count(1)
		self.killed = set()	# processes that a test ended on purpose
		self.ends = {}	# what ended by itself: after which tests

	# -- who and where

	def user(self, like=client.LARS, **changes):
		"""A person whose NameID no other test uses; the certificate `moces` is hers."""
		name = f'user-{next(self.numbers)}-{random.getrandbits(32):08x}'
		return like.but(**{'name_id': name, 'name_id_format': 'medcom:other', **changes})

	def person(self, who):
		return who if isinstance(who, client.Person) else client.LARS.but(name_id=who, name_id_format='medcom:other')

	def secret(self, client_id):
		return self.secrets[client_id]

	def service(self, path):
		"""URL of the service stub, as it stands on the positive list."""
		return f'{self.sandbox["stub"]}/{path}'

	def http(self, who='epj-a', server=0, tls=False, **options):
		"""A connection as one of the clients of sandbox.configuration; None: as a stranger."""
		s = self.sandbox['servers'][server]
		if who == 'addr-a':
			options.setdefault('source', '127.0.0.2')
		elif who == 'tls-a':
			tls = True
			options.update(cert=self.certs.cert('tls-client'), key=self.certs.key('tls-client'))
		elif who is not None:
			options.setdefault('secret', self.secret(who))
		return client.Http(s['https'] if tls else s['http'], ca=self.sandbox['tls_ca'], **options)

	# -- calls

	def post_service(self, xml, client='epj-a', server=0, **options):	# pylint: disable=redefined-outer-name
		return self.http(client, server).post('/sosigw/service/sosigw', xml, **options)

	def post_proxy(self, xml, client='epj-a', server=0, **options):	# pylint: disable=redefined-outer-name
		return self.http(client, server).post('/sosigw/proxy/soap-request', xml, **options)

	def proxy_request(self, who, to=None, **options):
		return client.proxy(self.person(who), to or self.service('service'), **options)

	def order_and_sign(self, who, cert='moces', client_id='epj-a', form='seal', server=0):
		"""Orders a card and signs it as a user's program does; fails the test unless all of it works."""
		answer = client.login(self.http(client_id, server), self.person(who), self.certs, cert, form)
		assert answer.parse().ok, f'signIdCard: {answer.status} {answer.body.decode()}'
		return answer

	def get_card(self, who, client_id='epj-a', server=0):
		return self.post_service(client.get_valid_id_card(self.person(who)), client_id, server).parse()

	def logout(self, who, client_id='epj-a', server=0):
		return self.post_service(client.logout(self.person(who)), client_id, server)

	# -- the world around

	def sts_control(self, mode='normal', **settings):
		data = json.dumps({'mode': mode, **settings}).encode()
		with urllib.request.urlopen(self.sandbox['sts'] + '/control', data, 5) as r:
			return json.load(r)

	@contextlib.contextmanager
	def sts(self, mode, **settings):
		self.sts_control(mode, **settings)
		try:
			yield
		finally:
			self.sts_control()

	def stub_count(self):
		"""How many requests have reached the service stub and were read to their end, or to where they broke off."""
		with urllib.request.urlopen(self.sandbox['stub'] + '/requests?last=0', timeout=5) as r:
			return json.load(r)['count']

	def stub_requests(self, since=0):
		"""What reached the stub after the first `since` requests, in order: the stub's log lines with `head` and `body` read."""
		return read_records(self.sandbox['records'], since)

	def forwarded(self, since, seconds=5):
		"""The one request that came after the first `since`."""
		got = until(lambda: self.stub_requests(since), seconds)
		assert len(got) == 1, f'{len(got)} requests reached the service'
		return got[0]

	@contextlib.contextmanager
	def nothing_forwarded(self):
		before = self.stub_count()
		yield
		got = self.stub_count() - before
		assert not got, f'{got} requests reached the service'

	# -- the inside

	def ctl(self, *argv, stdin=None):
		"""Runs sosigwctl; its output."""
		r = subprocess.run([self.sandbox['ctl'], '--config', self.sandbox['servers'][0]['conf'], *argv], input=stdin,
		    capture_output=True, text=True, check=False, timeout=60)
		if r.returncode:
			raise AssertionError(f'sosigwctl {" ".join(argv)}: exit {r.returncode}\n{r.stdout}{r.stderr}')
		return r.stdout

	def audit(self, least=1, seconds=15, **filters):
		"""Audit records in the database, newest first, once there are so many and none is open; filters as of `sosigwctl audit
		search` (user=, client=, service=, status=, kind=)."""
		argv = [x for name, value in filters.items() for x in (f'--{name.replace("_", "-")}', value)]

		def shipped():
			rows = read_json_rows(self.ctl('--json', 'audit', 'search', *argv))
			return rows if len(rows) >= least and all(r['status'] != 'open' for r in rows) else None

		rows = until(shipped, seconds, 0.2)
		assert rows is not None, f'no {least} finished audit records of {filters}: {self.ctl("--json", "audit", "search", *argv)}'
		return rows

	def configuration(self):
		return json.loads(self.ctl('config', 'export'))

	def configure(self, document):
		"""Publishes it: (its revision, whether that is a new one). Who needs it live everywhere takes `configured`."""
		said = json.loads(self.ctl('--json', 'config', 'import', '-', '--comment', 'flow test', stdin=json.dumps(document)))
		return said['revision'], said['published']

	def configure_everywhere(self, document):
		"""Publishes it and waits until all programs that run have said that they use it; one that is stopped does not."""
		logs = [p for p in glob.glob(os.path.join(self.folder, 'log', '*.log')) if PROGRAM.search(p)]
		before = {p: os.path.getsize(p) for p in logs}
		revision, is_new = self.configure(document)

		def uses(path):
			with open(path, 'rb') as f:
				f.seek(before[path])
				return any(int(n) >= revision for n in USED.findall(f.read()))
		if is_new:
			until(lambda: all(uses(p) for p in logs), 5)

	@contextlib.contextmanager
	def configured(self, change):
		"""With a configuration that change(document) has altered; it is live on every server when the block begins."""
		before = self.configuration()
		document = json.loads(json.dumps(before))
		change(document)
		self.configure_everywhere(document)
		try:
			yield
		finally:
			self.configure_everywhere(before)

	def pid(self, name):
		"""Of a process as `scripts/sandbox status` lists it; without s1- of the first server, and apache-1 for s1-apache."""
		apache = re.fullmatch(r'apache-(\d)', name)
		names = [name, f's1-{name}'] + ([f's{apache[1]}-apache'] if apache else [])
		for n in names:
			path = os.path.join(self.folder, 'run', f'{n}.pid')
			with contextlib.suppress(FileNotFoundError), open(path, encoding='ascii') as f:
				return int(f.read().split()[0])
		raise AssertionError(f'no process {name}')

	def kill(self, name, sig=signal.SIGKILL):
		"""Ends a process; the sandbox starts it again."""
		self.killed.add(name)
		os.kill(self.pid(name), sig)

	def switch(self, command, name):
		subprocess.run([SANDBOX, command, name, '--dir', self.folder], check=True, timeout=60)

	def release(self, name, release):
		"""The process goes on as that release (previous, current, next). What the sandbox says when it does not start, else ''."""
		self.killed.add(name)
		r = subprocess.run([SANDBOX, 'release', name, '--release', release, '--dir', self.folder], capture_output=True, text=True,
		    check=False, timeout=120)
		return r.stderr if r.returncode else ''

	def note_ends(self, after):
		"""Remembers which processes the supervisor has seen ending since the last time."""
		with open(os.path.join(self.folder, 'log', 'supervisor.log'), encoding='utf-8') as f:
			for end in ENDED.findall(f.read())[sum(map(len, self.ends.values())):]:
				self.ends.setdefault(end, []).append(after)

	def members(self):
		return json.loads(self.ctl('--json', 'cluster'))

	def programs(self):
		"""What every program of every server says of itself."""
		return [{'server': m['server'], **p} for m in self.members() for p in m['programs']]

	def database(self, command):
		"""failover or rejoin, in a sandbox --standby."""
		self.killed.update(d['name'] for d in self.sandbox['databases'])
		subprocess.run([SANDBOX, command, '--dir', self.folder], check=True, timeout=120)

	@contextlib.contextmanager
	def stopped(self, name):
		"""With one process of the sandbox stopped; it is started again behind the block."""
		self.switch('stop', name)
		try:
			yield
		finally:
			self.switch('start', name)

	def cached(self, zone):
		"""How many values the memcached node of this zone holds."""
		with socket.create_connection(('127.0.0.1', self.sandbox['memcached']['ab'.index(zone)]), 5) as s:
			s.sendall(b'stats\r\n')
			text = b''
			while not text.endswith(b'END\r\n'):
				text += s.recv(65536)
		return int(re.search(rb'STAT curr_items (\d+)', text)[1])

	# -- what must be true

	def refused(self, answer, fault_code, text=None):
		"""The answer is a DGWS fault with this code; its parsed form."""
		assert answer.status == 500, f'status {answer.status}, not 500: {answer.body[:2000]}'
		assert answer.headers.get_content_type() == 'text/xml', answer.headers['Content-Type']
		parsed = answer.parse()
		assert parsed.fault and parsed.fault_code == fault_code, f'{parsed.fault_code}, not {fault_code}: {parsed.string}'
		assert text is None or text in parsed.string, f'{parsed.string!r} does not say {text!r}'
		return parsed


def read_json_rows(text):
	"""A JSON array, or one JSON object per line."""
	text = text.strip()
	if text.startswith('['):
		return json.loads(text)
	return [json.loads(line) for line in text.splitlines()]


def read_records(folder, since):
	"""The stub's log after so many requests: one dict per request, with the request line and headers as `head` and the octets of `body`."""
	out = []
	with open(os.path.join(folder, 'log.jsonl'), encoding='utf-8') as f:
		for line in f:
			r = json.loads(line)
			if r['n'] <= since:
				continue
			for kind in ('head', 'body'):
				path = os.path.join(folder, f'{r["n"]}.{kind}')
				if os.path.exists(path):
					with open(path, 'rb') as record:
						r[kind] = record.read()
			out.append(r)
	return sorted(out, key=lambda r: r['n'])


def complaints(folder, killed, fine=FINE, ends=None):
	"""What went wrong with nobody asking: sanitizer reports, processes that ended by themselves (and after which tests: World.ends)."""
	out = []
	for path in sorted(glob.glob(os.path.join(folder, 'log', '*.log'))):
		with open(path, errors='replace', encoding='utf-8') as f:
			text = f.read()
		found = SANITIZER.search(text)
		if found:
			out.append(f'{os.path.basename(path)}:\n{text[max(0, found.start() - 200):found.start() + 6000]}')
	with open(os.path.join(folder, 'log', 'supervisor.log'), encoding='utf-8') as f:
		for name, code in sorted(set(ENDED.findall(f.read()))):
			if int(code) not in fine and not any(name.endswith(k) for k in killed):
				when = [f'noted after {after}' for after in (ends or {}).get((name, code), [])]
				out.append('\n    | '.join([f'{name} ended with {code}'] + when + errors_of(folder, name)))
	return out


def errors_of(folder, name):
	"""The last errors that this process logged, and how it stopped."""
	try:
		with open(os.path.join(folder, 'log', f'{name}.log'), errors='replace', encoding='utf-8') as f:
			return [line.strip() for line in f if '"level":"error"' in line or '"event":"stop"' in line and 'drained' not in line][-5:]
	except FileNotFoundError:
		return []
