"""What cards of 8 KB in memcached cost: memory, and time per get beside libmemcached's plain get of values of the same size,
interleaved, in the same run."""
import json, os, random, re, shutil, socket, statistics, subprocess, tempfile, time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SIZES = ((25000, 2, 512), (1000000, 1, 11000))	# cards, copies (one node each), megabytes per node
SPARE_GB = 3		# beside memcached, for everything else that runs here
SAMPLE = 20000		# names that the plain gets choose from


def available_gb():
	with open('/proc/meminfo', encoding='ascii') as f:
		return int(re.search(r'MemAvailable: +(\d+)', f.read())[1]) / 1e6


def resident_mb(pid):
	with open(f'/proc/{pid}/status', encoding='ascii') as f:
		return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1]) / 1e3


def ask(port, line):
	"""All lines of an answer that ends with END."""
	with socket.create_connection(('127.0.0.1', port), 60) as s, s.makefile('rb') as f:
		s.sendall(line + b'\r\n')
		for answer in f:
			if answer.rstrip() == b'END':
				return
			yield answer


def start_node(port, megabytes):
	node = subprocess.Popen(['memcached', '-u', 'nobody', '-l', '127.0.0.1', '-p', str(port), '-U', '0', '-m', str(megabytes), '-c', '256'])
	for _ in range(100):
		time.sleep(0.05)
		with socket.socket() as s:
			if s.connect_ex(('127.0.0.1', port)) == 0:
				return node
	node.kill()
	raise SystemExit('memcached does not start')


def measure_cards(base):
	"""base: a port from which on some are free."""
	program = os.path.join(TOP, os.environ.get('SOSIGW_BUILD', 'build/plain'), 'bench', 'cards')
	for cards, copies, megabytes in SIZES:
		need = copies * megabytes / 1000 + SPARE_GB
		if available_gb() < need:
			print(f'\n{cards} cards of 8 KB: skipped: needs {need:.0f} GB of memory, {available_gb():.0f} GB are available')
			continue
		d = tempfile.mkdtemp(prefix='sosigw-cards-')
		ports = [base + i for i in range(copies)]
		nodes = []
		try:
			for port in ports:
				nodes.append(start_node(port, megabytes))
			measure_size(program, d, cards, copies, ports, nodes)
		finally:
			for n in nodes:
				n.kill()
				n.wait()
			shutil.rmtree(d, ignore_errors=True)


def measure_size(program, d, cards, copies, ports, nodes):
	where = [str(p) for p in ports]
	empty = [resident_mb(n.pid) for n in nodes]
	began = time.monotonic()
	subprocess.run([program, 'fill', str(cards), *where], check=True)
	filled = time.monotonic() - began
	used = [resident_mb(n.pid) - e for n, e in zip(nodes, empty)]
	stats = dict(line.split()[1:3] for line in ask(ports[0], b'stats'))
	time.sleep(1.5)
	names = [m[1] for m in (re.match(rb'key=([0-9a-f]{64}) ', line) for line in ask(ports[0], b'lru_crawler metadump all')) if m]
	keys = os.path.join(d, 'keys')
	with open(keys, 'wb') as f:
		f.write(b'\n'.join(random.sample(names, min(SAMPLE, len(names)))) + b'\n')
	rounds = json.loads(subprocess.run([program, 'get', str(cards), keys, *where], check=True, stdout=subprocess.PIPE).stdout)
	one = 'one copy each, since there is no room for two' if copies == 1 else f'{copies} copies each'
	print(f'\n{cards} cards of 8 KB, {one}, {len(rounds)} interleaved rounds: median (range)')
	print(f'  memory: {" + ".join(f"{u:.0f}" for u in used)} MB, {statistics.mean(used) * 1e3 / cards:.2f} KB a card and copy, '
	    f'{stats[b"evictions"].decode()} evicted; filled in {filled:.0f} s')
	for what, text in (('again', 'get of a card'), ('first', 'get, copies compared first'), ('plain', 'plain libmemcached get')):
		values = [r[what] for r in rounds]
		ratio = '' if what == 'plain' else f'   ratio to plain {spread([r[what] / r["plain"] for r in rounds])}'
		print(f'  {text:28} {spread(values):>24} us{ratio}')


def spread(values):
	return f'{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})'
