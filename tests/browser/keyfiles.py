#!/usr/bin/python3
"""Key files of every form that users have, made by the programs that make them, from the people of the test CA.

    keyfiles.py WORLD OUT      WORLD: what testca.py made; OUT gets the files and index.json

index.json: a list of {name, file, password, cert (name in WORLD or OUT), refused (the page's text for it, or null), readable
(the certificate, which is posted with a signature, stands in it in clear)}. A test looks for files and passwords in what a browser sent.
"""
import concurrent.futures
import datetime
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
import unicodedata

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'world'))
import testca
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

PLAIN = 'Kodeord-til-test-4711'
DANISH = 'Rødgrød€med-fløde-æøåÆØÅ'
READABLE = ('OpenSSL with the certificates in clear', 'the key in clear', 'a PEM file', 'a certificate',
	# where OpenSSL makes no MAC, it encrypts no certificates
	'OpenSSL without a MAC', 'OpenSSL 3DES without a MAC', 'Danish password, OpenSSL without a MAC', 'PBMAC1')
ROWS = []


def row(name, password=PLAIN, cert='moces', refused=None):
	"""Marks a maker of one key file: maker(files, path, password, cert)."""
	def mark(maker):
		ROWS.append((name, password, cert, refused, maker))
		return maker
	return mark


class Files:
	def __init__(self, world, out):
		self.world, self.out = world, out

	def path(self, name):
		"""A file of the test CA, or one of ours in its place."""
		own = os.path.join(self.out, name)
		return own if os.path.exists(own) else os.path.join(self.world, name)

	def work(self, name):
		folder = os.path.join(self.out, 'work', name)
		os.makedirs(folder)
		return folder


def run(*argv, **options):
	r = subprocess.run(argv, capture_output=True, check=False, **options)
	if r.returncode:
		raise RuntimeError(f'{argv[0]} {argv[1]}: exit {r.returncode}\n{r.stdout.decode(errors="replace")}{r.stderr.decode(errors="replace")}')
	return r.stdout


def openssl(files, path, password, cert, *options):
	"""password may be bytes, for forms that are not UTF-8"""
	secret = password if isinstance(password, bytes) else password.encode()
	ca = 'oces3' if cert.startswith('moces3') else 'oces2'
	chain = path + '.chain'
	with open(chain, 'wb') as f:
		for name in (f'{ca}-ca', f'{ca}-root'):
			with open(files.path(f'{name}.pem'), 'rb') as g:
				f.write(g.read())
	run('openssl', 'pkcs12', '-export', '-inkey', files.path(f'{cert}.key'), '-in', files.path(f'{cert}.pem'), '-certfile', chain,
	    '-name', cert, '-out', path, '-passout', b'pass:' + secret, *options)


def openssl_row(name, *options, password=PLAIN, cert='moces', refused=None, typed=None):
	row(name, password if typed is None else typed, cert, refused)(
	    lambda files, path, _password, cert: openssl(files, path, password, cert, *options))


LEGACY = ('-provider', 'legacy', '-provider', 'default')
OLD_3DES = ('-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES')

openssl_row('OpenSSL 3')
openssl_row('OpenSSL 3 -legacy: RC2-40 and 3DES', '-legacy')
openssl_row('OpenSSL 3DES', *OLD_3DES, '-macalg', 'sha1')
openssl_row('OpenSSL 3DES with two keys', '-keypbe', 'PBE-SHA1-2DES', '-certpbe', 'PBE-SHA1-2DES', '-macalg', 'sha1')
openssl_row('OpenSSL RC2-128', '-keypbe', 'PBE-SHA1-RC2-128', '-certpbe', 'PBE-SHA1-RC2-128', *LEGACY)
openssl_row('OpenSSL RC2-40', '-keypbe', 'PBE-SHA1-RC2-40', '-certpbe', 'PBE-SHA1-RC2-40', *LEGACY)
openssl_row('OpenSSL AES-128 and 3DES of PBES2', '-keypbe', 'AES-128-CBC', '-certpbe', 'DES-EDE3-CBC')
for digest in ('sha1', 'sha224', 'sha384', 'sha512'):
	openssl_row(f'OpenSSL MAC {digest}', '-macalg', digest)
