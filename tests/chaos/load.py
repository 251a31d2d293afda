"""The load of the chaos test, and the ledger of it: every call that was made, which server it went to, what came back.

Every attempt to call has a mark of its own, c<phase>-<number>. It stands in the card of the request (as the system's
name, which the audit event keeps) and in wsa:Action (which the service stub receives), so that the audit trail and the
stub's records can be held against the ledger one by one.

Users are sequential: one thread at a time acts for a user, and so what must be answered is always known.
"""
import contextlib
import dataclasses
import http.client
import itertools
import random
import threading
import time
import urllib.request

import client

ANSWERED = ('ok', 'fault')
NO_CARD = {'sosigw_no_valid_idcard_in_cache', 'sosigw_awaiting_signing'}
FORGET_SECONDS = 1.0	# within this a logout must be known everywhere
RECOVER_SECONDS = 8	# within this a server that was cut off must be whole again
CLEAR_SECONDS = 10	# within this a server that is cut off must say that it cannot serve
HEALTH_SECONDS = 0.5	# a server that has not shown a file by then is asked last
AVOID_SECONDS = 1.0	# how long the balancer leaves a server alone that did not answer
# slow: a proxy call that takes the service a second, so that there is always something under way to be killed
POOL = {'proxy': 'proxy', 'slow': 'proxy', 'order': 'card', 'sign': 'card', 'get': 'card', 'logout': 'card'}
ACTION = {'order': 'requestIdCardDigestForSigning', 'sign': 'signIdCard', 'get': 'getValidIdCard', 'logout': 'logout'}


@dataclasses.dataclass
class Attempt:
	mark: str
	kind: str
	user: str
	server: int
	began: float
	ended: float = 0.0
	outcome: str = ''	# ok, fault; or why there is no answer: no connection, cut, timeout, http 502
	fault: str = ''		# its DGWS code
	text: str = ''
	excused: bool = False	# a fault of a server that was cut off
	card: str = ''		# id of the card that it should carry, or that it gave

	@property
	def answered(self):
		return self.outcome in ANSWERED


@dataclasses.dataclass
class Call:
	"""What a client wanted once, with one attempt or several."""
	kind: str
	user: str
	attempts: list
	verdict: str = ''	# good; lost, returned, early, failed
	why: str = ''


class Ledger:
	def __init__(self):
		self.lock = threading.Lock()
		self.phase = 0
		self.numbers = itertools.count(1)
		self.begin_phase(0)

	def begin_phase(self, phase):
		with self.lock:
			self.phase, self.attempts, self.calls = phase, {}, []
			self.killed = []	# (server or None, when, name)
			self.cut = {}		# server -> [from, to]: when it was cut off from all that it needs
			self.notes = []

	def open(self, kind, user, server, card=''):
		with self.lock:
			mark = f'c{self.phase}-{next(self.numbers):06d}'
			a = self.attempts[mark] = Attempt(mark, kind, user, server, time.monotonic(), card=card)
		return a

	def close(self, call):
		with self.lock:
			self.calls.append(call)

	def note_killed(self, server, name):
		with self.lock:
			self.killed.append((server, time.monotonic(), name))

	def note(self, text):
		with self.lock:
			self.notes.append(text)

	@contextlib.contextmanager
	def cut_off(self, server):
		self.note_killed(server, f'the network of server {server + 1}')
		self.cut[server] = [time.monotonic(), float('inf')]
		try:
			yield
		finally:
			self.cut[server][1] = time.monotonic()

	def says_that_it_is_cut_off(self, a):
		"""Whether it is a fault of a server that could not know better: another one is asked then."""
		begin, end = self.cut.get(a.server, (0, 0))
		return a.outcome == 'fault' and a.fault not in NO_CARD and begin <= a.ended and a.began <= end + RECOVER_SECONDS

	def was_in_flight(self, a, slack=0.1):
		"""Whether a process of its server was killed while it was under way."""
		return any(server == a.server and a.began - slack <= when <= a.ended + slack for server, when, _ in self.killed)


class User:
	def __init__(self, person, label):
		self.person, self.label = person, label
		self.state = 'out'	# in, out, unknown
		self.card = None	# id of the card in force
		self.dead = {}		# ids of cards that were logged out -> when that was answered
		self.out_since = 0.0

	@property
	def name(self):
		return self.person.name_id


