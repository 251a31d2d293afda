"""What is done to the installation. A fault is a function of (site); it returns when what it broke is back, and notes
whom it killed and when, since a call under way there may fail."""
import contextlib
import fcntl
import glob
import json
import os
import random
import signal
import socket
import subprocess
import time

import client
from harness import until
from load import RECOVER_SECONDS

MEMCACHEDS = ['memcached-a', 'memcached-b']
FAKETIME = next(iter(glob.glob('/usr/lib/*/faketime/libfaketimeMT.so.1')), None)
WATCH_SECONDS = 3	# within this everybody has noticed that a memcached node is back
LIVE_SECONDS = 2	# within this a configuration is in force everywhere


class Site:
	"""The sandbox as the faults see it."""

	def __init__(self, world, ledger, gate, seed):
		self.world, self.ledger, self.gate = world, ledger, gate
		self.random = random.Random(seed)	# the load's threads have their own, or the seed would tell nothing
		self.servers = len(world.sandbox['servers'])
		self.configured = 0
		self.away = 5	# seconds that something stays away
		self.settle = 6	# seconds for what came back to be found again and repaired
		self.pause = 2	# seconds between one process and the next
		self.times = 3	# how often what is quick is done
		self.recover = RECOVER_SECONDS
		self.addresses = world.sandbox['addresses']	# none when all share one network
		self.databases = [d['name'] for d in world.sandbox['databases']]
		self.upgraded = False	# every program is of the next release, and there is no way back
		self.disk = None	# the database's, when it has one of its own

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

	@contextlib.contextmanager
	def cut(self, one, *others):
		"""Packets between it and the others vanish without a word, both ways."""
		ends = [pair for other in others for pair in ((one, other), (other, one))]
		rules = [f'pref 50 from {self.addresses[a]} to {self.addresses[b]} blackhole' for a, b in ends]
		ip(*[f'rule add {r}' for r in rules])
		try:
			yield
		finally:
			ip(*[f'rule del {r}' for r in rules])

	def may(self, needs):
		"""Why a fault that needs these cannot be done here; None when it can."""
		return next((why for need, why in needs.items() if not getattr(self, need)), None)

	@property
	def standby(self):
		return len(self.databases) > 1

	@property
	def release(self):
		"""Whether there is a next one to go to."""
		return not self.upgraded and os.path.isdir(os.path.join(self.world.folder, 'app', 'next'))

	@property
	def clock(self):
		built = os.path.basename(self.world.sandbox['build'])	# sanitizers want to be preloaded first
		return bool(self.addresses and FAKETIME) and built not in ('address', 'undefined', 'thread')


def ip(*batch):
	r = subprocess.run(['ip', '-batch', '-'], input='\n'.join(batch) + '\n', text=True, capture_output=True, check=False)
	assert r.returncode == 0, f'ip: {r.stderr}'


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
	time.sleep(1 + site.pause)


def wait_whole(site):
	"""As the administration guide says: until every node has its copies, and the next one may go."""
	if site.settle < WATCH_SECONDS:		# the short form: no node goes behind this one
		time.sleep(site.settle)
		return
	time.sleep(WATCH_SECONDS)
	site.world.ctl('cache', '--wait', '50')


def freeze_memcached(site):
	"""It answers no more; cards are logged out meanwhile, and it comes back with what it held."""
	with site.frozen(site.random.choice(MEMCACHEDS)):
		time.sleep(site.away)
	wait_whole(site)


def cut_memcached(site):
	"""Nobody reaches it, and it comes back with what it held."""
	with site.cut(site.random.choice(MEMCACHEDS), *(f's{k}' for k in range(1, site.servers + 1))):
		time.sleep(site.away)
	wait_whole(site)


def cut_memcached_from_one(site):
	"""One server does not reach it, the others do."""
	with site.cut(site.random.choice(MEMCACHEDS), f's{site.any_server()}'):
		time.sleep(site.away)
	wait_whole(site)


def cut_database_from_one(site):
	server = f's{site.any_server()}'
	with site.cut(server, *site.databases):
		time.sleep(2 * site.away)
	time.sleep(site.settle)


def cut_server(site):
	"""Its clients reach it; it reaches nothing: neither cards, database, STS nor services."""
	server = site.any_server()
	with site.ledger.cut_off(server - 1), site.cut(f's{server}', *MEMCACHEDS, *site.databases, 'sts', 'stub'):
		time.sleep(site.away)
	time.sleep(site.recover)


def kill_memcached(site):
	"""It comes back empty."""
	site.kill(site.random.choice(MEMCACHEDS))
	wait_whole(site)


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
		wait_whole(site)