openssl_row('OpenSSL without a MAC', '-nomac')
openssl_row('OpenSSL 3DES without a MAC', *OLD_3DES, '-nomac')
openssl_row('OpenSSL with the certificates in clear', '-certpbe', 'NONE')
openssl_row('OpenSSL 600000 iterations', '-iter', '600000', '-maciter')
openssl_row('OpenSSL one MAC iteration', '-nomaciter')
openssl_row('Danish password, OpenSSL 3', password=DANISH)
openssl_row('Danish password, OpenSSL 3 -legacy', '-legacy', password=DANISH)
openssl_row('Danish password, OpenSSL without a MAC', '-nomac', password=DANISH)
openssl_row('Danish password, letters made of two', password=unicodedata.normalize('NFD', DANISH), typed=DANISH)
openssl_row('Danish password, Latin-1 terminal', password='Blåbærgrød'.encode('latin-1'), typed='Blåbærgrød')
openssl_row('Danish password, OpenSSL 1.0', '-legacy', password='Blåbærgrød'.encode().decode('latin-1'), typed='Blåbærgrød')
openssl_row('no password', password='')
openssl_row('RSA 3072, OCES3', cert='moces3')
openssl_row('RSA 4096', cert='moces-4096')
# as the export wizard of Windows writes them: its key attributes, 2000 iterations
WINDOWS = ('-CSP', 'Microsoft Enhanced Cryptographic Provider v1.0', '-LMK', '-keysig', '-iter', '2000')
openssl_row('Windows export, TripleDES-SHA1', '-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-RC2-40', '-macalg', 'sha1', *WINDOWS, *LEGACY)
openssl_row('Windows export, AES256-SHA256', '-keypbe', 'AES-256-CBC', '-certpbe', 'AES-256-CBC', '-macalg', 'sha256', *WINDOWS)
openssl_row('AES-192', '-keypbe', 'AES-192-CBC', refused='unsupported')
openssl_row('elliptic key', cert='moces-ec', refused='ec-key')
openssl_row('expired certificate', cert='moces-expired', refused='expired')
openssl_row('future certificate', cert='moces-future', refused='not-yet')
# these open; the server refuses them
openssl_row('revoked certificate', cert='moces-revoked')
openssl_row('foreign certificate', cert='moces-foreign')
openssl_row('another person', cert='moces2')
openssl_row('an organisation', cert='voces')


@row('python-cryptography')
def by_python(files, path, password, cert):
	with open(files.path(f'{cert}.key'), 'rb') as f:
		key = serialization.load_pem_private_key(f.read(), None)
	with open(files.path(f'{cert}.pem'), 'rb') as f:
		certificate = x509.load_pem_x509_certificate(f.read())
	with open(path, 'wb') as f:
		f.write(pkcs12.serialize_key_and_certificates(b'x', key, certificate, None, serialization.BestAvailableEncryption(password.encode())))


def nss(files, path, password, cert, *options):
	folder = files.work(os.path.basename(path))
	database = f'sql:{folder}'
	openssl(files, f'{folder}/in.p12', password, cert)
	secret = f'{folder}/password'
	with open(secret, 'w', encoding='utf-8') as f:
		f.write(password)
	run('certutil', '-N', '-d', database, '--empty-password')
	run('pk12util', '-i', f'{folder}/in.p12', '-d', database, '-w', secret, '-K', '')
	run('pk12util', '-o', path, '-n', cert, '-d', database, '-w', secret, '-K', '', *options)


