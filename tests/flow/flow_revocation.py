"""Certificates that are revoked: at signing by OCSP and lists, and at every use of a card that is kept already."""
import glob
import hashlib
import os
import ssl
import subprocess
import time

import client
from harness import TOP, cases, until

SIGNING, NO_CARD = 'sosigw_missing_signinginfo_in_request', 'sosigw_no_valid_idcard_in_cache'
REVOKED, UNCHECKED = 'is revoked', 'cannot be checked now'


def testca(w, *argv):
	subprocess.run(['/usr/bin/python3', os.path.join(TOP, 'tests', 'world', 'testca.py'), w.sandbox['world'], *argv], check=True)


def certificate(w, like='moces'):
	"""A certificate of its own for one test, which may be revoked."""
	name = f'flow-{next(w.numbers)}'
	testca(w, 'issue', name, like)
	return name


def sign(w, who, cert):
	return client.login(w.http(), who, w.certs, cert)


def signed(answer):
	return answer.parse().ok


def refused(w, answer, text):
	w.refused(answer, SIGNING, text)
	return True


def says(answer, text):
	return text in (answer.parse().string or '')


def counters(w):
	return w.sts_control()


def with_ocsp(w):
	"""A change of the configuration: both CAs have a responder."""
	def change(document):
		document['trust']['ocsp_urls'] = [{'issuer': fingerprint(w.certs.cert(ca)), 'url': w.sandbox['sts'] + '/crl/ocsp'}
		    for ca in ('oces2-ca', 'oces3-ca')]
	return change


def fingerprint(path):
	with open(path, encoding='ascii') as f:
		return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest()


def look_again(document):
	"""A change that has the housekeeper fetch the lists at once: other addresses for them."""
	trust = document['trust']
	trust['crl_urls'] = [f'{url.partition("?")[0]}?{time.monotonic_ns()}' for url in trust['crl_urls']]


def logged(w, event):
	"""Lines of the card workers' logs about that."""
	lines = []
	for path in glob.glob(os.path.join(w.folder, 'log', '*card-*.log')):
		with open(path, encoding='utf-8', errors='replace') as f:
			lines += [line for line in f if f'"{event}"' in line]
	return lines


# ---- cards that are kept

def a_kept_card_is_refused_once_a_list_names_its_certificate(world):
	lars = world.user()
	cert = certificate(world)
	world.order_and_sign(lars, cert)
	request = world.proxy_request(lars)
	for _ in range(8):	# both workers
		assert world.post_proxy(request).status == 200
	assert world.get_card(lars).card is not None
	testca(world, 'revoke', cert)
	with world.configured(look_again):

		def nobody_serves():
			return all(world.post_proxy(request).status == 500 and world.get_card(lars).fault for _ in range(8))

		assert until(nobody_serves, 10, 0.2), 'the card is still used'
		with world.nothing_forwarded():
			for _ in range(8):
				world.refused(world.post_proxy(request), NO_CARD)
				assert world.get_card(lars).fault	# the refusal has ordered a new one
	refused(world, sign(world, lars, cert), REVOKED)
	# the user with another certificate is not concerned
	world.order_and_sign(lars)
	assert world.post_proxy(request).status == 200


def with_the_lists_of_the_roots(document):
	look_again(document)
	document['trust']['crl_urls'] += [url.replace('.crl', '-root.crl') for url in document['trust']['crl_urls']]


def a_kept_card_is_refused_once_its_root_names_the_ca_of_its_certificate(world):
	lars, mette = world.user(), world.user(client.METTE)
	world.order_and_sign(lars)
	world.order_and_sign(mette, 'moces3')
	requests = world.proxy_request(lars), world.proxy_request(mette)
	try:
		with world.configured(with_the_lists_of_the_roots):
			for request in requests * 4:
				assert world.post_proxy(request).status == 200
			testca(world, 'crl', '--revoked-ca', 'oces3')
			with world.configured(look_again):
				assert until(lambda: all(world.post_proxy(requests[1]).status == 500 for _ in range(8)), 10, 0.2), 'the card is still used'
				with world.nothing_forwarded():
					world.refused(world.post_proxy(requests[1]), NO_CARD)
				refused(world, sign(world, mette, 'moces3'), REVOKED)
				# the other CA's users are not concerned
				assert world.post_proxy(requests[0]).status == 200
				testca(world, 'crl')
	finally:
		testca(world, 'crl')
	assert until(lambda: signed(sign(world, world.user(client.METTE), 'moces3')), 10, 0.2), 'the CA is still revoked'


# ---- OCSP at signing

@cases(('OCES2', client.LARS, 'moces'), ('OCES3, answer signed with PSS', client.METTE, 'moces3'))
def the_responder_is_asked_at_every_signing(world, like, cert):
	with world.configured(with_ocsp(world)):
		before = counters(world)['ocsp']
		world.order_and_sign(world.user(like), cert)
		assert counters(world)['ocsp'] == before + 1
	world.order_and_sign(world.user(like), cert)
	assert counters(world)['ocsp'] == before + 1, 'asked although not configured'


