"""Every row of matrix.py: each operation with each form and level of card, for users who have and have not, in both settings."""
import contextlib
import re

import client
import matrix
from harness import cases, until, without_card

FAULT = re.compile('`(sosigw_[a-z_]+)`')


# the helpers' first argument is w, as what takes a world is a test

def person(w, card):
	"""Somebody whose requests hold such a card."""
	if card.kind == 'system':
		return w.user(kind='system', level=card.level, cpr=None)
	return w.user(level=card.level)


def certificate(card):
	return 'voces' if card.kind == 'system' else 'moces'


def orderer(who):
	"""The same at a level that is enough for an order."""
	return who.but(level='3' if who.kind == 'system' else '4')


def alone(markup):
	"""A card's markup with its prefixes declared, to be put anywhere."""
	return markup.replace('<saml:Assertion ', f'<saml:Assertion xmlns:saml="{client.SAML}" xmlns:ds="{client.DS}" ', 1)


def own_card(w, who, card):
	"""The signed card that the client has of its own; None for one that is not signed."""
	if card.signed is None:
		return None
	name = certificate(card)
	signed = client.signed_card(who, w.certs.key(name), w.certs.cert(name))
	if card.signed == 'self':
		return alone(signed)
	got = client.Http(w.sandbox['sts']).post('/sts/services/NewSecurityTokenService', client.sts_request(signed)).parse()
	assert not got.fault, got.string
	return got.card.decode()


def holding(message, assertion):
	"""The message with another card in it."""
	return message if assertion is None else re.sub(rb'<(saml:)?Assertion[ >].*?</(saml:)?Assertion>', lambda _: assertion.encode(), message,
	    count=1, flags=re.S)


def at_level(message, who):
	"""The recorded calls are of level 4."""
	return re.sub(rb'(AuthenticationLevel"\s*>\s*<saml:AttributeValue>)\d', lambda m: m[1] + who.level.encode(), message)


def bring_about(w, row, who, card):
	"""What the user has; an order's octets."""
	if row.has == matrix.NOTHING:
		return None
	digest = w.post_service(client.order_card(orderer(who))).parse().digest
	if row.has == matrix.CARD:
		name = certificate(card)
		signed = client.sign_id_card(orderer(who), client.sign(digest, w.certs.key(name)), w.certs.cert(name))
		assert w.post_service(signed).parse().ok
	return digest


def fault_of(w, row, answer):
	"""Whether the row says that it is a fault; checks that it is that one."""
	code = FAULT.search(row.outcome)
	if not code:
		return False
	parsed = w.refused(answer, code[1])
	assert parsed.implicit == (row.outcome == matrix.LOGIN), f'implicit login: {parsed.implicit}'
	return True


def good(w, answer):
	assert answer.status == 200, f'{answer.status}: {answer.body[:600]}'
	parsed = answer.parse()
	assert not parsed.fault, parsed.string
	return parsed


# ---- each operation

def order(w, row, who, card, own):
	digest = bring_about(w, row, who, card)
	answer = w.post_service(holding(client.order_card(who, row.form), own))
	if fault_of(w, row, answer):
		return
	parsed = good(w, answer)
	assert parsed.digest.startswith(b'<ds:SignedInfo') and parsed.browser_url
	assert (parsed.digest == digest) == (row.outcome == matrix.SAME_DIGEST)


def sign(w, row, who, card, own):
	digest = bring_about(w, row, who, card) or b'nothing'
	name = certificate(card)
	message = client.sign_id_card(who, client.sign(digest, w.certs.key(name)), w.certs.cert(name), row.form)
	answer = w.post_service(holding(message, own))
	if not fault_of(w, row, answer):
		assert good(w, answer).ok
		assert not w.get_card(who).fault


def get(w, row, who, card, own):
	bring_about(w, row, who, card)
	answer = w.post_service(holding(client.get_valid_id_card(who, row.form), own))
	if fault_of(w, row, answer):
		return
	shown = good(w, answer).card
	says = client.read_card(shown)
	assert says['signed'] == (row.outcome == matrix.SHOWN), says
	assert (says['sosi:IDCardType'], says['sosi:AuthenticationLevel']) == (card.kind, '3' if card.kind == 'system' else '4'), says
	assert not says['signed'] or client.verify_card(shown, w.certs.path('sts.pem'))[0]


def logged_out(message):
	def run(w, row, who, card, own):
		bring_about(w, row, who, card)
		answer = w.post_service(holding(message(who, row.form), own))
		if row.outcome == matrix.EMPTY:
			assert (answer.status, answer.body) == (202, b''), answer
		else:
			assert good(w, answer).root.findtext(f'.//{{{client.GW2014}}}logoutResponse') == 'ok', answer.body
		w.refused(w.post_service(client.get_valid_id_card(who)), 'sosigw_no_valid_idcard_in_cache')
	return run


