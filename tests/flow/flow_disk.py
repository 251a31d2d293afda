"""The disk of the journal is full: nothing goes on that could not be audited, and all goes on when there is room again."""
import contextlib
import os
import subprocess

import client
from harness import until
from hostile import check_fault, signed_in

WORKERS = ('s1-proxy-1', 's1-proxy-2', 's1-card-1', 's1-card-2')
SIZE = 4 << 20
BALLAST = 'ballast'


def switch_all(w, command):
	for name in WORKERS:
		w.switch(command, name)


def mount(argv):
	return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def small_disk(w):
	"""The first server's workers begin with journals on a disk of their own; its folder, or None where none can be mounted."""
	folder = os.path.join(w.folder, 's1', 'journal')
	owner = os.stat(folder)
	options = f'size={SIZE},mode=0700,uid={owner.st_uid},gid={owner.st_gid}'
	switch_all(w, 'stop')
	mounted = mount(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', folder])
	switch_all(w, 'start')
	try:
		yield folder if mounted else None
	finally:
		switch_all(w, 'stop')
		if mounted:
			until(lambda: not journals(folder), 15, 0.2)	# the housekeeper removes what has arrived
			left = journals(folder)
			mount(['umount', '-l', folder])
		switch_all(w, 'start')
	assert not mounted or not left, f'not shipped: {left}'


def journals(folder):
	return [name for name in os.listdir(folder) if name != BALLAST]


def fill(folder, left):
	"""Leaves so many bytes free."""
	path = os.path.join(folder, BALLAST)
	free = os.statvfs(folder)
	with open(path, 'ab') as f:
		with contextlib.suppress(OSError):
			f.write(bytes(max(0, free.f_bavail * free.f_frsize - left)))
			f.flush()
	return path


def nothing_passes_a_full_disk(world):
	lars, stranger = signed_in(world), world.user()
	message, asked = client.proxy(lars, world.service('sink')), client.get_valid_id_card(lars)
	with small_disk(world) as folder:
		if folder is None:
			print('no small disk here')
			return
		def are(status):
			"""Both workers of both kinds; each looks at the disk once a second, and a page that is begun takes some records still."""
			return until(lambda: all(answer.status == status for _ in range(4) for answer in (world.post_proxy(message), world.post_service(asked))))

		assert are(200)
		for left in (SIZE // 50, 0):	# first nearly full, by stop_percent, then so that no byte can be written
			ballast = fill(folder, left)
			assert are(500), f'{left} bytes left'
			with world.nothing_forwarded():
				for _ in range(20):
					assert check_fault(world.post_proxy(message))[0] == 'AUDIT'
				for request in (asked, client.order_card(stranger), client.logout(lars)):
					assert check_fault(world.post_service(request))[0] == 'AUDIT'
			os.unlink(ballast)
			assert are(200), 'it does not go on, or the logout that was refused was done'
		before = world.stub_count()
		assert all(world.post_proxy(message).status == 200 for _ in range(20)) and world.stub_count() == before + 20
	assert len(world.audit(least=22, user=lars.name_id, kind='proxy', status='ok')) >= 22
