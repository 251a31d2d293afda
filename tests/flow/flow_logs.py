"""The technical log: one line for each fault, whatever the log files go through."""
import glob
import gzip
import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import threading

import client
from harness import TOP, World, free_port_base, sandbox_down, sandbox_up, until

ROTATIONS = 8
CALLERS = 4


def rotation(top, box):
	"""The site's own file for this sandbox: other paths, the sandbox's user, and a systemctl that signals its programs."""
	user = pwd.getpwuid(os.stat(box.sandbox['servers'][0]['log']).st_uid).pw_name
	with open(os.path.join(TOP, 'scripts', 'sosigw.logrotate'), encoding='utf-8') as f:
		text = f.read()
	for old, new in (('/var/log/sosigw/*.log', box.sandbox['servers'][0]['log']), ('create 0640 sosigw adm', f'create 0640 {user}')):
		assert old in text, old
		text = text.replace(old, new)
	conf = os.path.join(top, 'logrotate.conf')
	with open(conf, 'w', encoding='utf-8') as f:
		f.write(text)
	os.chmod(conf, 0o644)
	os.makedirs(os.path.join(top, 'bin'))
	systemctl = os.path.join(top, 'bin', 'systemctl')
	pids = ' '.join(f'{box.folder}/run/s1-{name}.pid' for name in ('proxy-1', 'proxy-2', 'card-1', 'card-2', 'housekeeper'))
	with open(systemctl, 'w', encoding='utf-8') as f:
		f.write('#!/bin/sh\n[ "$*" = "kill --kill-who=main --signal=SIGUSR1 sosigw-*.service" ] || exit 1\n'
		    f'for f in {pids}; do read -r pid rest < "$f" && kill -USR1 "$pid"; done\n')
	os.chmod(systemctl, 0o755)
	return conf


def rotate(top, conf):
	env = {**os.environ, 'PATH': f'{top}/bin:/usr/sbin:/usr/bin:/sbin:/bin'}
	r = subprocess.run(['logrotate', '--force', '--state', os.path.join(top, 'state'), conf], env=env, capture_output=True,
	    text=True, check=False, timeout=60)
	assert r.returncode == 0, r.stderr


class Caller(threading.Thread):
	"""Makes calls that are refused, each of which is to have a line, until it is told to stop."""

	def __init__(self, box, stop):
		super().__init__()
		self.box, self.stop, self.ids, self.odd = box, stop, [], []

	def run(self):
		n = 0
		while not self.stop.is_set():
			n += 1
			call = self.box.post_service if n % 2 else self.box.post_proxy
			user = self.box.user()
			answer = call(client.get_valid_id_card(user) if n % 2 else self.box.proxy_request(user))
			found = re.search(rb'\[([\w-]+)\]</faultstring>', answer.body)
			if found:
				self.ids.append(found[1].decode())
			else:
				self.odd.append(answer.body)


def logged(log):
	"""How often each request stands in the log, its rotated files, and those that are compressed."""
	times = {}
	for path in glob.glob(f'{log}*'):
		with (gzip.open if path.endswith('.gz') else open)(path, 'rb') as f:
			for line in f:
				row = json.loads(line)
				if row['event'] == 'fault':
					times[row['request']] = times.get(row['request'], 0) + 1
	return times


def logrotate_loses_no_line(world):	# pylint: disable=unused-argument
	top = tempfile.mkdtemp(prefix='sosigw-logs-')
	os.chmod(top, 0o755)
	folder = os.path.join(top, 'box')
	stop = threading.Event()
	try:
		sandbox_up(folder, free_port_base(), '--log-files')
		box = World(folder)
		conf = rotation(top, box)
		log = box.sandbox['servers'][0]['log']
		callers = [Caller(box, stop) for _ in range(CALLERS)]
		for c in callers:
			c.start()
		for n in range(ROTATIONS):
			before = sum(len(c.ids) for c in callers)
			until(lambda low=before: sum(len(c.ids) for c in callers) > low + 20, 20)
			rotate(top, conf)
		stop.set()
		for c in callers:
			c.join()
		assert not any(c.odd for c in callers), next(c.odd for c in callers if c.odd)[0]
		ids = [i for c in callers for i in c.ids]
		times = until(lambda: (t := logged(log)) if len(logged(log)) >= len(ids) else None) or logged(log)
		assert len(glob.glob(f'{log}.*')) == ROTATIONS and os.path.exists(f'{log}.{ROTATIONS}.gz'), sorted(os.listdir(os.path.dirname(log)))
		lost = [i for i in ids if i not in times]
		assert not lost and len(ids) == len(set(ids)) > 20 * ROTATIONS, f'{len(lost)} of {len(ids)} lines are lost: {lost[:3]}'
		assert set(times.values()) == {1}
	finally:
		stop.set()
		sandbox_down(folder)
		shutil.rmtree(top, ignore_errors=True)
