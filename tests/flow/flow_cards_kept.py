"""No card is lost and none that was logged out comes back: memcached nodes restarted, added and taken away, sealing keys rotated,
the database frozen or away. What takes many threads and every fault at once is for tests/chaos."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import client
from harness import cases, port_is_free, until

WORKERS = ('proxy-1', 'proxy-2', 'card-1', 'card-2')
NO_CARD = 'sosigw_no_valid_idcard_in_cache'


def restart(w, *names):
	"""One after another, as docs/administration.md says."""
	for name in names:
		pid = w.pid(name)
		os.kill(pid, signal.SIGTERM)
		assert until(lambda name=name, pid=pid: started_again(w, name, pid), 30), f'{name} was not started again'


def started_again(w, name, old):
	try:
		if w.pid(name) == old:
			return False
	except (AssertionError, ValueError, IndexError):
		return False
	if name == 'housekeeper':
		return True
	with socket.socket(socket.AF_UNIX) as s:
		return s.connect_ex(os.path.join(w.folder, 's1', 'run', f'{name}.sock')) == 0


def family(pid):
	with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as f:
		return [pid] + [p for child in f.read().split() for p in family(int(child))]


@contextlib.contextmanager
def frozen(w, name):
	pids = family(w.pid(name))
	for pid in pids:
		os.kill(pid, signal.SIGSTOP)
	try:
		yield
	finally:
		for pid in pids:
			with contextlib.suppress(ProcessLookupError):
				os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def edited(path, change):
	"""A file with other content, in place, so that it keeps its owner."""
	with open(path, encoding='utf-8') as f:
		before = f.read()
	with open(path, 'w', encoding='utf-8') as f:
		f.write(change(before))
	try:
		yield
	finally:
		with open(path, 'w', encoding='utf-8') as f:
			f.write(before)


@contextlib.contextmanager
def load(w, users):
	"""Calls for these users all the while; none may fail."""
	stop, failed, calls = threading.Event(), [], []

	def work(mine):
		while not stop.is_set():
			for user in mine:
				answer = w.get_card(user)
				calls.append(user.name_id)
				if answer.fault:
					failed.append(f'{user.name_id}: {answer.string}')

	threads = [threading.Thread(target=work, args=(users[i::2],)) for i in range(2)]
	for t in threads:
		t.start()
	try:
		yield
	finally:
		stop.set()
		for t in threads:
			t.join(60)
	assert calls and not failed, f'{len(failed)} of {len(calls)} calls failed: {failed[:3]}'


def signed_in(w, many):
	users = [w.user() for _ in range(many)]
	for u in users:
		w.order_and_sign(u)
	return users


def assert_all_have_cards(w, users):
	lost = [u.name_id for u in users if w.get_card(u).fault]
	assert not lost, f'{len(lost)} of {len(users)} cards are lost'


def whole(w):
	w.ctl('cache', '--wait', '50')


def nodes(w):
	"""What `sosigwctl cache` says, whatever its exit code."""
	r = subprocess.run([w.sandbox['ctl'], '--config', w.sandbox['servers'][0]['conf'], '--json', 'cache'], capture_output=True,
	    text=True, check=False, timeout=60)
	return r.returncode, json.loads(r.stdout)


def cards_that_nobody_reads_outlive_every_memcached_restarted_in_turn(world):
	users = signed_in(world, 8)
	whole(world)
	for zone in 'ab':
		with world.stopped(f'memcached-{zone}'):
			code, states = nodes(world)
			assert code == 1 and [n['state'] for n in states if n['zone'] == zone] == ['away'], states
		code, states = nodes(world)
		assert code == 1 and all(n['state'] != 'restored' for n in states if n['zone'] == zone), states
		whole(world)
	code, states = nodes(world)
	assert code == 0 and all(n['values'] >= len(users) and n['by'] for n in states), states
	assert_all_have_cards(world, users)


def keys_are_rotated_under_load_and_no_card_is_lost(world):
	path = os.path.join(world.folder, 'cache.keys')
	new = world.ctl('keys', 'new')
	with open(path, encoding='ascii') as f:
		old = f.read()

	def install(text):
		with open(path, 'w', encoding='ascii') as f:
			f.write(text)
		restart(world, *WORKERS, 'housekeeper')

	before = signed_in(world, 4)
	with load(world, before):
		install(old + new)
		between = signed_in(world, 4)
		install(new + old)
	after = signed_in(world, 4)
	assert_all_have_cards(world, before + between + after)
	assert world.logout(between[0]).status == 202
	install(new)	# as after 25 hours: what was sealed with the old one has ended
	assert_all_have_cards(world, after)
	assert world.get_card(between[0]).fault_code == NO_CARD


def a_memcached_is_added_and_taken_away_and_no_card_is_lost(world):
	conf = world.sandbox['servers'][0]['conf']
	port = next(p for p in range(world.sandbox['port_base'] + 30, world.sandbox['port_base'] + 40) if port_is_free(p))
	with open(conf, encoding='utf-8') as f:
		host = re.search(r'^nodes = (\S+):\d+@', f.read(), re.M)[1]
	extra = f'{host}:{port}@a'
	with subprocess.Popen(['memcached', '-u', 'nobody', '-l', host, '-p', str(port), '-U', '0', '-m', '64']) as third:
		try:
			quiet, busy = signed_in(world, 8), signed_in(world, 2)
			whole(world)
			with load(world, busy):
				for setting in (('moving', extra), ('nodes', extra), ('moving', extra)):
					with edited(conf, lambda text, setting=setting: with_node(text, *setting)):
						restart(world, *WORKERS, 'housekeeper')
						whole(world)
					if setting[0] == 'nodes':
						assert third_has_cards(host, port), 'nothing was put on the new node'
				restart(world, *WORKERS, 'housekeeper')
			third.terminate()
			third.wait(10)
			assert_all_have_cards(world, quiet + busy)
		finally:
			third.kill()
			restart(world, *WORKERS, 'housekeeper')


def with_node(text, setting, node):
	if setting == 'nodes':
		return re.sub(r'^(nodes = .*)$', rf'\1 {node}', text, flags=re.M)
	return re.sub(r'^(nodes = .*)$', rf'\1\nmoving = {node}', text, flags=re.M)


def third_has_cards(host, port):
	with socket.create_connection((host, port), 5) as s:
		s.sendall(b'stats\r\n')
		text = b''
		while not text.endswith(b'END\r\n'):
			text += s.recv(65536)
	return int(re.search(rb'STAT curr_items (\d+)', text)[1]) > 1


def a_frozen_database_delays_no_login_and_few_logouts_and_only_a_little(world):
	users = signed_in(world, 12)
	with frozen(world, 'postgresql'):
		began = time.monotonic()
		for u in users:
			answer = world.logout(u)
			assert answer.status == 202, answer.body
		logouts = time.monotonic() - began
		began = time.monotonic()
		newcomers = signed_in(world, 4)
		logins = time.monotonic() - began
		for u in users:
			assert world.get_card(u).fault_code == NO_CARD
		assert_all_have_cards(world, newcomers)
	# each of two card workers waits once for an answer and at times for a connection; 3 s and more for each logout it was
	assert logouts < 9, f'{len(users)} logouts took {logouts:.1f} s'
	assert logins < 9, f'4 logins took {logins:.1f} s'
	assert until(lambda: sql(world, 'SELECT count(*) FROM revoked_card WHERE expires > now()') >= len(users), 30), \
	    'the database was not told afterwards'


def sql(w, statement):
	r = subprocess.run(['psql', '-X', '-At', w.sandbox['postgresql'], '-c', statement], capture_output=True, text=True, check=True, timeout=30)
	return int(r.stdout)


@cases(('with the database', False), ('with the database away', True))
def a_logged_out_card_that_comes_back_alone_is_refused_by_workers_started_since(world, database_away):
	user = signed_in(world, 1)[0]
	whole(world)
	with contextlib.ExitStack() as away:
		with frozen(world, 'memcached-a'):
			assert until(lambda: nodes(world)[1][0]['state'] == 'away', 20)
			assert world.logout(user).status == 202	# certain, by the database
			if database_away:
				away.enter_context(world.stopped('postgresql'))
			restart(world, *WORKERS)
			with world.stopped('memcached-b'):
				pass	# it knew of the logout, and has forgotten
		whole(world)
		for _ in range(8):
			answer = world.get_card(user)
			assert answer.fault_code == NO_CARD, answer.fault_code
		for _ in range(4):	# which orders a new one
			with world.nothing_forwarded():
				assert world.post_proxy(world.proxy_request(user)).status == 500
