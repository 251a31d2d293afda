"""The checker: holds the ledger of a phase against the audit trail and against what reached the service, and sums up.
What it finds wrong is in Result.wrong: {kind: [description, ...]}."""
import collections
import contextlib
import glob
import os
import re
import subprocess
import time

from harness import read_records, until
from load import CLEAR_SECONDS, POOL

MARK = re.compile(rb'urn:chaos:(c\d+-\d+)')
DRAIN_SECONDS = 30
STUCK_SECONDS = 12	# what has not come by then, while nothing else comes either, will not come
GAP_SECONDS = 1.0
KINDS = ('lost', 'returned', 'failed', 'missing', 'doubled', 'wrong', 'broken', 'unlogged', 'gap')
REQUEST = re.compile(rb'"request":"([^"]+)"')


class Result:
	def __init__(self, name):
		self.name, self.calls, self.early, self.drain = name, 0, 0, 0.0
		self.wrong = {k: [] for k in KINDS}
		self.first = collections.Counter()	# why first attempts failed, all of them
		self.gaps, self.slowest, self.seconds = {}, 0.0, 0.0
		self.notes = []


class Checker:
	def __init__(self, world, ledger, controls, short):
		self.world, self.ledger = world, ledger
		self.controls = controls	# static, machine: moments at which they were answered
		self.short = short	# times are told and not judged: who runs the tests may have a busy machine
		self.rest = 0.3 if short else 1
		self.seen_requests = 0
		self.read_logs = {}		# inode -> octets of a log file that were read

	def sql(self, statement):
		r = subprocess.run(['psql', '-X', '-At', '-F', '\t', self.world.sandbox['postgresql'], '-c', statement], capture_output=True,
		    text=True, check=False, timeout=60)
		if r.returncode:
			raise AssertionError(f'psql: {r.stderr}')
		return [line.split('\t') for line in r.stdout.splitlines()]

	def rows(self):
		"""mark -> its audit events"""
		out = collections.defaultdict(list)
		for mark, request, status, card, server, program in self.sql(
		    "SELECT system_id, request_id, status, coalesce(card_id, ''), server, program FROM audit_event "
		    f"WHERE system_id LIKE 'c{self.ledger.phase}-%'"):
			out[mark].append({'request': request, 'status': status, 'card': card, 'where': f'{server} {program}'})
		return out

	def drain(self, result, stuck):
		"""Waits until the audit trail has what it must have; what it has then."""
		began = moved = time.monotonic()
		left = None
		while True:
			rows = self.rows()
			waiting = sum(a.answered and not self.lost_its_mark(a) and not any(r['status'] != 'open' for r in rows.get(a.mark, []))
			    for a in self.ledger.attempts.values())
			now = time.monotonic()
			result.drain = now - began
			if waiting != left:
				left, moved = waiting, now
			if not waiting or result.drain > DRAIN_SECONDS or now - moved > stuck:
				time.sleep(self.rest)
				return self.rows()
			time.sleep(self.rest / 2)

	def check(self, name, fault_allows, window, stuck=STUCK_SECONDS):
		"""All of a phase, once the gate is shut and the users were swept. window: when its load began and ended."""
		result = Result(name)
		result.notes = self.ledger.notes
		if self.ledger.killed:
			result.notes.append('killed ' + ', '.join(name for _, _, name in self.ledger.killed))
		result.seconds = window[1] - window[0]
		rows = self.drain(result, stuck)
		self.check_calls(result)
		self.check_attempts(result, fault_allows)
		self.check_audit(result, rows)
		self.check_service(result, rows)
		self.check_logs(result, rows)
		self.check_chains(result)
		self.check_gaps(result, window)
		if self.short:
			result.wrong['gap'] = []
			return result
		result.wrong['failed'] += [n for n in result.notes if n.startswith('LATE')]
		return result

	def check_calls(self, result):
		for c in self.ledger.calls:
			result.calls += 1
			if c.verdict == 'early':
				result.early += 1
			elif c.verdict == 'failed' and c.attempts[-1].answered and self.ledger.was_in_flight(c.attempts[-1]):
				# Apache asks the next worker, but has only what it had not sent yet: a fault, nothing is forwarded twice
				result.first['fault in flight'] += 1
			elif c.verdict != 'good':
				result.wrong[c.verdict].append(f'{c.kind} {c.attempts[-1].mark}: {c.why}')

	def check_attempts(self, result, allowed):
		"""A first attempt that failed is made good by the balancer; it may fail in flight in a process that was killed."""
		for a in self.ledger.attempts.values():
			if a.excused:
				result.first['clear fault, cut off'] += 1
				if a.ended - a.began > CLEAR_SECONDS:
					result.wrong['failed'].append(f'{a.kind} {a.mark}: server {a.server + 1}, cut off, says so after {a.ended - a.began:.1f} s')
			if a.answered:
				continue
			flight = self.ledger.was_in_flight(a)
			result.first[f'{a.outcome}{" in flight" if flight else ""}'] += 1
			if not flight and a.outcome not in allowed:
				result.wrong['failed'].append(f'{a.kind} {a.mark} on server {a.server + 1}: {a.outcome} after {a.ended - a.began:.2f} s {a.text[:80]}')

	def check_audit(self, result, rows):
		"""Every answer has exactly one event, with its outcome; a call without an answer at most one."""
		for mark in set(rows) - set(self.ledger.attempts):
			result.wrong['doubled'].append(f'an event of a call that was not made: {mark}')
		for a in self.ledger.attempts.values():
			got = rows.get(a.mark, [])
			flight = self.ledger.was_in_flight(a, 0.5)
			if a.answered and not got and not (self.lost_its_mark(a) and self.has_event(a)):
				result.wrong['missing'].append(f'{a.kind} {a.mark} answered by server {a.server + 1}')
			# Apache may give what a killed worker had begun to the next one: two requests, two events
			replayed = flight and len({r['request'] for r in got}) == len(got)
			if len(got) > 1 and not replayed:
				result.wrong['doubled'].append(f'{a.kind} {a.mark}: {len(got)} events of {", ".join(r["where"] for r in got)}')
			wanted = {'ok': ('ok',), 'fault': ('refused', 'failed')}.get(a.outcome)
			if got and wanted and not flight and not any(r['status'] in wanted for r in got):
				result.wrong['wrong'].append(f'{a.kind} {a.mark} was answered {a.outcome}, the audit says {got[0]["status"]}')

	def lost_its_mark(self, a):
		"""The worker that had read it was killed, and the next one, which got the rest from Apache, could but say so."""
		return a.outcome == 'fault' and self.ledger.was_in_flight(a, 0.5)

	def has_event(self, a):
		"""Whether there is one of the request that the fault names."""
		named = re.search(r'\[([\w-]+)\]\s*$', a.text)
		return named and until(lambda: self.sql(f"SELECT 1 FROM audit_event WHERE request_id = '{named[1]}'"), 15, 0.5)

	def check_service(self, result, rows):
		"""What reached the service: once per call, with the card of its user, and known to the audit."""
		reached = collections.Counter()
		for r in read_records(self.world.sandbox['records'], self.seen_requests):
			self.seen_requests = max(self.seen_requests, r['n'])
			for kind in ('head', 'body'):
				with contextlib.suppress(OSError):
					os.unlink(os.path.join(self.world.sandbox['records'], f'{r["n"]}.{kind}'))
			found = MARK.search(r.get('body', b''))
			a = self.ledger.attempts.get(found[1].decode()) if found else None
			if a is None:
				continue
			reached[a.mark] += 1
			if not rows.get(a.mark) and not a.answered:
				result.wrong['missing'].append(f'{a.kind} {a.mark} reached the service')
			if a.card and r['card'] and r['card'] != a.card:
				result.wrong['wrong'].append(f'{a.mark} reached the service with card {r["card"]}, not {a.card}')
		for mark, n in reached.items():
			if n > 1:
				result.wrong['wrong'].append(f'{mark} reached the service {n} times')

	def check_logs(self, result, rows):
		"""Each call that was refused or failed has a line in the technical log of some server, also while the files are rotated."""
		logged = set()
		for s in self.world.sandbox['servers']:
			for path in glob.glob(s['log'] + '*') if s.get('log') else []:
				with open(path, 'rb') as f:
					number = os.fstat(f.fileno()).st_ino
					f.seek(self.read_logs.get(number, 0))
					text = f.read()
				self.read_logs[number] = self.read_logs.get(number, 0) + len(text)
				logged.update(x.decode() for x in REQUEST.findall(text))
		if not logged:
			return
		for a in self.ledger.attempts.values():
			if a.outcome != 'fault' or self.ledger.was_in_flight(a, 0.5):
				continue
			for r in rows.get(a.mark, []):
				if r['status'] != 'open' and r['request'] not in logged:
					result.wrong['unlogged'].append(f'{a.kind} {a.mark}, request {r["request"]}, {a.fault} of {r["where"]}')

	def check_chains(self, result):
		try:
			self.world.ctl('audit', 'verify')
		except AssertionError as e:
			lines = [line for line in str(e).splitlines()[1:] if line.strip()]
			result.wrong['broken'] += lines or ['sosigwctl audit verify failed']

	def check_gaps(self, result, window):
		"""The longest time in which no call to a pool of workers was answered, over all servers and per server."""
		good = [c.attempts[-1] for c in self.ledger.calls if c.verdict in ('good', 'early')]
		took = [(c.attempts[-1].ended - c.attempts[0].began, c.kind) for c in self.ledger.calls if c.kind != 'slow']
		result.slowest = max((seconds for seconds, _ in took), default=0)
		slow = collections.Counter(kind for seconds, kind in took if seconds > GAP_SECONDS)
		if slow:
			result.notes.append('calls of more than a second: ' + ', '.join(f'{n} {kind}' for kind, n in sorted(slow.items())))
		for pool in ('proxy', 'card'):
			ended = [(a.ended, a.server) for a in good if POOL[a.kind] == pool and window[0] <= a.ended <= window[1]]
			result.gaps[pool], when = longest([t for t, _ in ended], window)
			for server in range(len(self.world.sandbox['servers'])):
				result.gaps[f'{pool} {server + 1}'] = longest([t for t, s in ended if s == server], window)[0]
			stalled = longest(self.controls['machine'].answered, when)[0]
			if result.gaps[pool] - stalled > GAP_SECONDS:
				result.wrong['gap'].append(f'{pool} pool: nothing answered for {result.gaps[pool]:.2f} s; the machine itself stood for {stalled:.2f} s of it')
		for name, control in self.controls.items():
			result.gaps[name] = longest(control.answered, window)[0]


