"""The life of a card: ordered, signed, kept, shown, carried by calls, forgotten."""
import client
from harness import cases, until

NO_CARD = 'sosigw_no_valid_idcard_in_cache'


@cases(*[(form, form) for form in client.FORMS])
def a_card_is_ordered_signed_and_shown(world, form):
	lars = world.user()
	world.order_and_sign(lars, form=form)
	shown = world.get_card(lars)
	assert not shown.fault, shown.string
	good, said = client.verify_card(shown.card, world.certs.path('sts.pem'))
	assert good, said
	card = client.read_card(shown.card)
	assert card['sosi:AuthenticationLevel'] == '4' and card['medcom:UserCivilRegistrationNumber'] == lars.cpr, card
	assert card['medcom:ITSystemName'] == lars.system and card['medcom:CareProviderID'] == lars.care_id, card


@cases(('OCES2, another doctor', 'moces2', client.STINE), ('OCES3', 'moces3', client.METTE))
def users_with_other_certificates_sign_too(world, cert, person):
	somebody = world.user(person)
	world.order_and_sign(somebody, cert)
	assert client.read_card(world.get_card(somebody).card)['medcom:UserSurName'] == person.sur


def before_the_order_there_is_no_card(world):
	answer = world.post_service(client.get_valid_id_card(world.user()))
	world.refused(answer, NO_CARD)


def between_order_and_signature_the_card_is_awaited(world):
	lars = world.user()
	ordered = world.post_service(client.order_card(lars)).parse()
	assert ordered.digest.startswith(b'<ds:SignedInfo') and ordered.browser_url.startswith('https://'), ordered
	world.refused(world.post_service(client.get_valid_id_card(lars)), 'sosigw_awaiting_signing')


def a_second_order_gives_the_same_octets_to_sign(world):
	lars = world.user()
	first = world.post_service(client.order_card(lars), 'epj-a').parse()
	second = world.post_service(client.order_card(lars), 'lab-a').parse()
	assert first.digest == second.digest


def a_card_is_shared_by_the_clients_of_an_organisation(world):
	lars = world.user()
	world.order_and_sign(lars, client_id='epj-a')
	assert not world.get_card(lars, 'lab-a').fault
	assert not world.get_card(lars, 'addr-a').fault


def a_card_is_not_seen_by_another_organisation(world):
	lars = world.user()
	world.order_and_sign(lars, client_id='epj-a')
	world.refused(world.post_service(client.get_valid_id_card(lars), 'epj-b'), NO_CARD)
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(lars), 'epj-b'), NO_CARD)


def another_organisation_cannot_log_a_user_out(world):
	lars = world.user()
	world.order_and_sign(lars, client_id='epj-a')
	world.logout(lars, 'epj-b')
	assert not world.get_card(lars, 'epj-a').fault


@cases(('one-way', client.logout), ('with response', client.logout_with_response))
def after_logout_the_card_is_gone(world, message):
	lars = world.user()
	world.order_and_sign(lars)
	answer = world.post_service(message(lars))
	assert answer.status in (200, 202), answer.body
	with world.nothing_forwarded():
		parsed = world.refused(world.post_proxy(world.proxy_request(lars)), NO_CARD)
	assert parsed.implicit and parsed.digest, 'the refusal carries a new order'


def logout_without_a_card_is_no_error(world):
	assert world.logout(world.user()).status in (200, 202)


def a_signature_by_somebody_else_is_refused(world):
	lars = world.user()
	ordered = world.post_service(client.order_card(lars)).parse()
	wrong = client.sign(ordered.digest, world.certs.key('moces2'))
	answer = world.post_service(client.sign_id_card(lars, wrong, world.certs.cert('moces')))
	world.refused(answer, 'sosigw_missing_signinginfo_in_request')
	right = client.sign(ordered.digest, world.certs.key('moces'))
	assert world.post_service(client.sign_id_card(lars, right, world.certs.cert('moces'))).parse().ok, 'the order still stands'


@cases(('expired', 'moces-expired'), ('not yet valid', 'moces-future'), ('revoked', 'moces-revoked'), ('another CA', 'moces-foreign'),
    ('another organisation', 'moces-other'))
def a_bad_certificate_is_refused_and_the_sts_not_asked(world, cert):
	before = world.sts_control()['exchanges']
	answer = client.login(world.http(), world.user(), world.certs, cert)
	world.refused(answer, 'sosigw_missing_signinginfo_in_request')
	assert world.sts_control()['exchanges'] == before


@cases(('a fault', 'fault'), ('garbage', 'garbage'), ('another person', 'other-person'), ('signed by another', 'forged'),
    ('changed after signing', 'tampered'), ('unsigned', 'unsigned'), ('two cards', 'two-cards'), ('connection reset', 'reset'))
def what_the_sts_gets_wrong_is_not_kept(world, mode):
	lars = world.user()
	with world.sts(mode):
		answer = client.login(world.http(), lars, world.certs)
	world.refused(answer, 'sosigw_internal_error')
	world.refused(world.post_service(client.get_valid_id_card(lars)), 'sosigw_awaiting_signing')


def a_card_operation_leaves_an_audit_record(world):
	lars = world.user()
	world.order_and_sign(lars, client_id='lab-a')
	rows = world.audit(least=2, user=lars.name_id)
	assert [r['operation'] for r in rows] == ['signIdCard', 'requestIdCardDigestForSigning'], rows
	for r in rows:
		assert r['status'] == 'ok' and r['client'] == 'lab-a' and r['organisation'] == 'region-a', r
		assert r['system'] == lars.system and r['address'] == '127.0.0.1', r
	assert rows[0]['card_id'], rows[0]


def a_card_outlives_one_memcached_node(world):
	lars = world.user()
	world.order_and_sign(lars)
	for zone in 'ab':
		with world.stopped(f'memcached-{zone}'):
			assert not world.get_card(lars).fault, f'with zone {zone} stopped'
		# what it held went with the process; a read puts the second copy back, once the workers try the node again
		assert until(lambda: not world.get_card(lars).fault and world.cached(zone) > 0, 15), f'no copy came back to zone {zone}'


def a_killed_worker_is_back_and_no_card_is_lost(world):
	lars = world.user()
	world.order_and_sign(lars)
	for worker in ('card-1', 'card-2'):
		world.kill(worker)
	assert until(lambda: world.post_service(client.get_valid_id_card(lars)).status == 200)
	assert not world.get_card(lars).fault
