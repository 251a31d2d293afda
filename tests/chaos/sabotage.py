"""Tampering that the checker must notice. Each is a context manager of (run); what was tampered with is put right behind
the check, so that the next one is noticed for itself."""
import contextlib
import hmac
import os
import random
import socket
import struct
import time

from harness import until
from load import User


class Node:
	"""One memcached node, spoken to directly."""

	def __init__(self, address, port):
		self.s = socket.create_connection((address, port), 5)
		self.f = self.s.makefile('rb')

	def ask(self, line, data=None):
		self.s.sendall(line + b'\r\n' + (data + b'\r\n' if data is not None else b''))
		return self.f.readline().rstrip(b'\r\n')

	def get(self, key):
		"""(flags, value), or None."""
		words = self.ask(b'get ' + key).split()
		if words[0] == b'END':
			return None
		data = self.f.read(int(words[3]) + 2)[:-2]
		self.f.readline()
		return words[2], data

	def set(self, key, value):
		flags, data = value
		assert self.ask(b'set %s %s 3600 %d' % (key, flags, len(data)), data) == b'STORED'

	def delete(self, key):
		return self.ask(b'delete ' + key)


def nodes(run):
	box = run.world.sandbox
	return [Node(box['addresses'].get(f'memcached-{zone}', '127.0.0.1'), port) for zone, port in zip('ab', box['memcached'])]


@contextlib.contextmanager
def tampered(run, table, where, statement):
	"""With a statement run on the rows of a table, which are put back behind it."""
	kept = f'chaos_kept_{len(run.tampered)}'
	run.checker.sql(f'CREATE TABLE {kept} AS SELECT * FROM {table} WHERE {where}')
	run.checker.sql(statement)
	try:
		yield
	finally:
		run.checker.sql(f'DELETE FROM {table} WHERE {where}')
		run.checker.sql(f'INSERT INTO {table} SELECT * FROM {kept}')
		run.checker.sql(f'DROP TABLE {kept}')


def some_event(run):
	"""Mark of some call that was answered and whose event has arrived."""
	mark = random.choice([a.mark for a in run.ledger.attempts.values()
	    if a.kind == 'proxy' and a.outcome == 'ok' and a.mark not in run.tampered])
	run.tampered.append(mark)
	got = until(lambda: run.checker.sql(f"SELECT 1 FROM audit_event WHERE system_id = '{mark}' AND status <> 'open'"), 20, 0.2)
	assert got, f'{mark} is not in the audit trail'
	return mark


def lose_audit(run):
	"""One event of a call that was answered is deleted."""
	where = f"system_id = '{some_event(run)}'"
	return tampered(run, 'audit_event', where, f'DELETE FROM audit_event WHERE {where}')


def double_audit(run):
	where = f"system_id = '{some_event(run)}'"
	names = [n for n, in run.checker.sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'audit_event'")]
	given = ', '.join('begin_sequence + 1000000000' if n == 'begin_sequence' else n for n in names)
	return tampered(run, 'audit_event', where, f"INSERT INTO audit_event ({', '.join(names)}) SELECT {given} FROM audit_event WHERE {where}")


def wrong_audit(run):
	"""An event says another outcome than the call had."""
	where = f"system_id = '{some_event(run)}'"
	return tampered(run, 'audit_event', where, f"UPDATE audit_event SET status = 'refused' WHERE {where}")


def change_audit(run):
	"""A record, which is the evidence, says another client."""
	where = f"payload LIKE '%{some_event(run)}%'"
	return tampered(run, 'audit_record', where, f"UPDATE audit_record SET payload = replace(payload, 'epj-a', 'epj-b') WHERE {where}")


@contextlib.contextmanager
def lose_card(run):
	"""A user's card disappears from every node."""
	user, key = login_watched(run)
	run.load.standing.append(user)
	for n in nodes(run):
		n.delete(key)
	yield
	run.load.standing.remove(user)


def login_watched(run):
	"""A user who signs in now, and the key under which the card lies."""
	user = User(run.world.user(), 'sabotaged')
	assert run.load.balancer.login(user), 'no login'
	key = card_key(run, user)
	assert any(n.get(key) for n in nodes(run)), 'the card does not lie where it should'
	return user, key


def card_key(run, user):
	"""As lib/cache/seal.c names it."""
	def mac(key, *parts):
		return hmac.new(key, b''.join(struct.pack('>Q', len(p)) + p for p in parts), 'sha256').digest()
	with open(os.path.join(run.world.folder, 'cache.keys'), encoding='ascii') as f:
		naming = mac(bytes.fromhex(f.readline().split()[1]), b'sosigw cache name')
	return mac(naming, b'card', b'region-a', user.name.encode()).hex().encode()


@contextlib.contextmanager
def resurrect_card(run):
	"""After the logout the nodes hold the card as before, and everybody has forgotten that it was revoked."""
	user, key = login_watched(run)
	kept = [(n, n.get(key)) for n in nodes(run)]
	assert run.load.balancer.logout(user), 'no logout'
	user.out_since -= 10	# as if it had been long ago
	for n, value in kept:
		if value is not None:
			n.set(key, value)
	workers = [name for server in range(run.site.servers) for name in run.site.processes(server + 1)]
	with contextlib.ExitStack() as housekeepers:
		for server in range(run.site.servers):
			housekeepers.enter_context(run.world.stopped(f's{server + 1}-housekeeper'))
		run.checker.sql('DELETE FROM revoked_card')
		for s in run.world.sandbox['servers']:
			os.unlink(os.path.join(s['state'], 'withdrawn-cards'))
		run.site.kill(*workers)
	for name in workers:
		run.site.wait_listening(name)
	time.sleep(1.5)	# Apache asks a worker that was away again after a second
	run.load.gone.append(user)
	yield
	run.load.gone.remove(user)


@contextlib.contextmanager
def hang(run):
	"""Every Apache stands still for more than a second, under load."""
	with run.site.frozen(*[f's{k}-apache' for k in range(1, run.site.servers + 1)]):
		time.sleep(2)
	yield


@contextlib.contextmanager
def refuse(run):
	"""The service is not there for a while."""
	with run.world.stopped('stub'):
		time.sleep(1)
	yield


# name, whether it is done under load (else between load and check), what, the findings it must lead to
# (the first of them no other sabotage leads to, but for "broken")
SABOTAGES = [
	('lose-audit', False, lose_audit, ('missing', 'broken')),
	('double-audit', False, double_audit, ('doubled', 'broken')),
	('wrong-audit', False, wrong_audit, ('wrong', 'broken')),
	('change-audit', False, change_audit, ('broken',)),
	('lose-card', False, lose_card, ('lost',)),
	('resurrect-card', False, resurrect_card, ('returned',)),
	('hang', True, hang, ('gap',)),
	('refuse', True, refuse, ('failed',)),
]
QUICK = ['lose-audit', 'double-audit', 'wrong-audit', 'change-audit', 'lose-card']
