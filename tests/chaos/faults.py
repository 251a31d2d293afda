"""What is done to the installation. A fault is a function of (site); it returns when what it broke is back, and notes
whom it killed and when, since a call under way there may fail."""
import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import time

import client
from harness import until

LIVE_SECONDS = 2	# within this a configuration is in force everywhere


class Site:
	"""The sandbox as the faults see it."""

	def __init__(self, world, ledger, gate, seed):
		self.world, self.ledger, self.gate = world, ledger, gate
		self.random = random.Random(seed)	# the load's threads have their own, or the seed would tell nothing
		self.servers = len(world.sandbox['servers'])
		self.configured = 0
		self.away = 6	# seconds that something stays away
		self.settle = 6	# seconds for what came back to be found again and repaired
		self.pause = 2	# seconds between one process and the next

	def pid(self, name):
		return self.world.pid(name)

	def server_of(self, name):
		return int(name[1]) - 1 if name[0] == 's' and name[1].isdigit() else None

	def kill(self, *names, whole_group=False):
		"""SIGKILL; returns when the supervisor has started them again."""
		pids = {name: self.pid(name) for name in names}
		for name, pid in pids.items():
			(os.killpg if whole_group else os.kill)(pid, signal.SIGKILL)
			self.ledger.note_killed(self.server_of(name), name)
		for name, pid in pids.items():
			self.wait_new(name, pid)

	def wait_new(self, name, pid, seconds=20):
		def there():
			try:
				return self.pid(name) != pid
			except (AssertionError, ValueError, IndexError):
				return False
		assert until(there, seconds), f'{name} was not started again'

	def wait_listening(self, worker):
		path = os.path.join(self.world.folder, worker[:2], 'run', f'{worker[3:]}.sock')

		def listens():
			with socket.socket(socket.AF_UNIX) as s:
				return s.connect_ex(path) == 0
		assert until(listens, 20), f'{worker} does not listen'

	def any_server(self):
		return self.random.randint(1, self.servers)

	@contextlib.contextmanager
	def frozen(self, *names):
		"""SIGSTOP for the processes and their children."""
		pids = [p for name in names for p in family(self.pid(name))]
		for p in pids:
			os.kill(p, signal.SIGSTOP)
		try:
			yield
		finally:
			for p in pids:
				with contextlib.suppress(ProcessLookupError):
					os.kill(p, signal.SIGCONT)

	def processes(self, server, kinds=('proxy-1', 'proxy-2', 'card-1', 'card-2')):
		return [f's{server}-{k}' for k in kinds]


def family(pid):
	"""The process and all below it."""
	out, todo = [], [pid]
	while todo:
		p = todo.pop()
		out.append(p)
		with contextlib.suppress(OSError), open(f'/proc/{p}/task/{p}/children', encoding='ascii') as f:
			todo += [int(x) for x in f.read().split()]
	return out


def nothing(site):
	time.sleep(site.away)


def kill_proxy_worker(site):
	for n in (1, 2):
		site.kill(f's{site.any_server()}-proxy-{n}')
		time.sleep(site.pause)


def kill_card_worker(site):
	# with an STS that takes its time, so that signatures are under way
	with site.world.sts('slow', ms=500):
		for n in (1, 2, 1, 2):
			time.sleep(site.pause)
			site.kill(f's{site.any_server()}-card-{n}')


def kill_housekeeper(site):
	for _ in range(2):
		site.kill(f's{site.any_server()}-housekeeper')
		time.sleep(site.pause)


def kill_apache(site):
	# with its children, as systemd would before starting it again
	site.kill(f's{site.any_server()}-apache', whole_group=True)
	time.sleep(3)


def freeze_memcached(site):
	"""It answers no more, and comes back with what it held."""
	with site.frozen(site.random.choice(['memcached-a', 'memcached-b'])):
		time.sleep(site.away)
	time.sleep(site.settle)


def kill_memcached(site):
	"""It comes back empty."""
	site.kill(site.random.choice(['memcached-a', 'memcached-b']))
	time.sleep(site.settle)


def old_content_alone(site):
	"""A node that stood still comes back with what it held before the logouts meanwhile, and the other one, which knew of
	them, is empty: two faults at once, so cards of that time are lost, but none that was logged out may come back."""
	zones = site.random.sample('ab', 2)
	with site.frozen(f'memcached-{zones[0]}'):
		time.sleep(site.away)
		site.gate.shut()
		site.kill(f'memcached-{zones[1]}')
		time.sleep(1)
	time.sleep(6)	# a node that is down is looked for every 5 s at least
	site.gate.open()
	time.sleep(site.settle)


def restart_memcached_in_turn(site):
	for zone in site.random.sample('ab', 2):
		with site.world.stopped(f'memcached-{zone}'):
			time.sleep(1)
		time.sleep(2 * site.settle)


