"""What `make install` puts on a host fits together: units, Apache's files, the sample of the static file, and the guide."""
import configparser
import glob
import os
import re
import subprocess
import tempfile

from harness import TOP

MODULES = '/usr/lib/apache2/modules'


def installed(w, folder):
	build = os.path.basename(w.sandbox['build'])
	subprocess.run(['make', '-s', '-C', TOP, 'install', f'DESTDIR={folder}', f'SAN={"" if build == "plain" else build}'], check=True,
	    capture_output=True, timeout=120)


def settings(path):
	"""Of a unit; what stands there more than once, last."""
	with open(path, encoding='utf-8') as f:
		return dict(re.findall(r'^(\w+)=(.*)$', f.read(), re.M))


def read(*path):
	with open(os.path.join(*path), encoding='utf-8') as f:
		return f.read()


def what_is_installed_fits_together(world):
	with tempfile.TemporaryDirectory(prefix='sosigw-install-') as root:
		installed(world, root)
		units = {os.path.basename(p): settings(p) for p in glob.glob(f'{root}/usr/lib/systemd/system/*.service')}
		assert sorted(units) == ['sosigw-card@.service', 'sosigw-housekeeper.service', 'sosigw-proxy@.service'], units
		apache = read(root, 'etc/apache2/conf-available/sosigw.conf')
		urls = read(root, 'etc/apache2/conf-available/sosigw-urls.conf')

		for unit in units.values():
			program = unit['ExecStart'].split()[0]
			assert os.access(root + program, os.X_OK), program
			# what kept it from starting may be mended later: it is tried for ever
			assert unit['Restart'] == 'always' and unit['StartLimitIntervalSec'] == '0', unit

		# the folders of the sample are there, and writable
		sample = configparser.ConfigParser(inline_comment_prefixes=(';',))
		sample.read(f'{root}/usr/share/doc/sosigw/examples/sosigw.conf')
		for unit in units.values():
			folders = ['/var/lib/' + d for d in unit['StateDirectory'].split()]
			assert {sample['server']['state'], sample['audit']['journal']} <= set(folders), folders
			assert int(unit['TimeoutStopSec']) * 1000 > int(sample['worker']['drain_ms'])

		# Apache knows the sockets of the first two of each
		for kind in ('proxy', 'card'):
			listen = re.search(r'--listen (\S+)', units[f'sosigw-{kind}@.service']['ExecStart'])[1]
			for i in '12':
				assert f'unix:{listen.replace("/run/sosigw", "${SOSIGW_RUN}").replace("%i", i)}|' in urls, listen
		defaults = dict(re.findall(r'^\s*Define (\w+) (\S+)', apache, re.M))
		assert os.path.isdir(root + defaults['SOSIGW_CONF'])
		assert os.path.isfile(root + defaults['SOSIGW_HTDOCS'] + '/signer.js')
		assert not os.path.exists(root + defaults['SOSIGW_HTDOCS'] + '/signer-src'), 'sources are not served'
		modules = re.search(r'a2enmod ((?:.|\n)*?)\n#     a2disconf', apache)[1].replace('\\', ' ').replace('#', ' ').split()
		missing = [m for m in modules if not os.path.exists(f'{MODULES}/mod_{m}.so')]
		assert not missing, f'a2enmod would not know {missing}'

		# what the guide says to copy, edit and run is there; what a site writes is not
		guide = read(root, 'usr/share/doc/sosigw/administration.md')
		for path in ('scripts/install-deps', 'docs/examples/sosigw.conf', 'docs/examples/configuration.json'):
			assert path in guide and os.path.exists(os.path.join(TOP, path)), path
		for path in ('usr/bin/sosigwctl', 'usr/share/man/man1/sosigwctl.1', 'etc/logrotate.d/sosigw'):
			assert os.path.exists(os.path.join(root, path)), path
		assert not os.path.exists(f'{root}/etc/sosigw')


def the_installed_schema_is_what_migrate_wants(world):
	with tempfile.TemporaryDirectory(prefix='sosigw-install-') as root:
		installed(world, root)
		said = world.ctl('migrate', '--schema', f'{root}/usr/share/sosigw/schema')
		assert 'up to date' in said, said