def from_token(w, row, who, _card, _own):
	who = who.but(cpr=client.LARS.cpr)
	bring_about(w, row, who, matrix.CARDS[matrix.USER])
	parsed = good(w, w.http().post(client.BST, client.bst_request(who, w.certs)))
	assert not client.read_card(parsed.card)['signed']
	assert client.read_card(w.get_card(who).card)['sosi:IDCardID'] == client.read_card(parsed.card)['sosi:IDCardID']


def call(w, row, who, card, own):
	bring_about(w, row, who, card)
	sent = at_level(holding(client.proxy(who, w.service('sink'), form=row.form), own), who)
	before = w.stub_count()
	answer = w.post_proxy(sent)
	if fault_of(w, row, answer):
		assert w.stub_count() == before, 'it reached the service'
		return
	assert answer.status == 200, answer.body
	got = w.forwarded(before)['body']
	assert without_card(got) == without_card(sent)
	arrived, sent_card = (client.read_card(client.card_in(m)) for m in (got, sent))
	is_own = arrived['sosi:IDCardID'] == sent_card['sosi:IDCardID']
	assert is_own == (row.outcome == matrix.OWN), 'its own card' if is_own else 'the kept card'
	if not is_own or card.signed == 'sts':
		assert client.verify_card(client.card_in(got), w.certs.path('sts.pem'))[0]


OPERATIONS = {'requestIdCardDigestForSigning': order, 'signIdCard': sign, 'getValidIdCard': get, 'logout': logged_out(client.logout),
    'logoutWithResponse': logged_out(client.logout_with_response), 'createIdCardFromBST': from_token, 'proxy': call}


def organisation(**settings):
	def change(document):
		next(o for o in document['organisations'] if o['id'] == 'region-a').update(settings)
	return change


def client_setting(document):
	next(c for c in document['clients'] if c['id'] == 'epj-a')['withhold_signature'] = True


SETTINGS = {matrix.PASS: organisation(pass_signed_cards=True), matrix.WITHHELD_BY_ORGANISATION: organisation(withhold_signature=True),
    matrix.WITHHELD_BY_CLIENT: client_setting}


def prove(w, row):
	card = matrix.CARDS.get(row.card, matrix.CARDS[matrix.USER])
	who = person(w, card)
	own = own_card(w, orderer(who), card)
	if card.signed == 'sts':
		# the STS writes a NameID of its own, the same each time, and that is the user's name then
		who = who.but(name_id=client.read_card(own)['NameID'])
		w.logout(who)
	OPERATIONS[row.operation](w, row, who, card, own)


@cases(*[(note, rows) for note, rows in matrix.groups()])
def the_matrix_is_true(world, rows):
	setting = SETTINGS.get(rows[0].setting)
	wrong = []
	with world.configured(setting) if setting else contextlib.nullcontext():
		for row in rows:
			try:
				prove(world, row)
			except AssertionError as e:
				wrong.append(f'{row.form} | {row.card} | {row.has} -> {row.outcome}: {e}')
	assert not wrong, f'{len(wrong)} of {len(rows)} rows:\n' + '\n'.join(wrong)


def the_matrix_is_in_the_documentation(world):
	text = matrix.document()
	assert matrix.updated(text) == text, 'run tests/flow/matrix.py --write'
	assert world


# ---- systems

@cases(('OCES2 organisation', 'voces'), ('OCES2 function', 'foces'), ('OCES3 organisation', 'voces3'))
def a_system_signs_and_its_calls_carry_the_card(world, cert):
	job = world.user(kind='system', level='3', cpr=None, name_id_format='medcom:cvrnumber')
	world.order_and_sign(job, cert)
	shown = client.read_card(world.get_card(job).card)
	assert (shown['sosi:IDCardType'], shown['sosi:AuthenticationLevel']) == ('system', '3'), shown
	assert 'medcom:UserRole' not in shown
	before = world.stub_count()
	assert world.post_proxy(world.proxy_request(job)).status == 200
	got = world.forwarded(before)
	assert got['verdict'] == 'ok' and got['card'] == shown['sosi:IDCardID'], got
	assert world.logout(job).status == 202
	with world.nothing_forwarded():
		assert world.refused(world.post_proxy(world.proxy_request(job)), 'sosigw_no_valid_idcard_in_cache').implicit


def a_user_does_not_sign_for_a_system(world):
	job = world.user(kind='system', level='3', cpr=None)
	world.refused(client.login(world.http(), job, world.certs, 'moces'), 'sosigw_missing_signinginfo_in_request')


def a_system_of_another_organisation_does_not_sign(world):
	job = world.user(kind='system', level='3', cpr=None, care_id='30808460')
	world.refused(client.login(world.http(), job, world.certs, 'voces'), 'sosigw_missing_signinginfo_in_request')


def a_system_and_a_user_of_one_name_share_one_place(world):
	"""NameID is the key, whatever else the card says: the last card signed is the one."""
	lars = world.user()
	world.order_and_sign(lars)
	world.order_and_sign(lars.but(kind='system', level='3', cpr=None), 'voces')
	shown = until(lambda: client.read_card(world.get_card(lars).card))
	assert shown['sosi:IDCardType'] == 'system', shown
