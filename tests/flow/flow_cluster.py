"""Three servers as one: releases that work side by side, configurations that reach everybody, a database that fails over.
All under the load of the chaos test, whose checker knows every call: no card lost or returned, no call failed, the audit
trail whole and one to one."""
import contextlib
import json
import os
import subprocess
import sys
import time

import client
from harness import TOP, cases, until

sys.path.insert(0, os.path.join(TOP, 'tests', 'chaos'))
from check import KINDS, Checker	# pylint: disable=wrong-import-position
from load import FORGET_SECONDS, Ledger, Load	# pylint: disable=wrong-import-position

SANDBOX_OPTIONS = ['--servers', '3', '--standby', '--threads', '16', '--release', 'previous', '--cache-timeout', '1000']
# alternately, so that Apache, which leaves a worker that did not answer alone for a second, has found it again when the
# other of its kind goes
KINDS_OF_PROGRAMS = ('housekeeper', 'proxy-1', 'card-1', 'proxy-2', 'card-2')
LIVE_SECONDS = 2	# within this a configuration is in force everywhere
loads = {}	# the one load of all tests here


class Loaded:
	def __init__(self, world):
		self.world, self.ledger, self.phase = world, Ledger(), 0
		self.load = Load(world, self.ledger, sessions=4, readers=3, slow=2, standing=12)
		self.checker = Checker(world, self.ledger, {'static': self.load.static, 'machine': self.load.machine}, True)
		self.ledger.begin_phase(0)
		self.load.start()

	@contextlib.contextmanager
	def running(self):
		self.phase += 1
		self.ledger.begin_phase(self.phase)
		began = time.monotonic()
		self.load.gate.open()
		try:
			time.sleep(0.5)
			yield
			time.sleep(0.5)
		finally:
			assert self.load.gate.shut(), 'the load does not come to rest'
		window = (began, time.monotonic())
		time.sleep(FORGET_SECONDS + 0.1)
		self.load.sweep()
		result = self.checker.check('flow', set(), window)
		wrong = {kind: result.wrong[kind][:5] for kind in KINDS if result.wrong[kind]}
		assert not wrong, f'of {result.calls} calls: {json.dumps(wrong, indent=1)}'
		assert result.calls > 20, f'only {result.calls} calls'


def loaded(site):
	if site.folder not in loads:
		loads[site.folder] = Loaded(site)
	return loads[site.folder]


def sql(site, statement, database=None):
	"""Past the gateway; of one of the two databases, or of that in charge."""
	d = database and next(d for d in site.sandbox['databases'] if d['name'] == database)
	conninfo = f'host={d["host"]} port={d["port"]} dbname=sosigw user={site.sandbox["user"]}' if d else site.sandbox['postgresql']
	r = subprocess.run(['psql', '-X', '-At', conninfo, '-c', statement], capture_output=True, text=True, check=False, timeout=30)
	assert r.returncode == 0, r.stderr
	return r.stdout.strip()


def written(site):
	"""Formats of cards and journals that are written, over all programs."""
	return {(p['card_written'], p['journal_written']) for p in site.programs()}


def all_names():
	return [f's{server}-{kind}' for server in (1, 2, 3) for kind in KINDS_OF_PROGRAMS]


def to_release(site, name, release):
	said = site.release(name, release)
	assert not said, said


def refused(site, name, release):
	"""Why a program does not start as that release; it goes on as it was."""
	said = site.release(name, release)
	assert 'does not start' in said, f'{name} starts as {release}'
	return said


def signed_in_by(site, who, number):
	"""What the audit event of a call with the user's card, the user's so manieth, says of the card."""
	answer = site.post_proxy(site.proxy_request(who), 'lab-a')
	assert answer.status == 200, answer.body
	return site.audit(least=number, user=who.name_id, kind='proxy')[0]['card_client']