NSS_3DES = 'PKCS #12 V2 PBE With SHA-1 And 3KEY Triple DES-CBC'
row('NSS/Firefox, BER with indefinite lengths')(nss)
row('NSS/Firefox, Danish password', DANISH)(nss)
row('NSS/Firefox, 3DES')(lambda *a: nss(*a, '-c', NSS_3DES, '-C', NSS_3DES))


def keytool(files, path, password, cert, *options):
	folder = files.work(os.path.basename(path))
	openssl(files, f'{folder}/in.p12', password, cert)
	run('keytool', *options, '-importkeystore', '-noprompt', '-srckeystore', f'{folder}/in.p12', '-srcstoretype', 'PKCS12',
	    '-srcstorepass', password, '-destkeystore', path, '-deststoretype', 'PKCS12', '-deststorepass', password,
	    env={**os.environ, 'LC_ALL': 'C.UTF-8'})


row('Java keytool')(keytool)
row('Java keytool, legacy')(lambda *a: keytool(*a, '-J-Dkeystore.pkcs12.legacy'))


@row('Java keytool, two people in one file', cert='moces moces2')
def two_people(files, path, password, cert):
	first, second = cert.split()
	keytool(files, path, password, first)
	folder = files.work(os.path.basename(path) + '-second')
	openssl(files, f'{folder}/in.p12', password, second)
	run('keytool', '-importkeystore', '-noprompt', '-srckeystore', f'{folder}/in.p12', '-srcstorepass', password, '-srcalias', second,
	    '-destkeystore', path, '-deststorepass', password)


@row('PBMAC1')
def pbmac1(files, path, password, cert):
	"""RFC 9579, which this OpenSSL has not: a file without a MAC, and the MAC behind it."""
	openssl(files, path, password, cert, '-nomac')
	with open(path, 'rb') as f:
		pfx = f.read()
	content = run('openssl', 'asn1parse', '-inform', 'DER', '-in', path, '-strparse', str(content_offset(path)), '-noout', '-out', '-')
	der, salt, rounds = testca.der, os.urandom(16), 2048
	prf = der(0x30, bytes.fromhex('06082a864886f70d02090500'))
	kdf = der(0x30, bytes.fromhex('06092a864886f70d01050c') + der(0x30, der(4, salt) + der(2, rounds.to_bytes(2, 'big')) + der(2, b'\x20') + prf))
	algorithm = der(0x30, bytes.fromhex('06092a864886f70d01050e') + der(0x30, kdf + prf))
	key = hashlib.pbkdf2_hmac('sha256', password.encode(), salt, rounds, 32)
	value = hmac.new(key, content, 'sha256').digest()
	mac = der(0x30, der(0x30, algorithm + der(4, value)) + der(4, b'unused') + der(2, b'\x01'))
	with open(path, 'wb') as f:
		f.write(der(0x30, pfx[4:] + mac))


def content_offset(path):
	"""Where the OCTET STRING of the authenticated safe begins."""
	for line in run('openssl', 'asn1parse', '-inform', 'DER', '-in', path).decode().splitlines():
		if 'OCTET STRING' in line:
			return int(line.split(':')[0])
	raise RuntimeError('no content')


@row('the key in clear', '')
def in_clear(files, path, password, cert):
	openssl(files, path, password, cert, '-keypbe', 'NONE', '-certpbe', 'NONE', '-nomac')


@row('certificates without a key', refused='no-rsa-key')
def without_key(files, path, password, cert):
	run('openssl', 'pkcs12', '-export', '-nokeys', '-in', files.path(f'{cert}.pem'), '-out', path, '-passout', f'pass:{password}')


