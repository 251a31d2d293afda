"""Systems whose key the gateway keeps: their calls need no signing, and their cards renew by themselves.

The sandbox has such a key for Region A's system Natkørsel. Each test takes a care provider of its own, and so a card
of its own."""
import concurrent.futures
import contextlib
import fcntl
import json
import os
import pwd
import random
import shutil
import subprocess
import time

import client
from harness import cases, until

NO_CARD = 'sosigw_no_valid_idcard_in_cache'
SYSTEM = 'Natkørsel'
SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so'


def system(**changes):
	number = ''.join(random.choices('0123456789', k=13))
	return client.LARS.but(**{'kind': 'system', 'level': '3', 'system': SYSTEM, 'cpr': None, 'name_id': '20921897',
	    'name_id_format': 'medcom:cvrnumber', 'care_id': number, 'care_format': 'medcom:locationnumber', **changes})


def exchanges(w):
	return w.sts_control()['exchanges']


def call(w, who, client_id='epj-a'):
	"""One call; the card that reached the service, read."""
	before = w.stub_count()
	answer = w.post_proxy(w.proxy_request(who), client_id)
	assert answer.status == 200, answer.body
	return read(w, w.forwarded(before)['body'])


def read(w, message):
	xml = client.card_in(message)
	good, said = client.verify_card(xml, w.certs.path('sts.pem'))
	assert good, said
	return client.read_card(xml)


def keyed(change):
	"""A change of the configuration: change(key) of Region A's only system key."""
	def apply(document):
		region, = [o for o in document['organisations'] if o['id'] == 'region-a']
		change(region['system_keys'][0])
	return apply


@contextlib.contextmanager
def our_file(w, name, data, mode=0o600):
	"""A file that the gateway's user owns."""
	path = os.path.join(w.folder, name)
	with open(path, 'wb') as f:
		f.write(data)
	os.chmod(path, mode)
	give(w, path)
	try:
		yield path
	finally:
		os.unlink(path)


def give(w, path):
	if os.getuid() == 0:
		who = pwd.getpwnam(w.sandbox['user'])
		os.chown(path, who.pw_uid, who.pw_gid)


@contextlib.contextmanager
def environment(w, kind, **env):
	"""With the workers of that kind, proxy or card, started anew in this environment."""
	def change(how):
		with open(os.path.join(w.folder, 'processes.lock'), 'a', encoding='ascii') as lock, \
		    open(os.path.join(w.folder, 'processes.json'), 'r+', encoding='utf-8') as f:
			fcntl.flock(lock, fcntl.LOCK_EX)
			table = json.load(f)
			for p in table:
				if p['name'] in names:
					how(p['env'])
			f.seek(0)
			f.write(json.dumps(table, indent=1))
			f.truncate()
		for name in names:
			w.switch('stop', name)
			w.switch('start', name)

	names = (f's1-{kind}-1', f's1-{kind}-2')
	change(lambda e: e.update(env))
	try:
		yield
	finally:
		change(lambda e: [e.pop(name) for name in env])


def make_token(w, folder):
	"""A SoftHSM token with the key of voces; its configuration file."""
	os.makedirs(os.path.join(folder, 'tokens'))
	conf = os.path.join(folder, 'softhsm2.conf')
	with open(conf, 'w', encoding='ascii') as f:
		f.write(f'directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n')
	for argv in (['--init-token', '--free', '--label', 'gw', '--pin', '4711', '--so-pin', '87654321'],
	    ['--import', w.certs.key('voces'), '--token', 'gw', '--label', 'job', '--id', '01', '--pin', '4711']):
		subprocess.run(['softhsm2-util', *argv], env={**os.environ, 'SOFTHSM2_CONF': conf}, check=True, capture_output=True, timeout=60)
	give(w, folder)
	for at, folders, files in os.walk(folder):
		for name in folders + files:
			give(w, os.path.join(at, name))
	return conf


# ---- life