class Gate:
	"""Open while the load runs; shut() waits until nothing is under way."""

	def __init__(self):
		self.changed = threading.Condition()
		self.is_open, self.inside, self.ended = False, 0, False

	def open(self):
		with self.changed:
			self.is_open = True
			self.changed.notify_all()

	def shut(self, seconds=60):
		with self.changed:
			self.is_open = False
			return self.changed.wait_for(lambda: self.inside == 0, seconds)

	def end(self):
		with self.changed:
			self.ended = True
			self.changed.notify_all()

	def __enter__(self):
		with self.changed:
			self.changed.wait_for(lambda: self.is_open or self.ended)
			if self.ended:
				raise SystemExit
			self.inside += 1

	def __exit__(self, *_):
		with self.changed:
			self.inside -= 1
			self.changed.notify_all()


class Control:
	"""Asks each of these for something simple all the while: who is up, and did somebody answer?"""

	def __init__(self, urls):
		self.up, self.answered, self.ended = [True] * len(urls), [], False
		self.threads = [threading.Thread(target=self.ask, args=(i, url), daemon=True) for i, url in enumerate(urls)]

	def ask(self, number, url):
		while not self.ended:
			try:
				with urllib.request.urlopen(url, timeout=HEALTH_SECONDS) as r:
					r.read()
				self.up[number] = True
				self.answered.append(time.monotonic())
			except OSError:
				self.up[number] = False
			time.sleep(0.08)