def stop_postgresql(site):
	with site.world.stopped('postgresql'):
		time.sleep(20)
	time.sleep(2)


def freeze_postgresql(site):
	"""Connections stand and nobody answers on them."""
	with site.frozen('postgresql'):
		time.sleep(10)
	time.sleep(2)


def rolling_restart(site):
	for server in range(1, site.servers + 1):
		for name in site.processes(server):
			pid = site.pid(name)
			os.kill(pid, signal.SIGTERM)
			site.wait_new(name, pid)
			site.wait_listening(name)
			time.sleep(0.5)


def change_configuration(site):
	"""A service is added, three times: how long until every server takes calls to it?"""
	before = site.world.configuration()
	for _ in range(3):
		site.configured += 1
		path = f'service?chaos{site.configured}'
		assert not knows_service(site, 0, site.world.service(path)), f'{path} is known before it was configured'
		document = json.loads(json.dumps(before))
		model = next(s for s in document['services'] if s['id'] == 'service')
		document['services'].append({**model, 'id': f'chaos-{site.configured}', 'name': 'chaos', 'url': site.world.service(path)})
		site.world.configure(document)
		took = live_everywhere(site, site.world.service(path))
		site.ledger.note(f'{"LATE: " if took > LIVE_SECONDS else ""}a configuration was live everywhere {took:.1f} s after it was published')
		time.sleep(1)
	site.world.configure(before)
	time.sleep(1)


def knows_service(site, server, url):
	"""Told by the fault that a user without a card gets: is it the address, or the card?"""
	nobody = client.LARS.but(name_id='nobody', name_id_format='medcom:other')
	answer = site.world.post_proxy(client.proxy(nobody, url), server=server)
	return answer.status == 500 and answer.parse().fault_code == 'sosigw_no_valid_idcard_in_cache'


def live_everywhere(site, url):
	"""Seconds until each server knows url, six times in a row; 5 when that never comes."""
	began = last = time.monotonic()
	for server in range(site.servers):
		streak = 0
		while streak < 6:
			if time.monotonic() - began > 5:
				return 5
			known = knows_service(site, server, url)
			streak = streak + 1 if known else 0
			if not known:
				last = time.monotonic()
				time.sleep(0.05)
	return last - began


def lose_server(site):
	"""All of one server at once, as when its power goes; then it comes back."""
	server = site.any_server()
	names = site.processes(server, ('apache', 'proxy-1', 'proxy-2', 'card-1', 'card-2', 'housekeeper'))
	pids = {name: site.pid(name) for name in names}
	want(site, names, False)
	for name in names:
		with contextlib.suppress(ProcessLookupError):
			os.killpg(pids[name], signal.SIGKILL)
		site.ledger.note_killed(server - 1, name)
	supervise(site)
	time.sleep(site.away)
	want(site, names, True)
	supervise(site)
	for name in names:
		site.wait_new(name, pids[name])
	time.sleep(site.pause)


def want(site, names, wanted):
	"""Tells the sandbox's list of processes, not yet the supervisor, which to run."""
	path = os.path.join(site.world.folder, 'processes.json')
	with open(os.path.join(site.world.folder, 'processes.lock'), 'a', encoding='ascii') as lock:
		fcntl.flock(lock, fcntl.LOCK_EX)
		with open(path, encoding='utf-8') as f:
			table = json.load(f)
		for p in table:
			if p['name'] in names:
				p['wanted'] = wanted
		owner = os.stat(path)
		with open(path + '.new', 'w', encoding='utf-8') as f:
			json.dump(table, f, indent=1)
		os.chown(path + '.new', owner.st_uid, owner.st_gid)
		os.replace(path + '.new', path)


def supervise(site):
	os.kill(site.pid('supervisor'), signal.SIGHUP)


# name, what is done, what may happen: kinds of findings, or how first attempts outside a killed process may fail, as they
# do while nobody listens there
NOBODY = {'no connection'}
FAULTS = [
	('nothing', nothing, set()),
	('proxy worker killed', kill_proxy_worker, set()),
	('card worker killed', kill_card_worker, set()),
	('housekeeper killed', kill_housekeeper, set()),
	('Apache killed', kill_apache, NOBODY),
	('memcached stopped, let go', freeze_memcached, set()),
	('memcached killed, empty', kill_memcached, set()),
	('old content comes back alone', old_content_alone, {'lost', 'gap'}),
	('memcacheds restarted in turn', restart_memcached_in_turn, set()),
	('PostgreSQL away 20 s', stop_postgresql, set()),
	('PostgreSQL frozen 10 s', freeze_postgresql, set()),
	('workers restarted in turn', rolling_restart, set()),
	('configuration changes', change_configuration, set()),
	('a server lost', lose_server, NOBODY),
]
SHORT = ['proxy worker killed', 'memcached stopped, let go', 'a server lost']