@cases(('level 3', '3', 'seal'), ('level 1', '1', 'seal'), ('as WCF writes', '3', 'wcf'))
def the_first_call_passes_without_any_signing(world, level, form):
	job = system(level=level)
	before, requests = exchanges(world), world.stub_count()
	answer = world.post_proxy(world.proxy_request(job, form=form))
	assert answer.status == 200, answer.body
	card = read(world, world.forwarded(requests)['body'])
	assert (card['sosi:AuthenticationLevel'], card['sosi:IDCardType']) == ('3', 'system'), card
	assert (card['medcom:ITSystemName'], card['medcom:CareProviderID']) == (SYSTEM, job.care_id), card
	assert exchanges(world) == before + 1


def the_next_calls_use_the_same_card_whoever_makes_them(world):
	job = system()
	first, before = call(world, job), exchanges(world)
	for client_id, name in (('epj-a', '20921897'), ('lab-a', 'somebody'), ('addr-a', '1')):
		assert call(world, job.but(name_id=name), client_id)['sosi:IDCardID'] == first['sosi:IDCardID']
	assert exchanges(world) == before


def get_valid_id_card_makes_one_too(world):
	job = system()
	shown = world.get_card(job)
	assert not shown.fault, shown.string
	assert client.read_card(shown.card)['sosi:AuthenticationLevel'] == '3'
	assert call(world, job)['sosi:IDCardID'] == client.read_card(shown.card)['sosi:IDCardID']


def a_card_that_nears_its_end_is_renewed(world):
	job = system()
	with world.sts('hour-left'):
		old = call(world, job)
	before = exchanges(world)
	new = call(world, job)
	assert new['sosi:IDCardID'] != old['sosi:IDCardID']
	assert call(world, job)['sosi:IDCardID'] == new['sosi:IDCardID']
	assert exchanges(world) == before + 1


def a_renewal_that_fails_is_not_noticed(world):
	job = system()
	with world.sts('hour-left'):
		old = call(world, job)
	before = exchanges(world)
	with world.sts('fault'):
		for _ in range(8):
			assert call(world, job)['sosi:IDCardID'] == old['sosi:IDCardID']
	assert before < exchanges(world) <= before + 2, 'each of two workers tries once, then rests'


def a_card_that_ended_is_made_anew(world):
	job = system()
	with world.sts('minute-left'):	# of which the margin of 60 seconds leaves five
		old = call(world, job)
		world.sts_control('silent')
		assert world.post_proxy(world.proxy_request(job)).status == 200, 'while it lasts, the old one serves'
		time.sleep(5)
	card = until(lambda: (a := world.post_proxy(world.proxy_request(job))).status == 200 and a, 10, 0.5)
	assert card, 'no new card'
	assert call(world, job)['sosi:IDCardID'] != old['sosi:IDCardID']


def a_burst_of_calls_causes_few_exchanges(world):
	job = system()
	before = exchanges(world)
	with world.sts('slow', ms=500), concurrent.futures.ThreadPoolExecutor(20) as pool:
		answers = list(pool.map(lambda _: world.post_proxy(world.proxy_request(job)), range(20)))
	assert [a.status for a in answers] == [200] * 20, [a.body for a in answers if a.status != 200][:1]
	assert 1 <= exchanges(world) - before <= 4, 'two workers, at most two each'


def after_logout_a_new_card_is_made(world):
	job = system()
	first = call(world, job)
	world.logout(job)
	assert call(world, job)['sosi:IDCardID'] != first['sosi:IDCardID']


@cases(('the kind of number', {'care_format': 'medcom:ynumber'}), ('the name', {'care_name': 'SPOOFED NAME'}))
def a_card_says_of_the_care_provider_what_the_request_says(world, other):
	"""Whoever is first cannot choose the words for the others."""
	job = system()
	first, shown = call(world, job.but(**other)), world.get_card(job)
	assert not shown.fault, shown.string
	card = client.read_card(shown.card)
	assert card['sosi:IDCardID'] != first['sosi:IDCardID']
	assert card['medcom:CareProviderName'] == job.care_name and 'medcom:locationnumber' in shown.card.decode(), card
	assert call(world, job)['sosi:IDCardID'] == card['sosi:IDCardID']