def servers_are_upgraded_one_after_another(world):
	"""From the previous release to this one, and back once on the way."""
	work = loaded(world)
	lars = world.user()
	world.order_and_sign(lars)
	assert len(world.programs()) == 15 and written(world) == {(1, 1)}, world.programs()
	with work.running():
		# two apart: the next release does not start here, and says who is in the way
		said = refused(world, 's2-card-1', 'next')
		assert 'reads card formats up to 1, this program reads 2 to 3' in said and 'use a version in between first' in said, said
		assert 'gw1 (' in said and 'sosigwctl cluster forget gw1' in said, said
		to_release(world, 's2-card-1', 'previous')
		for i, name in enumerate(all_names()):
			assert written(world) == {(1, 1)}, 'before the last program reads it'
			to_release(world, name, 'current')
			if i == 4:	# the whole first server: what it wrote since is read by the release before
				to_release(world, 's1-card-1', 'previous')
				assert signed_in_by(world, lars, 1) is None
				to_release(world, 's1-card-1', 'current')
		assert until(lambda: written(world) == {(2, 2)}, 15), world.programs()
		assert sql(world, "SELECT count(*) FROM audit_event WHERE card_client IS NOT NULL AND time < "
		    "(SELECT max(started) FROM member_program)") == '0'
	# a card of the old format is as good as before, one of the new says more
	assert signed_in_by(world, lars, 2) is None
	world.order_and_sign(lars)
	assert signed_in_by(world, lars, 3) == 'epj-a'
	formats = sql(world, "SELECT string_agg(DISTINCT payload::jsonb->>'f', ' ') FROM audit_record")
	assert formats == '1 2', formats


def once_the_new_format_is_written_the_old_release_does_not_start(world):
	assert written(world) == {(2, 2)}, 'the test before this one has failed'
	said = refused(world, 's3-card-2', 'previous')
	assert 'writes card format 2, this program reads 1 to 1' in said and 'use a newer version' in said, said
	# nor does the next, which could not read the cards of the release before; they end within a day
	said = refused(world, 's3-card-2', 'next')
	assert 'cards of format 1 may still be in use, this program reads 2 to 3' in said, said
	sql(world, "UPDATE card_format_kept SET until = now() - interval '26 hours'")
	to_release(world, 's3-card-2', 'next')
	assert until(lambda: sorted(p['card_format'] for p in world.programs())[-1] == 3, 5)
	assert written(world) == {(2, 2)}, 'it writes what the others read'
	to_release(world, 's3-card-2', 'current')


def a_server_that_is_gone_holds_the_others_up_until_it_is_forgotten(world):
	sql(world, "INSERT INTO member_program SELECT 'gw9', program, version, pid, started, now() - interval '1 hour', 1, 1, 1, 1, 1 "
	    "FROM member_program WHERE server = 'gw1'")
	assert until(lambda: written(world) == {(1, 1)}, 15), world.programs()
	told = world.ctl('cluster')
	assert 'card format 2 is not written yet: gw9 (card-1) reads 1 at most; it is away and counts for another 23 h' in told, told
	assert world.ctl('cluster', 'forget', 'gw9') == 'gw9 is forgotten\n'
	assert until(lambda: written(world) == {(2, 2)}, 15), world.programs()


# ---- the configuration

def knows_service(site, server, path):
	"""By the fault that a user without a card gets: is it the address, or the card?"""
	answer = site.post_proxy(client.proxy(client.LARS.but(name_id='nobody', name_id_format='medcom:other'), site.service(path)), server=server)
	return answer.status == 500 and answer.parse().fault_code == 'sosigw_no_valid_idcard_in_cache'


def seconds_until_known(site, path, since):
	"""Until each server knows the service, eight times in a row: both its workers do."""
	last = since
	for server in range(3):
		streak = 0
		while streak < 8:
			assert time.monotonic() - since < 20, f'server {server + 1} does not know {path}'
			if knows_service(site, server, path):
				streak += 1
				continue
			streak, last = 0, time.monotonic()
			time.sleep(0.02)
	return last - since


def with_service(document, world, path):
	model = next(s for s in document['services'] if s['id'] == 'service')
	document['services'].append({**model, 'id': f'cluster-{len(document["services"])}', 'name': 'cluster', 'url': world.service(path)})
	return document


