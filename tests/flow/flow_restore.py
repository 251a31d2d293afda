"""The database is lost and put back from a backup of some time ago, while everything else goes on: what docs/administration.md says of it."""
import glob
import os
import subprocess

import client
from harness import until

SANDBOX_OPTIONS = ['--servers', '2']
DUMP = 'backup'


def tool(w, name, *argv):
	path = sorted(glob.glob(f'/usr/lib/postgresql/*/bin/{name}'))[-1]
	run, port = os.path.join(w.folder, 'run'), w.sandbox['databases'][0]['port']
	r = subprocess.run([path, '-h', run, '-p', str(port), '-U', 'postgres', *argv], capture_output=True, text=True, check=False, timeout=60)
	assert r.returncode == 0, f'{name}: {r.stderr}'
	return r.stdout


def keep_journals(w, hours):
	for k in (1, 2):
		path = os.path.join(w.folder, f's{k}', 'sosigw.conf')
		with open(path, encoding='utf-8') as f:
			text = f.read()
		assert 'keep_hours = 0' in text
		with open(path, 'w', encoding='utf-8') as f:
			f.write(text.replace('keep_hours = 0', f'keep_hours = {hours}'))
		w.switch('stop', f's{k}-housekeeper')
		w.switch('start', f's{k}-housekeeper')


def killed(w, name):
	"""Its journal is at its end."""
	old = w.pid(name)
	w.kill(name)

	def again():
		try:
			return w.pid(name) != old
		except (AssertionError, IndexError):
			return False
	assert until(again, 20), f'{name} was not started again'


def call(w, user):
	for server in (0, 1):
		answer = w.post_proxy(w.proxy_request(user), server=server)
		assert answer.status == 200, answer.body


def verify(w):
	return w.ctl('audit', 'verify').splitlines()[-1]


def what_a_backup_lacks_is_sent_again_and_all_goes_on(world):
	keep_journals(world, 1)
	user, leaver = world.user(), world.user()
	world.order_and_sign(user)
	world.order_and_sign(leaver)
	call(world, user)
	world.audit(least=4, user=user.name_id)
	tool(world, 'pg_dump', '-Fc', '-f', os.path.join(world.folder, 'run', DUMP), 'sosigw')

	# of this the backup knows nothing
	call(world, user)
	assert world.logout(leaver).status // 100 == 2
	for name in ('s1-proxy-1', 's2-card-2'):
		killed(world, name)
	call(world, user)
	document = world.configuration()
	document['times']['pending_card_seconds'] = 611
	world.configure_everywhere(document)
	before = world.audit(least=8, user=user.name_id)
	gone = world.audit(least=3, user=leaver.name_id)
	assert 'nothing was removed' in verify(world)

	tool(world, 'psql', '-d', 'postgres', '-c', 'DROP DATABASE sosigw WITH (FORCE)')
	tool(world, 'createdb', 'sosigw')
	call(world, user)
	tool(world, 'pg_restore', '-d', 'sosigw', os.path.join(world.folder, 'run', DUMP))
	call(world, user)

	def everything():
		return len(world.audit(least=1, user=user.name_id)) >= len(before) + 4
	assert until(everything, 30, 0.5), f'{len(world.audit(least=1, user=user.name_id))} events of {len(before) + 4}'
	ids = [row['request_id'] for row in world.audit(least=1, user=user.name_id)]
	assert len(ids) == len(set(ids)) and {row['request_id'] for row in before} <= set(ids)
	assert {row['request_id'] for row in gone} <= {row['request_id'] for row in world.audit(least=3, user=leaver.name_id)}
	assert 'nothing was removed' in verify(world)

	# the configuration is that of the backup, and takes a new revision
	assert world.configuration()['times']['pending_card_seconds'] != 611
	document['times']['pending_card_seconds'] = 612
	world.configure_everywhere(document)
	assert until(lambda: {p['revision'] for p in world.programs()} == {2}, 15, 0.5), world.programs()
	# who had logged out is not back
	for server in (0, 1):
		answer = world.post_service(client.get_valid_id_card(leaver), server=server).parse()
		assert not answer.ok