def a_wrong_kind_of_number_is_its_callers_own_trouble(world):
	job = system()
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(job.but(care_format='medcom:nonsense'))), 'sosigw_no_valid_idcard_in_request')
	call(world, job)


# ---- what fails

@cases(('a fault', 'fault', 'RequestFailed'), ('the connection breaks', 'reset', 'cannot be made now'),
    ('garbage', 'garbage', None), ('another system', 'other-system', None), ('forged', 'forged', None))
def what_the_sts_gets_wrong_is_a_fault_and_no_login(world, mode, text):
	job = system()
	with world.sts(mode), world.nothing_forwarded():
		for send in (lambda: world.post_proxy(world.proxy_request(job)), lambda: world.post_service(client.get_valid_id_card(job))):
			parsed = world.refused(send(), 'sosigw_internal_error', None if text == 'RequestFailed' else text)
			assert not parsed.implicit, 'no user can sign for it'
	assert until(lambda: world.post_proxy(world.proxy_request(job)).status == 200), 'it works again'


@cases(('revoked', 'moces-revoked', 'revoked'), ('expired', 'moces-expired', 'expired'), ('of a person', 'moces', 'kind of certificate'),
    ('another CA', 'moces-foreign', 'trusted issuer'))
def a_certificate_that_cannot_sign_is_a_fault(world, cert, text):
	job, before = system(), exchanges(world)
	with world.configured(keyed(lambda k: k.update(certificate_file=world.certs.cert(cert), key_file=world.certs.key(cert)))), \
	    world.nothing_forwarded():
		parsed = world.refused(world.post_proxy(world.proxy_request(job)), 'sosigw_internal_error', text)
		assert not parsed.implicit
	assert exchanges(world) == before


def a_card_for_another_cvr_is_not_made(world):
	job, before = system(care_id='30808460', care_format='medcom:cvrnumber'), exchanges(world)
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(job)), 'sosigw_internal_error', 'does not belong')
	assert exchanges(world) == before


def a_request_that_says_too_little_is_told_what_is_missing(world):
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(system(care_name=None))), 'sosigw_no_valid_idcard_in_request',
		    'medcom:CareProviderName')


def a_key_that_others_can_read_is_not_used(world):
	with open(world.certs.key('voces'), 'rb') as f:
		key = f.read()
	with our_file(world, 'open.key', key, 0o644) as path, world.configured(keyed(lambda k: k.update(key_file=path))), \
	    world.nothing_forwarded():
		parsed = world.refused(world.post_proxy(world.proxy_request(system())), 'sosigw_internal_error')
		assert path not in parsed.string, 'where keys lie is nobody else\'s business'


# ---- who may

def another_organisation_gets_no_such_card(world):
	job, before = system(), exchanges(world)
	call(world, job)
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(job), 'epj-b'), NO_CARD)
		world.refused(world.post_service(client.get_valid_id_card(job), 'epj-b'), 'sosigw_awaiting_signing')
	assert exchanges(world) == before + 1


@cases(('another system', {'system': 'Sygdom.dk'}), ('a user of that system', {'kind': 'user', 'level': '4', 'name_id': None}),
    ('a user at level 1', {'kind': 'user', 'level': '1', 'name_id': None}))
def others_of_the_organisation_sign_as_ever(world, changes):
	who = system(**{**changes, 'name_id': world.user().name_id})
	with world.nothing_forwarded():
		parsed = world.refused(world.post_proxy(world.proxy_request(who)), NO_CARD)
	assert parsed.implicit and parsed.digest


def a_users_name_cannot_stand_for_a_systems_card(world):
	"""The name that such a card is kept under has characters that no XML can say."""
	job = system()
	call(world, job)
	message = client.get_valid_id_card(world.user(name_id='WHO'))
	name = f'&#x1F;{SYSTEM}&#x1F;{job.care_id}'.encode()
	world.refused(world.post_service(message.replace(b'WHO', name)), 'sosigw_syntax_error_in_request')