@cases(('told by the database', True), ('found by looking', False))
def a_change_is_live_everywhere_within_two_seconds(world, notified):
	before = world.configuration()
	path = f'service?live-{notified}'
	document = with_service(json.loads(json.dumps(before)), world, path)
	with loaded(world).running():
		if notified:
			world.configure(document)
		else:	# in normal form, as it would be published, but nobody is told
			normal = world.ctl('config', 'export')
			added = json.dumps(document['services'][-1])
			sql(world, f"INSERT INTO config_revision (id, author, document) SELECT max(id) + 1, 'psql', jsonb_set($doc${normal}$doc$::jsonb, "
			    f"'{{services,-1}}', $doc${added}$doc$::jsonb, true)::text FROM config_revision")
		took = seconds_until_known(world, path, time.monotonic())
		world.configure(before)
	assert took < LIVE_SECONDS, f'{took:.1f} s'
	newest = int(sql(world, 'SELECT max(id) FROM config_revision'))
	assert until(lambda: {p['revision'] for p in world.programs()} == {newest}, 10), world.programs()


@cases(('no JSON', 'all is well', 'JSON'), ('a rule broken', '{"format": 1, "language": "xx"}', 'language'))
def a_document_that_breaks_a_rule_is_never_taken_whoever_wrote_it(world, document, problem):
	lars = world.user()
	world.order_and_sign(lars)
	before = int(sql(world, 'SELECT max(id) FROM config_revision'))
	good = world.configuration()
	sql(world, f"INSERT INTO config_revision (id, author, document) VALUES ({before + 1}, 'psql', $doc${document}$doc$); "
	    f"SELECT pg_notify('sosigw_config', '{before + 1}')")
	try:
		assert until(lambda: all(p['refused'] == before + 1 and p['revision'] == before for p in world.programs()), 15), world.programs()
		assert all(problem.lower() in p['problem'].lower() for p in world.programs()), world.programs()
		told = world.ctl('cluster')
		assert told.count(f'configuration {before + 1} is NOT USED: ') == 15, told
		log = world.ctl('config', 'log', '--most', '2').splitlines()
		assert '[NOT USED by 15: ' in log[0] and '[used by 15]' in log[1], log
		for server in range(3):
			assert not world.get_card(lars, server=server).fault
		# who starts now has the last good one too
		world.kill('s1-card-1')
		assert until(lambda: all(p['revision'] == before for p in world.programs()) and not world.get_card(lars).fault, 15)
	finally:
		world.configure(good)
	assert until(lambda: all(p['refused'] == 0 and p['revision'] == before + 2 for p in world.programs()), 15), world.programs()


# ---- the database

def the_database_fails_over_and_everybody_goes_on(world):
	before = world.configuration()
	anna = world.user()
	world.order_and_sign(anna)
	with loaded(world).running():
		events = int(sql(world, 'SELECT count(*) FROM audit_event'))
		world.database('failover')
		failed_over = time.monotonic()
		# sosigwctl finds the other, and what it publishes reaches every worker
		path = 'service?failed-over'
		world.configure(with_service(json.loads(json.dumps(before)), world, path))
		took = seconds_until_known(world, path, time.monotonic())
		assert time.monotonic() - failed_over < 20
		# what was logged out while nobody listened is known: nobody was told of this row
		sql(world, f"INSERT INTO revoked_card (card_id, expires) SELECT card_id, now() + interval '1 day' FROM audit_event "
		    f"WHERE user_id = '{anna.name_id}' AND operation = 'signIdCard'")
		sql(world, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'sosigw'")
		for server in range(3):
			for _ in range(4):	# both its workers
				assert until(lambda s=server: world.get_card(anna, server=s).fault, 6), f'server {server + 1} gives out a card that is revoked'
		# the members are seen again, all of them, and all listen
		assert until(lambda: all(p['up'] and p['seen_ago'] < 10 for p in world.programs()), 15), world.programs()
		assert until(lambda: int(sql(world, 'SELECT count(*) FROM audit_event')) > events, 15)
		world.configure(before)
	assert took < 10, f'{took:.1f} s'
	world.database('rejoin')