def longest(times, window):
	"""The longest time without any of these moments: (seconds, (from, to))."""
	marks = [window[0], *sorted(t for t in times if window[0] <= t <= window[1]), window[1]]
	a, b = max(zip(marks, marks[1:]), key=lambda p: p[1] - p[0])
	return b - a, (a, b)


# ---- the table

HEAD = ('fault', 'seconds', 'calls', 'first try failed', 'failed', 'gap proxy', 'gap card', 'static', 'machine', 'one srv', 'slowest', 'lost', 'returned', '<1 s',
    'missing', 'doubled', 'wrong', 'broken', 'unlogged', 'drain')


def columns(r):
	w = {k: len(v) for k, v in r.wrong.items()}
	alone = max((v for k, v in r.gaps.items() if ' ' in k), default=0)
	first = ', '.join(f'{n} {why}' for why, n in sorted(r.first.items())) or '0'
	return (r.name, f'{r.seconds:.0f}', r.calls, first, w['failed'], *(f'{r.gaps[k]:.2f}' for k in ('proxy', 'card', 'static', 'machine')), f'{alone:.1f}',
	    f'{r.slowest:.2f}', w['lost'], w['returned'], r.early, w['missing'], w['doubled'], w['wrong'], w['broken'], w['unlogged'], f'{r.drain:.1f}')


def total(results):
	"""One line for all of them: sums, and the longest of the times."""
	t = Result('all')
	for r in results:
		t.calls += r.calls
		t.seconds += r.seconds
		t.early += r.early
		t.first += r.first
		t.drain, t.slowest = max(t.drain, r.drain), max(t.slowest, r.slowest)
		for k, v in r.wrong.items():
			t.wrong[k] += v
		for k, v in r.gaps.items():
			t.gaps[k] = max(v, t.gaps.get(k, 0))
	return t


def print_table(results):
	table = [HEAD] + [tuple(str(c) for c in columns(r)) for r in [*results, total(results)]]
	widths = [max(len(row[i]) for row in table) for i in range(len(HEAD))]
	for row in table:
		print('  '.join(c.ljust(w) if i in (0, 3) else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))))