# ---- signed by the client all the same

@cases(('a system without a key', 'Sygdom.dk', 'voces'), ('a system with one', SYSTEM, 'voces'), ('signed with another certificate', SYSTEM, 'foces'))
def a_client_may_sign_a_systems_card_itself(world, name, cert):
	job = system(system=name, name_id=world.user().name_id)
	world.order_and_sign(job, cert)
	before = exchanges(world)
	shown = world.get_card(job)
	assert not shown.fault, shown.string
	card = client.read_card(shown.card)
	assert card['sosi:AuthenticationLevel'] == '3'
	assert call(world, job)['sosi:IDCardID'] == card['sosi:IDCardID']
	assert exchanges(world) == before


# ---- other forms of key, and the traces

def a_pkcs12_file_with_a_password_does_as_well(world):
	job = system()
	with open(world.certs.path('voces3.p12'), 'rb') as f:
		p12 = f.read()
	with our_file(world, 'system.p12', p12) as path, our_file(world, 'system.password', b'Test1234\n') as password, \
	    world.configured(keyed(lambda k: k.update(certificate_file=None, key_file=None, pkcs12_file=path, password_file=password))):
		assert call(world, job)['medcom:CareProviderID'] == job.care_id
		assert 'UI:DK-O:G:' in world.get_card(job).card.decode(), 'the STS names who signed'


def a_token_does_as_well_and_many_calls_at_once_share_its_session(world):
	jobs = [system() for _ in range(6)]
	folder = os.path.join(world.folder, 'token')
	use = {'key_file': None, 'pkcs11': 'pkcs11:token=gw;object=job'}
	try:
		conf = make_token(world, folder)
		with our_file(world, 'pin', b'4711\n') as pin, environment(world, 'proxy', SOFTHSM2_CONF=conf, PKCS11_MODULE_PATH=SOFTHSM), \
		    world.configured(keyed(lambda k: k.update(password_file=pin, **use))), concurrent.futures.ThreadPoolExecutor(12) as pool:
			answers = list(pool.map(lambda job: world.post_proxy(world.proxy_request(job)), jobs * 3))
	finally:
		shutil.rmtree(folder, ignore_errors=True)
	assert [a.status for a in answers] == [200] * 18, [a.body for a in answers if a.status != 200][:1]


def a_new_key_is_used_when_the_file_is_replaced(world):
	"""The certificate first, as an administrator would: between the two files nothing is signed."""
	files = [os.path.join(world.folder, n) for n in ('rolled.pem', 'rolled.key')]
	with our_file(world, 'rolled.pem', b''), our_file(world, 'rolled.key', b''):
		for source, target in zip((world.certs.cert('voces'), world.certs.key('voces')), files):
			shutil.copyfile(source, target)
		with world.configured(keyed(lambda k: k.update(certificate_file=files[0], key_file=files[1]))):
			call(world, system())
			shutil.copyfile(world.certs.cert('foces'), files[0])
			world.refused(world.post_proxy(world.proxy_request(system())), 'sosigw_internal_error')
			shutil.copyfile(world.certs.key('foces'), files[1])
			call(world, system())


def the_audit_log_names_the_card_and_the_technical_log_its_making(world):
	job = system(name_id=world.user().name_id)
	card = call(world, job, 'lab-a')
	row, = world.audit(user=job.name_id, kind='proxy')
	assert (row['status'], row['card_id'], row['system'], row['client']) == ('ok', card['sosi:IDCardID'], SYSTEM, 'lab-a'), row
	logs = ''
	for n in (1, 2):
		with open(os.path.join(world.folder, 'log', f's1-proxy-{n}.log'), encoding='utf-8') as f:
			logs += f.read()
	assert any('system-card' in line and card['sosi:IDCardID'] in line and job.care_id in line for line in logs.splitlines())