@cases(('OCES2', client.LARS, 'moces'), ('OCES3', client.METTE, 'moces3'))
def what_the_responder_calls_revoked_is_refused_before_the_list_knows(world, like, cert):
	who, mine = world.user(like), certificate(world, cert)
	with world.configured(with_ocsp(world)):
		testca(world, 'revoke', mine, '--not-listed')
		exchanges = counters(world)['exchanges']
		refused(world, sign(world, who, mine), REVOKED)
		assert counters(world)['exchanges'] == exchanges, 'the STS was asked'
		assert signed(sign(world, who, cert))


@cases(*((mode, mode) for mode in ('ocsp-off', 'ocsp-garbage', 'ocsp-old', 'ocsp-wrong-signer', 'ocsp-unknown', 'ocsp-try-later',
    'ocsp-other-nonce', 'ocsp-silent')))
def without_a_verdict_the_list_counts(world, mode):
	mine = certificate(world)
	with world.configured(with_ocsp(world)):
		testca(world, 'revoke', mine, '--not-listed')	# what the responder would say, if it could be believed
		with world.sts(mode):
			began = time.monotonic()
			assert signed(sign(world, world.user(), mine))
			assert time.monotonic() - began < 8, 'a silent responder holds up signing'
		assert 'http' in logged(world, 'ocsp')[-1]


def an_answer_without_nonce_is_believed(world):
	mine = certificate(world)
	with world.configured(with_ocsp(world)), world.sts('ocsp-no-nonce'):
		testca(world, 'revoke', mine, '--not-listed')
		refused(world, sign(world, world.user(), mine), REVOKED)


def the_responder_suffices_without_lists(world):
	lars = world.user()

	def no_lists(document):
		document['trust']['crl_urls'] = []
		with_ocsp(world)(document)

	with world.configured(no_lists):
		assert until(lambda: ask_without_responder(world), 10, 0.2), 'the lists are still there'
		world.order_and_sign(lars)
		with world.sts('ocsp-off'):
			refused(world, sign(world, lars, 'moces'), UNCHECKED)
		# the order stands
		assert signed(sign(world, lars, 'moces'))
	assert until(lambda: signed(sign(world, world.user(), 'moces')), 10, 0.2), 'the lists do not come back'


def nobody_is_asked_whom_only_a_certificate_names(world):
	"""The addresses in it, of the list and of the responder, are those of the test STS, which counts who asks."""
	def nowhere(document):
		document['trust'].update(crl_urls=[], ocsp_urls=[])

	with world.configured(nowhere):
		assert until(lambda: says(sign(world, world.user(), 'moces'), UNCHECKED), 10, 0.2), 'the lists are still there'
		before = counters(world)
		for like, cert in ((client.LARS, 'moces'), (client.METTE, 'moces3'), (client.LARS, 'moces-revoked')):
			assert not signed(sign(world, world.user(like), cert))
		after = counters(world)
		assert (after['crl'], after['ocsp'], after['exchanges']) == (before['crl'], before['ocsp'], before['exchanges']), (before, after)
	assert until(lambda: signed(sign(world, world.user(), 'moces')), 10, 0.2), 'the lists do not come back'


def ask_without_responder(w):
	with w.sts('ocsp-off'):
		return says(sign(w, w.user(), 'moces'), UNCHECKED)


# ---- when neither can be had

@cases(('refuse', {}, False), ('accept', {'when_unchecked': 'accept', 'unchecked_accept_minutes': 180}, True),
    ('accept, but not for so long', {'when_unchecked': 'accept', 'unchecked_accept_minutes': 90}, False))
def when_nothing_can_be_checked_the_setting_decides(world, settings, accepted):
	def policy(document):
		document['trust'].update(crl_grace_minutes=60, **settings)
		look_again(document)

	before = len(logged(world, 'unchecked'))
	testca(world, 'crl', '--ended', '120')
	try:
		with world.configured(policy):
			def decided():
				answer = sign(world, world.user(), 'moces')
				return len(logged(world, 'unchecked')) > before if accepted else says(answer, UNCHECKED)
			assert until(decided, 10, 0.2), f'not {"accepted with a line in the log" if accepted else "refused"}'
			answer = sign(world, world.user(), 'moces')
			assert signed(answer) if accepted else refused(world, answer, UNCHECKED)
			# what a list names is refused however old the list
			refused(world, sign(world, world.user(), 'moces-revoked'), REVOKED)
			testca(world, 'crl')
	finally:
		testca(world, 'crl')
	assert until(lambda: signed(sign(world, world.user(), 'moces')), 10, 0.2), 'the lists do not come back'


def a_card_of_a_bootstrap_token_goes_with_the_certificate_that_the_token_is_bound_to(world):
	lars = world.user()
	holder = certificate(world, 'foces')
	create = client.bst_request(lars, world.certs, signer=holder)
	assert not world.http().post(client.BST, create).parse().fault
	assert world.get_card(lars).card is not None
	testca(world, 'revoke', holder)
	with world.configured(look_again):
		assert until(lambda: all(world.get_card(lars).fault for _ in range(8)), 10, 0.2), 'the card is still given'
		refused(world, world.http().post(client.BST, client.bst_request(lars, world.certs, signer=holder)), REVOKED)