class Balancer:
	"""Calls as a load balancer before the servers would: one that does not answer is left for the next. health: a Control of
	the servers, as such a balancer has."""

	def __init__(self, world, ledger, health, client_id='epj-a', timeout=20):
		self.world, self.ledger, self.health = world, ledger, health
		self.https = [client.Http(s['http'], secret=world.secret(client_id), timeout=timeout) for s in world.sandbox['servers']]
		self.turns = itertools.count(random.randrange(100))
		self.avoided = [0.0] * len(self.https)
		self.services = {'proxy': world.service('service'), 'slow': world.service('slow/1000')}

	def order(self):
		n, first, now = len(self.https), next(self.turns), time.monotonic()
		servers = [(first + i) % n for i in range(n)]
		return sorted(servers, key=lambda s: self.avoided[s] > now or not self.health.up[s])

	def message(self, kind, person, mark, sign):
		p = person.but(system=mark)
		if kind in self.services:
			return client.PROXY, client.proxy(p, self.services[kind], action='urn:chaos:' + mark), None
		if kind == 'sign':
			body = client.sign_id_card(p, *sign)
		else:
			body = {'order': client.order_card, 'get': client.get_valid_id_card, 'logout': client.logout}[kind](p)
		return client.SERVICE, body, f'"{client.ACTION[ACTION[kind]]}"'

	def attempt(self, kind, user, server, sign=None):
		"""One try at one server: (Attempt, parsed answer or None)."""
		a = self.ledger.open(kind, user.name, server, user.card or '')
		path, body, action = self.message(kind, user.person, a.mark, sign)
		parsed = None
		try:
			parsed = self.send(a, self.https[server], path, body, action)
		except (http.client.HTTPException, OSError) as e:
			a.outcome = 'timeout' if isinstance(e, TimeoutError) else 'no connection' if a.outcome == 'connecting' else 'cut'
			a.text = repr(e)
		a.ended = time.monotonic()
		if not a.answered:
			self.avoided[server] = a.ended + AVOID_SECONDS
		return a, parsed

	def send(self, a, http_, path, body, action):
		a.outcome = 'connecting'
		s = http_.connect()
		a.outcome = 'sending'
		one = client.Http(f'http://{http_.host}:{http_.port}', secret=http_.secret, timeout=http_.timeout)
		one.kept = s
		answer = one.post(path, body, action=action)
		if not answer.complete:
			a.outcome, a.text = 'cut', f'{answer.length} octets of the answer'
			return None
		if answer.status == 202 and a.kind == 'logout':
			a.outcome = 'ok'	# it has no answer but that
			return None
		if answer.status not in (200, 500):
			a.outcome = f'http {answer.status}'
			return None
		if not answer.body.lstrip().startswith(b'<') or b'Envelope' not in answer.body[:400]:
			a.outcome, a.text = f'http {answer.status}', repr(answer.body[:200])
			return None
		parsed = answer.parse()
		a.outcome = 'fault' if parsed.fault else 'ok'
		a.fault, a.text = parsed.fault_code or parsed.code or '', parsed.string or ''
		return parsed

	def call(self, kind, user, sign=None, only=None):
		"""A call with its further tries: (Call, parsed answer or None)."""
		c = Call(kind, user.name, [])
		parsed = None
		for server in self.order() if only is None else [only]:
			a, parsed = self.attempt(kind, user, server, sign)
			c.attempts.append(a)
			a.excused = self.ledger.says_that_it_is_cut_off(a)
			if a.excused:
				self.avoided[server] = a.ended + AVOID_SECONDS
			elif a.answered:
				break
		last = c.attempts[-1]
		if not last.answered:
			self.judge(c, 'failed', last.outcome)
		return c, parsed

	def judge(self, c, verdict, why=''):
		if not c.verdict:
			c.verdict, c.why = verdict, why
			self.ledger.close(c)

	# -- what a user does, and what must come back

	def use(self, user, kind, only=None):
		"""A call with the user's card, by the proxy or to show it; judged by what is known of the user."""
		c, parsed = self.call(kind, user, only=only)
		last = c.attempts[-1]
		if c.verdict:
			return c
		card = client.read_card(parsed.card)['sosi:IDCardID'] if kind == 'get' and parsed.card else None
		if last.outcome == 'ok':
			self.judge_used(c, user, card)
		elif last.fault not in NO_CARD:
			self.judge(c, 'failed', f'{last.fault}: {last.text[:120]}')
		elif user.state == 'in':
			self.judge(c, 'lost', f'{user.label} {user.name} on server {last.server + 1}: {last.text[:80]}')
			user.state, user.card = 'out', None
		else:
			user.state, user.card = 'out', None
			self.judge(c, 'good')
		return c

	def judge_used(self, c, user, card):
		last = c.attempts[-1]
		if card:
			last.card = card
		if user.state == 'out' or card in user.dead:
			late = last.began - (user.dead.get(card) or user.out_since)
			verdict = 'returned' if late > FORGET_SECONDS else 'early'
			self.judge(c, verdict, f'{user.label} {user.name} on server {last.server + 1}, {late:.2f} s after the logout')
			return
		if card and user.state == 'in' and user.card and card != user.card:
			self.judge(c, 'failed', f'{user.name} has card {card} and not {user.card}')
			return
		if user.state == 'unknown' and card:
			user.state = 'in'
		if card:
			user.card = card
		self.judge(c, 'good')

	def login(self, user):
		"""Orders, signs, and looks at the card; whether the user has one now."""
		user.state, user.card = 'unknown', None
		c, parsed = self.call('order', user)
		if c.verdict:
			return False
		if parsed.fault or not parsed.digest:
			self.judge(c, 'failed', f'{c.attempts[-1].fault}: {c.attempts[-1].text[:120]}')
			return False
		self.judge(c, 'good')
		certs = self.world.certs
		c, parsed = self.call('sign', user, (client.sign(parsed.digest, certs.key('moces')), certs.cert('moces')))
		last = c.attempts[-1]
		if not c.verdict and last.outcome == 'fault' and len(c.attempts) == 1:
			self.judge(c, 'failed', f'{last.fault}: {last.text[:120]}')
			return False
		if not c.verdict and last.outcome == 'ok':
			user.state = 'in'	# from here on the card must be there
		# a second try finds that the first was done, and is refused: what counts is that the card is there
		there = self.use(user, 'get').verdict == 'good' and user.state == 'in'
		if last.outcome == 'fault' and not there:
			self.judge(c, 'failed', f'{last.fault}: {last.text[:120]}')
		self.judge(c, 'good')
		return there

	def logout(self, user):
		"""Tries until it is answered as done; whether it was."""
		for _ in range(3):
			c, _parsed = self.call('logout', user)
			last = c.attempts[-1]
			if last.outcome == 'ok':
				user.out_since = last.ended
				if user.card:
					user.dead[user.card] = last.ended
				user.state, user.card = 'out', None
				self.judge(c, 'good')
				return True
			user.state = 'unknown'
			self.judge(c, 'failed', f'{last.fault}: {last.text[:120]}')
			time.sleep(0.5)
		return False