def stop_postgresql(site):
	with site.world.stopped('postgresql'):
		time.sleep(2 * site.away)
	time.sleep(site.pause)


def freeze_postgresql(site):
	"""Connections stand and nobody answers on them."""
	with site.frozen('postgresql'):
		time.sleep(2 * site.away)
	time.sleep(site.pause)


def fail_over(site):
	"""The database dies and its standby takes over; then back again."""
	for _ in range(2):
		site.world.database('failover')
		time.sleep(site.away)
		site.world.database('rejoin')


def fill_database_disk(site):
	"""Not an octet is left for the database, neither for tables nor for its log, and then there is room again."""
	ballast = os.path.join(site.disk, 'ballast')
	with open(ballast, 'wb', buffering=0) as f:
		for size in (1 << 20, 4096):
			with contextlib.suppress(OSError):
				while True:
					f.write(b'x' * size)
	try:
		time.sleep(2 * site.away)
		assert not writes(site), 'the disk of the database is not full'
	finally:
		os.unlink(ballast)
	assert until(lambda: writes(site), 20, 0.5), 'the database does not recover from a full disk'
	time.sleep(1)


def writes(site):
	"""Whether the database takes something large."""
	r = subprocess.run(['psql', '-X', '-q', site.world.sandbox['postgresql'], '-c',
	    "CREATE UNLOGGED TABLE chaos_full AS SELECT repeat('x', 1000) FROM generate_series(1, 2000); DROP TABLE chaos_full"],
	    capture_output=True, check=False, timeout=60)
	return r.returncode == 0


def restart(site, names):
	"""One after another, as an administrator does."""
	for name in names:
		pid = site.pid(name)
		os.kill(pid, signal.SIGTERM)
		site.wait_new(name, pid)
		if not name.endswith('housekeeper'):
			site.wait_listening(name)
			time.sleep(site.pause / 4)


def rolling_restart(site):
	for server in range(1, site.servers + 1):
		restart(site, site.processes(server))


def rolling_restart_of_one(site):
	restart(site, site.processes(site.any_server()))


def upgrade(site, names, release='next'):
	for name in names:
		said = site.world.release(name, release)
		assert not said, said
		time.sleep(site.pause / 4)


PROGRAMS = ('housekeeper', 'proxy-1', 'card-1', 'proxy-2', 'card-2')


def upgrade_and_back(site):
	"""One server goes to the next release, and back, since somebody does not like it."""
	names = site.processes(site.any_server(), PROGRAMS)
	upgrade(site, names)
	time.sleep(site.pause)
	upgrade(site, names, 'current')


def rolling_upgrade(site):
	for server in range(1, site.servers + 1):
		upgrade(site, site.processes(server, PROGRAMS))
	site.upgraded = True
	site.world.sandbox['ctl'] = os.path.join(site.world.folder, 'app', 'next', 'sosigwctl')
	time.sleep(site.settle)


def clock_off(site, seconds):
	"""Our programs on one server see another time than everybody else."""
	names = site.processes(site.any_server(), PROGRAMS)

	# of the gateway's programs alone: not of what starts them, and waiting goes by a clock that nobody sets
	wrapped = ['/usr/bin/env', f'LD_PRELOAD={FAKETIME}', f'FAKETIME={seconds:+d}s', 'FAKETIME_DONT_FAKE_MONOTONIC=1']

	def wrong(p):
		p['argv'] = wrapped + p['argv']

	def right(p):
		p['argv'] = p['argv'][len(wrapped):]

	for change in (wrong, right):
		change_table(site, names, change)
		supervise(site)
		time.sleep(0.3)
		restart(site, names)
		time.sleep(site.away if change is wrong else 1)


def clock_ahead(site):
	clock_off(site, 30)


def clock_behind(site):
	clock_off(site, -30)


def rotate_logs(site):
	"""As logrotate does it with `create`: another name, a new file, then SIGUSR1 to those who write."""
	for _ in range(site.times):
		for server in range(1, site.servers + 1):
			log = site.world.sandbox['servers'][server - 1]['log']
			owner = os.stat(log)
			os.rename(log, f'{log}.{time.time_ns()}')
			os.close(os.open(log, os.O_WRONLY | os.O_CREAT, 0o640))
			os.chown(log, owner.st_uid, owner.st_gid)
			for name in site.processes(server, PROGRAMS):
				os.kill(site.pid(name), signal.SIGUSR1)
		time.sleep(site.pause / 2)


