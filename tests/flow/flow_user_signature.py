"""What a user's program hands in to signIdCard: only the signature of the right person over the octets of the order that stands makes
a card; whatever else comes is refused, the STS does not hear of it, and the order stands (threats.md 2.4)."""
import base64
import concurrent.futures
import hashlib
import re
import secrets

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, utils

import client
from harness import cases

NO_CARD = 'sosigw_no_valid_idcard_in_cache'
AWAITING = 'sosigw_awaiting_signing'
BAD = 'sosigw_missing_signinginfo_in_request'


# the helpers' first argument is w, as what takes a world is a test

def octets(w, who, client_id='epj-a'):
	return w.post_service(client.order_card(who), client_id).parse().digest


def private_key(w, name='moces'):
	with open(w.certs.key(name), 'rb') as f:
		return serialization.load_pem_private_key(f.read(), None)


def raw(w, padded):
	"""The RSA operation alone, over an integer whose padding the forger made himself."""
	n = private_key(w).private_numbers()
	modulus = n.public_numbers.n
	size = (modulus.bit_length() + 7) // 8
	block = b'\x00\x01' + b'\xff' * (size - 3 - len(padded)) + b'\x00' + padded
	return pow(int.from_bytes(block, 'big'), n.d, modulus).to_bytes(size, 'big')


def right(w, digest):
	return base64.b64decode(client.sign(digest, w.certs.key('moces')))


def signed_over(text, hash_name='sha1'):
	return lambda w, _: base64.b64decode(client.sign(text, w.certs.key('moces'), hash_name))


def over_the_digest(w, digest):
	"""A program that takes DigestValue for the digest itself."""
	prehashed = utils.Prehashed(hashes.SHA1())
	return private_key(w).sign(hashlib.sha1(hashlib.sha1(digest).digest()).digest(), padding.PKCS1v15(), prehashed)


def is_refused(w, who, message, says=None):
	before = w.sts_control()['exchanges']
	fault = w.refused(w.post_service(message), BAD, says)
	assert w.sts_control()['exchanges'] == before, 'the STS was asked'
	w.refused(w.post_service(client.get_valid_id_card(who)), AWAITING)
	return fault


SIGNATURES = (
	('zero', lambda w, _: bytes(256)),
	('one', lambda w, _: bytes(255) + b'\x01'),
	('the modulus less one', lambda w, _: (private_key(w).public_key().public_numbers().n - 1).to_bytes(256, 'big')),
	('random', lambda w, _: b'\x00' + secrets.token_bytes(255)),
	('one octet', lambda w, _: b'\x01'),
	('a hundred thousand octets', lambda w, _: bytes(100_000)),
	('an octet too many', lambda w, d: right(w, d) + b'\x00'),
	('an octet in front', lambda w, d: b'\x00' + right(w, d)),
	('an octet too few', lambda w, d: right(w, d)[:-1]),
	('a bit wrong', lambda w, d: right(w, d)[:-1] + bytes([right(w, d)[-1] ^ 1])),
	('of another text', signed_over(b'<ds:SignedInfo/>')),
	('of nothing', signed_over(b'')),
	('of the octets and one more', lambda w, d: signed_over(d + b'\n')(w, d)),
	('of the octets in base64', lambda w, d: signed_over(base64.b64encode(d))(w, d)),
	('of the hash, hashed again', over_the_digest),
	('with SHA-256, which the order does not say', lambda w, d: signed_over(d, 'sha256')(w, d)),
	('without DigestInfo', lambda w, d: raw(w, hashlib.sha1(d).digest())),
	('with the DigestInfo of another hash', lambda w, d: raw(w, bytes.fromhex('3021300906052b0e03021a05000414')[:-2] + b'\x04\x10' +
	    hashlib.md5(d).digest())),
	('with an octet behind the hash', lambda w, d: raw(w, bytes.fromhex('3021300906052b0e03021a05000414') + hashlib.sha1(d).digest() + b'\x00')),
	('with PSS', lambda w, d: private_key(w).sign(d, padding.PSS(padding.MGF1(hashes.SHA1()), 20), hashes.SHA1())),
)


@cases(*SIGNATURES)
def a_signature_that_is_wrong_is_refused_and_the_order_stands(world, make):
	lars = world.user()
	digest = octets(world, lars)
	value = base64.b64encode(make(world, digest)).decode()
	is_refused(world, lars, client.sign_id_card(lars, value, world.certs.cert('moces')))
	assert octets(world, lars) == digest
	value = base64.b64encode(right(world, digest)).decode()
	assert world.post_service(client.sign_id_card(lars, value, world.certs.cert('moces'))).parse().ok


