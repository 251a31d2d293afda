"""A card that was logged out stays out, however it comes back; and nothing is done that the audit does not know of."""
import concurrent.futures
import re
import time

import client
from harness import read_json_rows, until

NO_CARD = 'sosigw_no_valid_idcard_in_cache'
SESSION = re.compile(rb'sessionId[^>]*>([^<]+)<')


def passing(document):
	for o in document['organisations']:
		o['pass_signed_cards'] = True


def card_that_was_sent(w, user):
	before = w.stub_count()
	assert w.post_proxy(w.proxy_request(user)).status == 200
	return client.card_in(w.forwarded(before)['body']).decode()


def a_logged_out_card_does_not_pass_as_the_clients_own(world):
	lars = world.user()
	world.order_and_sign(lars)
	card = card_that_was_sent(world, lars)
	assert world.post_proxy(world.proxy_request(lars.but(name_id=lars.name_id + '-x'), assertion=card)).status == 200, 'validly signed, nobody logged out'
	assert world.logout(lars).status == 202
	time.sleep(1)	# what the other workers, who hear of it from the database, may take
	with world.nothing_forwarded():
		told = world.refused(world.post_proxy(world.proxy_request(lars, assertion=card)), NO_CARD)
	assert told.implicit, 'and a new order is offered'


def an_older_card_that_the_client_has_kept_is_logged_out_too(world):
	"""Two cards of one user: only the newer is in the cache when the user leaves."""
	lars = world.user()
	world.order_and_sign(lars)
	older = card_that_was_sent(world, lars)
	world.order_and_sign(lars)
	assert card_that_was_sent(world, lars) != older
	stranger = lars.but(name_id=lars.name_id + '-x')
	assert world.post_proxy(world.proxy_request(stranger, assertion=older)).status == 200, 'validly signed, nobody logged out'
	assert world.logout(lars).status == 202
	time.sleep(1)
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(lars, assertion=older)), NO_CARD)
		with world.configured(passing):
			world.refused(world.post_proxy(world.proxy_request(lars, assertion=older)), NO_CARD)
	world.order_and_sign(lars)
	assert world.post_proxy(world.proxy_request(lars)).status == 200, 'who signs in again is in'


def what_was_kept_by_name_is_not_found_by_session_nor_the_other_way(world):
	def change(document):
		for o in document['organisations']:
			if o['id'] == 'region-a':
				o['session_ids'] = True

	lars = world.user()
	world.order_and_sign(lars)
	assert world.get_card(lars).card
	with world.configured(change):
		world.refused(world.post_service(client.get_valid_id_card(lars)), NO_CARD)
		session = lars.but(name_id=SESSION.search(world.post_service(client.order_card(lars)).body)[1].decode())
		order = world.post_service(client.order_card(session)).parse()
		sign = client.sign_id_card(session, client.sign(order.digest, world.certs.key('moces')), world.certs.cert('moces'))
		assert world.post_service(sign).parse().ok
		assert world.get_card(session).card
	world.refused(world.post_service(client.get_valid_id_card(session)), NO_CARD)
	assert world.get_card(lars).card


def nor_in_an_organisation_that_passes_signed_cards_on(world):
	lars = world.user()
	world.order_and_sign(lars)
	card = card_that_was_sent(world, lars)
	with world.configured(passing):
		assert world.post_proxy(world.proxy_request(lars, assertion=card)).status == 200
		assert world.logout(lars).status == 202
		time.sleep(1)
		with world.nothing_forwarded():
			world.refused(world.post_proxy(world.proxy_request(lars, assertion=card)), NO_CARD)


def a_service_that_wants_a_young_card_gets_no_old_one_of_the_clients(world):
	lars = world.user()
	world.order_and_sign(lars)
	card = card_that_was_sent(world, lars)
	assert world.logout(world.user()).status == 202
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(lars, world.service('service?young'), assertion=card)), NO_CARD)


def a_logout_while_the_sts_signs_is_a_logout(world):
	lars = world.user()
	order = world.post_service(client.order_card(lars)).parse()
	sign = client.sign_id_card(lars, client.sign(order.digest, world.certs.key('moces')), world.certs.cert('moces'))
	with world.sts('slow', ms=1500), concurrent.futures.ThreadPoolExecutor() as pool:
		signing = pool.submit(world.post_service, sign)
		time.sleep(0.6)
		assert world.logout(lars).status == 202
		world.refused(signing.result(), NO_CARD)
	assert world.get_card(lars).fault


def a_signing_stands_in_the_audit_before_the_sts_is_asked(world):
	lars = world.user()
	order = world.post_service(client.order_card(lars)).parse()
	sign = client.sign_id_card(lars, client.sign(order.digest, world.certs.key('moces')), world.certs.cert('moces'))

	def rows():
		return read_json_rows(world.ctl('--json', 'audit', 'search', '--user', lars.name_id, '--status', 'open'))

	with world.sts('slow', ms=2500), concurrent.futures.ThreadPoolExecutor() as pool:
		signing = pool.submit(world.post_service, sign)
		seen = until(rows, 2.3, 0.1)
		assert signing.result().parse().ok
	assert [r['operation'] for r in seen] == ['signIdCard'], seen
	assert not world.get_card(lars).fault


def in_session_mode_the_awaiting_session_is_told_again(world):
	def change(document):
		for o in document['organisations']:
			if o['id'] == 'region-a':
				o['session_ids'] = True

	lars = world.user()
	with world.configured(change):
		first = SESSION.search(world.post_proxy(world.proxy_request(lars)).body)[1]
		again = SESSION.search(world.post_proxy(world.proxy_request(lars.but(name_id=first.decode()))).body)[1]
	assert first == again


def a_short_message_that_is_passed_on_arrives_in_any_pieces(world):
	head = (f'<s:Envelope xmlns:s="{client.SOAP}"><s:Header><w:Security xmlns:w="{client.WSSE}"><a:Assertion xmlns:a="{client.SAML}" id="IDCard">'
	    '<a:Subject><a:NameID>u</a:NameID></a:Subject><a:AttributeStatement id="IDCardData"><a:Attribute Name="sosi:AuthenticationLevel">'
	    '<a:AttributeValue>2</a:AttributeValue></a:Attribute></a:AttributeStatement></a:Assertion></w:Security>'
	    f'<d:To xmlns:d="{client.WSA2005}">{world.service("sink")}</d:To></s:Header><s:Body>').encode()
	parts = [head] + [b'<b>' + b'x' * 4593 + b'</b>'] * 20 + [b'</s:Body></s:Envelope>']
	with world.configured(passing):
		assert world.post_proxy(iter(parts), chunked=True, pause=0.05).status == 200