def change_configuration(site):
	"""A service is added, three times: how long until every server takes calls to it?"""
	before = site.world.configuration()
	for _ in range(site.times):
		site.configured += 1
		path = f'service?chaos{site.configured}'
		assert not knows_service(site, 0, site.world.service(path)), f'{path} is known before it was configured'
		document = json.loads(json.dumps(before))
		model = next(s for s in document['services'] if s['id'] == 'service')
		document['services'].append({**model, 'id': f'chaos-{site.configured}', 'name': 'chaos', 'url': site.world.service(path)})
		site.world.configure(document)
		took = live_everywhere(site, site.world.service(path))
		site.ledger.note(f'{"LATE: " if took > LIVE_SECONDS else ""}a configuration was live everywhere {took:.1f} s after it was published')
		time.sleep(site.pause / 2)
	site.world.configure(before)
	time.sleep(site.pause / 2)


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
	change_table(site, names, lambda p: p.update(wanted=wanted))


def change_table(site, names, change):
	path = os.path.join(site.world.folder, 'processes.json')
	with open(os.path.join(site.world.folder, 'processes.lock'), 'a', encoding='ascii') as lock:
		fcntl.flock(lock, fcntl.LOCK_EX)
		with open(path, encoding='utf-8') as f:
			table = json.load(f)
		for p in table:
			if p['name'] in names:
				change(p)
		owner = os.stat(path)
		with open(path + '.new', 'w', encoding='utf-8') as f:
			json.dump(table, f, indent=1)
		os.chown(path + '.new', owner.st_uid, owner.st_gid)
		os.replace(path + '.new', path)


def supervise(site):
	os.kill(site.pid('supervisor'), signal.SIGHUP)


# what a fault may need, and what to say when it is not there
NETWORKS = {'addresses': 'it takes a network namespace for each server'}
STANDBY = {'standby': 'it takes a sandbox with a standby'}
RELEASES = {'release': 'it takes a next release to go to (make formats)'}
DISK = {'disk': 'it takes a small disk for the database'}
CLOCK = {'clock': 'it takes libfaketime, a build without sanitizers, and a /dev/shm of our own for what that leaves behind'}
# name, what is done, what may happen: kinds of findings, or how first attempts outside a killed process may fail, as they
# do while nobody listens there; what it needs
NOBODY = {'no connection'}
FAULTS = [
	('nothing', nothing, set(), {}),
	('proxy worker killed', kill_proxy_worker, set(), {}),
	('card worker killed', kill_card_worker, set(), {}),
	('housekeeper killed', kill_housekeeper, set(), {}),
	('Apache killed', kill_apache, NOBODY, {}),
	('memcached stopped, let go', freeze_memcached, set(), {}),
	('memcached killed, empty', kill_memcached, set(), {}),
	('memcached cut off', cut_memcached, set(), NETWORKS),
	('memcached cut off from one server', cut_memcached_from_one, set(), NETWORKS),
	('old content comes back alone', old_content_alone, {'lost', 'gap'}, {}),
	('memcacheds restarted in turn', restart_memcached_in_turn, set(), {}),
	('PostgreSQL stopped', stop_postgresql, set(), {}),
	('PostgreSQL frozen', freeze_postgresql, set(), {}),
	('PostgreSQL cut off from one server', cut_database_from_one, set(), NETWORKS),
	('PostgreSQL failed over', fail_over, set(), STANDBY),
	('PostgreSQL\'s disk full', fill_database_disk, set(), DISK),
	('workers restarted in turn', rolling_restart, set(), {}),
	('one server\'s workers restarted', rolling_restart_of_one, set(), {}),
	('configuration changes', change_configuration, set(), {}),
	('log files rotated', rotate_logs, set(), {}),
	('a clock 30 s ahead', clock_ahead, set(), CLOCK),
	('a clock 30 s behind', clock_behind, set(), CLOCK),
	('a server cut off from everything', cut_server, set(), NETWORKS),
	('a server lost', lose_server, NOBODY, {}),
	('a server upgraded and back', upgrade_and_back, set(), RELEASES),
	('rolling upgrade', rolling_upgrade, set(), RELEASES),
]
# the short form (of what has a standby or two releases it is tests/flow/flow_cluster.py): faults that may follow one another without a look at every card in between
SHORT = [
	['proxy worker killed', 'card worker killed', 'housekeeper killed', 'Apache killed', 'log files rotated', 'a server lost'],
	['memcached stopped, let go', 'configuration changes'],
	['memcached killed, empty'],
	['memcached cut off'],
	['memcached cut off from one server', 'PostgreSQL cut off from one server'],
	['PostgreSQL stopped', 'PostgreSQL\'s disk full', 'one server\'s workers restarted', 'a clock 30 s ahead'],
	['a server cut off from everything'],
]
SHORT_ALONE = {'one server\'s workers restarted'}	# the long form has more than that