def cube_root(n):
	"""The least integer whose cube is not below n."""
	low, high = 0, 1 << (n.bit_length() // 3 + 1)
	while low < high:
		middle = (low + high) // 2
		low, high = (middle + 1, high) if middle ** 3 < n else (low, middle)
	return low


def a_signature_forged_with_a_cube_root_is_refused(world):
	"""A verifier that does not look at what stands behind the hash takes this for a signature of any key with exponent 3."""
	lars = world.user()
	digest = octets(world, lars)
	begin = b'\x00\x01' + b'\xff' * 8 + b'\x00' + bytes.fromhex('3021300906052b0e03021a05000414') + hashlib.sha1(digest).digest()
	forged = cube_root(int.from_bytes(begin + bytes(256 - len(begin)), 'big'))
	assert (forged ** 3).to_bytes(256, 'big').startswith(begin)
	cert = world.certs.cert('moces-e3')
	is_refused(world, lars, client.sign_id_card(lars, base64.b64encode(forged.to_bytes(256, 'big')).decode(), cert))
	assert world.post_service(client.sign_id_card(lars, client.sign(digest, world.certs.key('moces-e3')), cert)).parse().ok, 'the key is good'


def put_in(pattern, by):
	return lambda message: re.sub(pattern, by, message, count=1, flags=re.S)


VALUE, KEY_INFO = rb'<SignatureValue.*?</SignatureValue>', rb'<KeyInfo[^>]*><X509Data>.*?</KeyInfo>'
CERTIFICATE = rb'(<X509Certificate>)(.*?)(</X509Certificate>)'


@cases(('no SignatureValue', put_in(VALUE, b'')), ('no KeyInfo', put_in(KEY_INFO, b'')),
    ('an empty SignatureValue', put_in(rb'(<SignatureValue[^>]*>).*?<', rb'\1<')), ('white space', put_in(rb'(<SignatureValue[^>]*>).*?<', rb'\1 \n <')),
    ('not base64', put_in(rb'(<SignatureValue[^>]*>).*?<', rb'\1&#230;!<')), ('no certificate', put_in(CERTIFICATE, b'')),
    ('an empty certificate', put_in(CERTIFICATE, rb'\1\3')), ('a certificate that is none', put_in(CERTIFICATE, rb'\1AAAA\3')),
    ('half a certificate', put_in(CERTIFICATE, lambda m: m[1] + m[2][:len(m[2]) // 8 * 4] + m[3])),
    ('a certificate and more', put_in(CERTIFICATE, lambda m: m[1] + base64.b64encode(base64.b64decode(m[2]) + b'more') + m[3])),
    ('two SignatureValues', put_in(rb'(' + VALUE + rb')', rb'\1\1')), ('two certificates', put_in(CERTIFICATE, rb'\1\2\3\1\2\3')),
    ('a KeyValue', put_in(rb'<X509Data>.*?</X509Data>', b'<KeyValue/>')), ('a KeyName', put_in(rb'<X509Data>.*?</X509Data>', b'<KeyName>Lars</KeyName>')),
    ('an element in SignatureValue', put_in(rb'(<SignatureValue[^>]*>)', rb'\1<x/>')))
def signing_information_that_is_not_whole_is_refused(world, change):
	lars = world.user()
	message = client.sign_id_card(lars, client.sign(octets(world, lars), world.certs.key('moces')), world.certs.cert('moces'))
	broken = change(message)
	assert broken != message, 'the case changes nothing'
	is_refused(world, lars, broken)
	assert world.post_service(message).parse().ok


def line_breaks_in_base64_are_fine(world):
	"""xs:base64Binary may hold them, and MIME encoders write them."""
	lars = world.user()
	message = client.sign_id_card(lars, client.sign(octets(world, lars), world.certs.key('moces')), world.certs.cert('moces'))

	def broken(m):
		return m[1] + b'\r\n  ' + b'\n'.join(m[2][i:i + 76] for i in range(0, len(m[2]), 76)) + b'\n' + m[3]
	message = put_in(CERTIFICATE, broken)(put_in(rb'(<SignatureValue[^>]*>)(.*?)(<)', broken)(message))
	assert world.post_service(message).parse().ok


@cases(('a colleague', 'moces2'), ('a system', 'voces'), ('a function', 'foces'), ('the STS itself', 'sts'))
def only_a_certificate_of_the_user_signs(world, cert):
	"""A colleague's certificate is of the same organisation: that it is somebody else's only the STS can tell, by the CPR number."""
	lars = world.user()
	message = client.sign_id_card(lars, client.sign(octets(world, lars), world.certs.key(cert)), world.certs.cert(cert))
	if cert == 'moces2':
		world.refused(world.post_service(message), 'sosigw_internal_error', 'cvrrid-cpr mismatch')
		world.refused(world.post_service(client.get_valid_id_card(lars)), AWAITING)
	else:
		is_refused(world, lars, message)


@cases(('its own CVR number', lambda o: None, None), ("another's", lambda o: o.update(cvr='87654321'), 'does not belong to'),
    ('none', lambda o: o.update(cvr=None), 'as medcom:cvrnumber'), ('none, and set not to be checked', lambda o: o.update(cvr=None, check_cvr=False), None))
def a_care_provider_without_a_cvr_number_is_judged_by_its_organisations(world, change, says):
	lars = world.user(care_id='082119', care_format='medcom:ynumber')
	with world.configured(lambda d: change(d['organisations'][0])):
		digest = octets(world, lars)
		message = client.sign_id_card(lars, client.sign(digest, world.certs.key('moces')), world.certs.cert('moces'))
		if says:
			is_refused(world, lars, message, says)
		else:
			assert not world.post_service(message).parse().fault


def without_an_order_there_is_nothing_to_sign(world):
	lars, stine = world.user(), world.user()
	value = client.sign(octets(world, stine), world.certs.key('moces'))
	world.refused(world.post_service(client.sign_id_card(lars, value, world.certs.cert('moces'))), NO_CARD)


def a_signature_over_another_users_order_is_refused(world):
	lars, somebody = world.user(), world.user()
	octets(world, lars)
	value = client.sign(octets(world, somebody), world.certs.key('moces'))
	is_refused(world, lars, client.sign_id_card(lars, value, world.certs.cert('moces')))
	world.refused(world.post_service(client.get_valid_id_card(somebody)), AWAITING)


def a_signature_over_the_order_of_another_organisation_is_refused(world):
	lars = world.user()
	theirs, ours = octets(world, lars, 'epj-b'), octets(world, lars, 'epj-a')
	assert theirs != ours
	is_refused(world, lars, client.sign_id_card(lars, client.sign(theirs, world.certs.key('moces')), world.certs.cert('moces')))


def a_signature_is_good_once(world):
	lars = world.user()
	digest = octets(world, lars)
	message = client.sign_id_card(lars, client.sign(digest, world.certs.key('moces')), world.certs.cert('moces'))
	assert world.post_service(message).parse().ok
	first = client.read_card(world.get_card(lars).card)['sosi:IDCardID']
	again = world.refused(world.post_service(message), NO_CARD, 'No ID card awaits the user\'s signature')
	assert 'no valid ID card' not in again.string, 'there is one'
	assert client.read_card(world.get_card(lars).card)['sosi:IDCardID'] == first
	world.logout(lars)
	world.refused(world.post_service(message), NO_CARD)


def a_signature_over_an_order_of_yesterday_is_refused(world):
	lars = world.user()
	message = client.sign_id_card(lars, client.sign(octets(world, lars), world.certs.key('moces')), world.certs.cert('moces'))
	assert world.post_service(message).parse().ok
	world.logout(lars)
	octets(world, lars)
	is_refused(world, lars, message)


def logout_takes_the_order_away(world):
	lars = world.user()
	message = client.sign_id_card(lars, client.sign(octets(world, lars), world.certs.key('moces')), world.certs.cert('moces'))
	world.logout(lars)
	world.refused(world.post_service(message), NO_CARD)
	world.refused(world.post_service(client.get_valid_id_card(lars)), NO_CARD)


def ten_signatures_at_once_make_one_card(world):
	lars = world.user()
	message = client.sign_id_card(lars, client.sign(octets(world, lars), world.certs.key('moces')), world.certs.cert('moces'))
	with concurrent.futures.ThreadPoolExecutor(10) as pool:
		answers = [a.parse() for a in pool.map(lambda _: world.post_service(message), range(10))]
	assert any(a.ok for a in answers)
	# whoever comes when the card is there finds no order any more
	assert all(a.ok or a.fault_code == NO_CARD for a in answers), [a.string for a in answers]
	shown = {client.read_card(world.get_card(lars).card)['sosi:IDCardID'] for _ in range(4)}
	assert len(shown) == 1, shown
	good, said = client.verify_card(world.get_card(lars).card, world.certs.path('sts.pem'))
	assert good, said
	before = world.stub_count()
	assert world.post_proxy(world.proxy_request(lars)).status == 200
	assert world.forwarded(before)['card'] in shown


def ten_orders_at_once_are_one(world):
	lars = world.user()
	with concurrent.futures.ThreadPoolExecutor(10) as pool:
		digests = set(pool.map(lambda n: octets(world, lars, ('epj-a', 'lab-a')[n % 2]), range(10)))
	assert len(digests) == 1, f'{len(digests)} orders'


def what_was_refused_is_in_the_audit(world):
	lars = world.user()
	digest = octets(world, lars)
	for value, cert in ((client.sign(b'x', world.certs.key('moces')), 'moces'), (client.sign(digest, world.certs.key('moces-revoked')), 'moces-revoked'),
	    ('', 'moces'), (client.sign(digest, world.certs.key('voces')), 'voces')):
		is_refused(world, lars, client.sign_id_card(lars, value, world.certs.cert(cert)))
	rows = [r for r in world.audit(least=9, user=lars.name_id) if r['operation'] == 'signIdCard']
	assert [r['reason'] for r in rows] == ['CERT_KIND', 'NO_SIGNING_INFO', 'CERT_REVOKED', 'SIGNATURE'], rows
	assert {r['status'] for r in rows} == {'refused'}