@row('the key of another certificate', refused='no-rsa-key')
def wrong_key(files, path, password, cert):
	with open(files.path('moces2.key'), 'rb') as f:
		key = serialization.load_pem_private_key(f.read(), None)
	with open(files.path(f'{cert}.pem'), 'rb') as f:
		certificate = x509.load_pem_x509_certificate(f.read())
	bag = [pkcs12.PKCS12Certificate(certificate, b'x')] if hasattr(pkcs12, 'PKCS12Certificate') else [certificate]
	with open(path, 'wb') as f:
		f.write(pkcs12.serialize_key_and_certificates(b'x', key, None, bag, serialization.BestAvailableEncryption(password.encode())))


@row('a renewed certificate beside the old one', cert='moces')
def renewed(files, path, password, cert):
	"""One key, two certificates: only one of them is good today."""
	with open(files.path(f'{cert}.key'), 'rb') as f:
		key = serialization.load_pem_private_key(f.read(), None)
	certificates = []
	for name in ('moces-before', cert):
		with open(files.path(f'{name}.pem'), 'rb') as f:
			certificates.append(x509.load_pem_x509_certificate(f.read()))
	old, new = certificates
	with open(path, 'wb') as f:
		f.write(pkcs12.serialize_key_and_certificates(b'x', key, old, [new], serialization.BestAvailableEncryption(password.encode())))


def octets_row(name, make, refused='not-a-key-file'):
	def maker(files, path, _password, _cert):
		with open(path, 'wb') as f:
			f.write(make(files))
	row(name, refused=refused)(maker)


def whole(files):
	path = os.path.join(files.out, 'to-cut.p12')
	openssl(files, path, PLAIN, 'moces')
	with open(path, 'rb') as f:
		return f.read()


def read(files, name):
	with open(files.path(name), 'rb') as f:
		return f.read()


octets_row('an empty file', lambda files: b'')
octets_row('a text', lambda files: b'%PDF-1.7\n' + b'hello ' * 500)
octets_row('a PEM file', lambda files: read(files, 'moces.pem'))
octets_row('a certificate', lambda files: read(files, 'crl/oces2-ca.cer'))
octets_row('a key file that was cut', lambda files: whole(files)[:-200])
octets_row('nested a thousand deep', lambda files: b'\x30\x80' * 1000)
octets_row('more than a megabyte', lambda files: b'\x30' + bytes(1 << 20), 'file-too-big')


def make_certificates(files):
	"""Those that testca.py has not: a large key, an elliptic one, a certificate that was renewed."""
	table = testca.leaves()
	ca = testca.read_ca(files.world, 'oces2')
	_, subject, policy, _, _ = table['moces']
	with open(files.path('moces.key'), 'rb') as f:
		moces = serialization.load_pem_private_key(f.read(), None)
	now, day = testca.now(), datetime.timedelta(days=1)
	for name, key, start, end in (('moces-4096', rsa.generate_private_key(65537, 4096), now - day, now + 700 * day),
	                              ('moces-ec', ec.generate_private_key(ec.SECP256R1()), now - day, now + 700 * day),
	                              ('moces-before', moces, now - 800 * day, now - day)):
		url = testca.read_state(files.world)['crl_url']
		cert = testca.make_leaf(ca, key, subject, url, policy, start, end, f'{name}@example.dk')
		testca.write_pair(files.out, name, cert, key)


def make(world, out):
	os.makedirs(out, exist_ok=True)
	files = Files(world, out)
	make_certificates(files)
	index = []
	with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
		jobs = []
		for n, (name, password, cert, refused, maker) in enumerate(ROWS):
			path = os.path.join(out, f'{n:02}.p12')
			index.append({'name': name, 'file': path, 'password': password, 'cert': cert, 'refused': refused, 'readable': name in READABLE})
			jobs.append(pool.submit(maker, files, path, password, cert))
		for job in jobs:
			job.result()
	shutil.rmtree(os.path.join(out, 'work'))
	with open(os.path.join(out, 'index.json'), 'w', encoding='utf-8') as f:
		json.dump(index, f, ensure_ascii=False, indent=1)
	return index


if __name__ == '__main__':
	make(*sys.argv[1:3])
