"""How fast journals that have piled up reach the database, beside psql's COPY of the same rows into tables of the same kind."""
import json, os, re, subprocess, time

# mission 9, an hour: proxied calls, getValidIdCard, and cards, each of which is ordered and signed
TENDER_EVENTS = 10000 + 10000 + 2 * 1000
PSQL = '/usr/lib/postgresql/15/bin/psql'
PARTS = '''FROM pg_inherits i WHERE inhparent IN ('audit_record'::regclass, 'audit_event'::regclass)'''


class Database:
	def __init__(self, world):
		with open(world.sandbox['servers'][0]['conf'], encoding='utf-8') as f:
			self.conninfo = re.search('^conninfo = (.*)$', f.read(), re.M)[1]

	def run(self, *statements):
		"""psql with these in one transaction; the last value."""
		argv = [PSQL, '-X', '-q', '-At', '-1', '-v', 'ON_ERROR_STOP=1', self.conninfo]
		for s in statements:
			argv += ['-c', s]
		return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def folder_bytes(path):
	return sum(os.path.getsize(os.path.join(path, f)) for f in os.listdir(path) if f.endswith('.journal'))


def measure_shipping(world, d, load):
	"""load() makes calls for some seconds and returns how many."""
	db = Database(world)
	journal = world.sandbox['servers'][0]['journal']
	time.sleep(2)	# what was written before is sent
	with world.stopped('s1-housekeeper'):
		db.run('TRUNCATE audit_record, audit_event')
		before = folder_bytes(journal)	# segments that are still written stay, though they have arrived
		calls = load()
		size = folder_bytes(journal) - before
		began = time.monotonic()
		shipped = json.loads(world.ctl('--json', 'audit', 'ship', journal))
		took = time.monotonic() - began
		stored = int(db.run(f'SELECT sum(pg_total_relation_size(inhrelid)) {PARTS}'))
		files = [os.path.join(d, t) for t in ('record.copy', 'event.copy')]
		db.run(*(f'\\copy (SELECT * FROM audit_{t}) TO {f}' for t, f in zip(('record', 'event'), files)))
		db.run(*(f'CREATE TABLE bench_{t} (LIKE audit_{t} INCLUDING ALL)' for t in ('record', 'event')))
		began = time.monotonic()
		db.run(*(f'\\copy bench_{t} FROM {f}' for t, f in zip(('record', 'event'), files)))
		copied = time.monotonic() - began
		db.run('DROP TABLE bench_record, bench_event')
	events = shipped['events'] / 2	# a record when a call begins, another when it ends
	print(f'\nshipping: {calls} calls piled up in {size / 1e6:.1f} MB of journals ({size / calls:.0f} bytes a call, {stored / calls:.0f} in the database)')
	print(f'  journals to database: {events / took:.0f} events/s   psql COPY of the same rows: {events / copied:.0f} events/s   ratio {copied / took:.3f}')
	print(f'  an hour of the tender\'s load ({TENDER_EVENTS} events) takes {TENDER_EVENTS * took / events:.1f} s, a day of it {24 * TENDER_EVENTS * took / events:.0f} s, '
	    f'{24 * TENDER_EVENTS * size / calls / 1e6:.0f} MB of journals and {24 * TENDER_EVENTS * stored / calls / 1e6:.0f} MB of database')