class Load:
	"""Threads that act for users for as long as the gate is open.

	standing users are logged in once and stay; those whose label is 'read' are used all the while, 'quiet' ones only by
	the sweep behind each phase. gone: users who logged out last, for the sweep."""
	KEPT_GONE = 40

	def __init__(self, world, ledger, sessions=8, readers=4, slow=6, standing=40):
		self.ledger = ledger
		self.gate = Gate()
		# the file comes from Apache without any of our programs; the service stub has nothing to do with the gateway
		self.static = Control([f'{s["http"]}/sosigw/static/robots.txt' for s in world.sandbox['servers']])
		self.machine = Control([f'{world.sandbox["stub"]}/requests?last=0'])
		self.balancer = Balancer(world, ledger, self.static)
		self.world = world
		self.standing = [User(world.user(), 'quiet' if i % 2 else 'read') for i in range(standing)]
		self.gone, self.gone_lock = [], threading.Lock()
		read = [u for u in self.standing if u.label == 'read']
		self.threads = [threading.Thread(target=self.guarded, args=(self.session,), daemon=True) for _ in range(sessions)]
		self.threads += [threading.Thread(target=self.guarded, args=(self.reader, 'get' if i % 2 else 'proxy', read[i::readers]), daemon=True)
		    for i in range(readers)]
		self.threads += [threading.Thread(target=self.guarded, args=(self.reader, 'slow', self.standing_alone(i)), daemon=True) for i in range(slow)]
		self.threads += self.static.threads + self.machine.threads
		self.broken = []	# what went wrong in the test itself

	def standing_alone(self, number):
		"""One more standing user, for one thread."""
		self.standing.append(User(self.world.user(), f'slow {number}'))
		return self.standing[-1:]

	def start(self):
		self.log_in(self.standing)
		for t in self.threads:
			t.start()

	def end(self):
		self.gate.end()
		self.static.ended = self.machine.ended = True
		for t in self.threads:
			t.join(30)

	def guarded(self, work, *argv):
		try:
			work(*argv)
		except SystemExit:
			pass
		except Exception as e:	# pylint: disable=broad-except
			self.broken.append(repr(e))
			raise

	def log_in(self, users):
		for u in users:
			for _ in range(3):
				if self.balancer.login(u):
					break

	def pause(self, seconds):
		time.sleep(seconds * random.uniform(0.5, 1.5))

	def reader(self, kind, users):
		for user in itertools.cycle(users):
			with self.gate:
				if user.state == 'out':
					self.balancer.login(user)
				self.balancer.use(user, kind)
			self.pause(0.25)

	def act(self, what, *argv):
		with self.gate:
			got = what(*argv)
		self.pause(0.5)
		return got

	def session(self):
		user = None
		self.pause(0.5)
		while True:
			if user is None or random.random() < 0.5:
				user = User(self.world.user(), 'session')
			self.forget_gone(user)
			if not self.act(self.balancer.login, user):
				continue
			for i in range(random.randint(3, 7)):
				self.act(self.balancer.use, user, 'get' if i == 3 else 'proxy')
			if not self.act(self.balancer.logout, user):
				continue
			self.act(self.balancer.use, user, 'proxy')
			self.pause(1.2)
			self.act(self.balancer.use, user, random.choice(['proxy', 'get']))
			with self.gone_lock:
				self.gone = [*self.gone[1 - self.KEPT_GONE:], user]

	def forget_gone(self, user):
		with self.gone_lock:
			self.gone = [u for u in self.gone if u is not user]

	# -- behind a phase, with the gate shut

	def sweep(self, threads=4):
		"""Is every card there, and none of those that were logged out? Each user is asked for at one server, in turn."""
		todo = [(u, i % len(self.balancer.https)) for i, u in enumerate(self.standing + self.gone)]
		lock = threading.Lock()

		def work():
			while True:
				with lock:
					if not todo:
						return
					user, server = todo.pop()
				self.balancer.use(user, 'get', only=server)

		workers = [threading.Thread(target=work) for _ in range(threads)]
		for t in workers:
			t.start()
		for t in workers:
			t.join()
