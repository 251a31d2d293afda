"""How a user comes to a card: what a request must say for one to be ordered, the order that a refusal carries, and organisations
whose users are known by session ids."""
import contextlib
import os
import re

import client
from harness import cases

NO_CARD = 'sosigw_no_valid_idcard_in_cache'
AWAITING = 'sosigw_awaiting_signing'
IN_REQUEST = 'sosigw_no_valid_idcard_in_request'


# the helpers' first argument is w, as what takes a world is a test

def both(w, who, change=lambda message: message):
	"""An order and a call, each refused or not: their answers."""
	return [post(change(message)) for post, message in ((w.post_service, client.order_card(who)), (w.post_proxy, w.proxy_request(who)))]


def sign(w, who, digest, client_id='epj-a', cert='moces'):
	message = client.sign_id_card(who, client.sign(digest, w.certs.key(cert)), w.certs.cert(cert))
	answer = w.post_service(message, client_id)
	assert answer.parse().ok, answer.body


# ---- implicit login

@cases(*[(form, form) for form in client.FORMS])
def a_refused_call_is_signed_and_then_passes(world, form):
	lars = world.user()
	request = client.proxy(lars, world.service('sink'), form=form)
	with world.nothing_forwarded():
		refused = world.refused(world.post_proxy(request), NO_CARD)
	header, = refused.root.find(f'{{{client.SOAP}}}Header')
	assert header.tag == f'{{{client.GW}}}implicitLoginHeader', header.tag
	ordered = world.post_service(client.order_card(lars)).parse()
	assert (refused.digest, refused.browser_url) == (ordered.digest, ordered.browser_url)
	sign(world, lars, refused.digest)
	assert world.post_proxy(request).status == 200


def the_same_refusal_comes_until_it_is_signed(world):
	lars = world.user()
	first, second = (world.refused(world.post_proxy(world.proxy_request(lars), c), NO_CARD) for c in ('epj-a', 'lab-a'))
	assert first.digest == second.digest
	world.refused(world.post_service(client.get_valid_id_card(lars)), AWAITING)


def an_order_is_what_the_request_says(world):
	stine = world.user(client.STINE, level='1')
	octets = world.refused(world.post_proxy(world.proxy_request(stine)), NO_CARD).digest
	sign(world, stine, octets, cert='moces2')
	card = client.read_card(world.get_card(stine).card)
	for name, value in (('medcom:UserGivenName', stine.given), ('medcom:UserSurName', stine.sur), ('medcom:UserCivilRegistrationNumber', stine.cpr),
	    ('medcom:UserRole', stine.role), ('medcom:UserAuthorizationCode', stine.code), ('medcom:ITSystemName', stine.system),
	    ('medcom:CareProviderID', stine.care_id), ('medcom:CareProviderName', stine.care_name), ('sosi:AuthenticationLevel', '4')):
		assert card[name] == value, (name, card)


# ---- what is enough

def without(name):
	pattern = rf'<saml:Attribute Name="{name}"[^>]*>.*?</saml:Attribute>'.encode()
	return lambda message: re.sub(pattern, b'', message)


def saying(name, value):
	pattern = rf'(Name="{name}"[^>]*><saml:AttributeValue>)[^<]*'.encode()
	return lambda message: re.sub(pattern, lambda m: m[1] + value.encode(), message)


NEEDED = ('medcom:UserGivenName', 'medcom:UserSurName', 'medcom:UserRole', 'medcom:ITSystemName', 'medcom:CareProviderID',
    'medcom:CareProviderName', 'sosi:IDCardType', 'sosi:AuthenticationLevel')


@cases(*[(f'{name} left out', name, without(name)) for name in NEEDED], *[(f'{name} empty', name, saying(name, '')) for name in NEEDED],
    *[(f'{name} blank', name, saying(name, ' \t\n')) for name in NEEDED], ('a type of no kind', 'sosi:IDCardType', saying('sosi:IDCardType', 'person')),
    ('level 5', 'sosi:AuthenticationLevel', saying('sosi:AuthenticationLevel', '5')),
    ('a CPR number of nine digits', 'medcom:UserCivilRegistrationNumber', saying('medcom:UserCivilRegistrationNumber', '050179227')),
    ('a care provider of no kind', 'medcom:CareProviderID/@NameFormat', lambda m: m.replace(b'medcom:cvrnumber', b'medcom:else')),
    ('a care provider of an unsaid kind', 'medcom:CareProviderID/@NameFormat', lambda m: m.replace(b' NameFormat="medcom:cvrnumber"', b'')))
def a_card_that_says_too_little_is_told_what_is_missing(world, name, change):
	lars = world.user()
	assert change(client.order_card(lars)) != client.order_card(lars)
	with world.nothing_forwarded():
		for answer in both(world, lars, change):
			fault = world.refused(answer, IN_REQUEST, name)
			assert not fault.implicit and fault.digest is None
			others = [n for n in NEEDED if n in fault.string and n not in name]
			assert not others or name == 'sosi:IDCardType', f'{others} are not missing'
	world.refused(world.post_service(client.get_valid_id_card(lars)), NO_CARD)


def all_that_is_missing_is_told_at_once(world):
	def bare(message):
		for name in NEEDED:
			if not name.startswith('sosi:'):
				message = without(name)(message)
		return saying('medcom:UserCivilRegistrationNumber', '050179-2275')(saying('sosi:AuthenticationLevel', '3')(message))
	for answer in both(world, world.user(), bare):
		fault = world.refused(answer, IN_REQUEST)
		for name in (*NEEDED, 'medcom:CareProviderID/@NameFormat (medcom:cvrnumber, ', 'medcom:UserCivilRegistrationNumber (ddmmyynnnn)'):
			assert (name in fault.string) != (name == 'sosi:IDCardType'), fault.string


@cases(('the CPR number', {'cpr': None}), ('the authorisation code', {'code': None}), ('e-mail and occupation', {'email': None, 'occupation': None}),
    ('SubjectConfirmation', {'level': '1'}))
def what_the_sts_fills_in_may_be_left_out(world, changes):
	lars = world.user(**changes)
	world.order_and_sign(lars)
	card = client.read_card(world.get_card(lars).card)
	assert card['medcom:UserCivilRegistrationNumber'] == client.LARS.cpr, card
	assert card['medcom:UserAuthorizationCode'] == client.LARS.code, card


def markup_in_a_name_stays_text(world):
	lars = world.user(given='Lars & <Ærø> "x" \'y\' ]]>')
	world.order_and_sign(lars)
	assert client.read_card(world.get_card(lars).card)['medcom:UserGivenName'] == lars.given


@cases(('another form of the name', {'name_id_format': 'medcom:cprnumber'}), ('another system', {'system': 'Andet system'}), ('another role', {'role': 'sekretær'}))
def the_name_alone_finds_the_card(world, changes):
	lars = world.user()
	world.order_and_sign(lars)
	assert not world.get_card(lars.but(**changes)).fault


@cases(('in upper case', str.upper), ('with a zero-width space', lambda n: n + '\u200b'), ('with a no-break space', lambda n: '\u00a0' + n),
    ('cut', lambda n: n[:-1]), ('and more', lambda n: n + 'x'))
def a_name_that_only_looks_alike_is_another_user(world, change):
	lars = world.user()
	world.order_and_sign(lars)
	world.refused(world.post_service(client.get_valid_id_card(lars.but(name_id=change(lars.name_id)))), NO_CARD)


def white_space_around_a_name_does_not_count(world):
	lars = world.user()
	world.order_and_sign(lars)
	assert not world.get_card(lars.but(name_id=f'\n\t {lars.name_id} \r\n')).fault


# ---- session ids

@contextlib.contextmanager
def sessions(w):
	def change(document):
		next(o for o in document['organisations'] if o['id'] == 'region-a')['session_ids'] = True
	with w.configured(change):
		yield


def session_in(parsed):
	found = parsed.root.findall(f'{{{client.SOAP}}}Header/{{{client.GW}}}sessionId')
	assert len(found) == 1, f'{len(found)} session ids'
	assert re.fullmatch(r'[\w-]{43}', found[0].text), found[0].text
	return found[0].text


def begin(w, who, post=None):
	"""A session that its user has signed; who, by its name."""
	parsed = (post or w.post_service)(client.order_card(who)).parse()
	session = who.but(name_id=session_in(parsed), name_id_format='medcom:other')
	sign(w, session, parsed.digest)
	return session


def a_session_id_finds_the_card_and_the_users_name_does_not(world):
	lars = world.user()
	with sessions(world):
		session = begin(world, lars)
		assert client.read_card(world.get_card(session).card)['medcom:UserSurName'] == lars.sur
		before = world.stub_count()
		assert world.post_proxy(world.proxy_request(session)).status == 200
		assert session.name_id.encode() not in world.forwarded(before)['body'], 'the service need not know it'
		world.refused(world.post_service(client.get_valid_id_card(lars)), NO_CARD)
		with world.nothing_forwarded():
			refused = world.refused(world.post_proxy(world.proxy_request(lars)), NO_CARD)
		assert refused.implicit and session_in(refused) != session.name_id
		world.refused(world.post_service(client.get_valid_id_card(session), 'epj-b'), NO_CARD)


def every_order_begins_a_session_of_its_own(world):
	"""No single sign-on: what one program has signed is nothing to another."""
	lars = world.user()
	with sessions(world):
		one, two = begin(world, lars), begin(world, lars)
		assert one.name_id != two.name_id
		ids = {client.read_card(world.get_card(s).card)['sosi:IDCardID'] for s in (one, two)}
		assert len(ids) == 2
		assert world.logout(one).status == 202
		world.refused(world.post_service(client.get_valid_id_card(one)), NO_CARD)
		assert not world.get_card(two).fault


def a_refused_call_begins_a_session_too(world):
	lars = world.user()
	with sessions(world):
		refused = world.refused(world.post_proxy(world.proxy_request(lars)), NO_CARD)
		session = lars.but(name_id=session_in(refused))
		world.refused(world.post_service(client.get_valid_id_card(session)), AWAITING)
		sign(world, session, refused.digest)
		assert world.post_proxy(world.proxy_request(session)).status == 200


def a_session_id_goes_on_with_no_card_even_where_cards_are_passed_on(world):
	def change(document):
		next(o for o in document['organisations'] if o['id'] == 'region-a')['pass_signed_cards'] = True
	lars = world.user(level='2')
	with sessions(world), world.configured(change):
		session = begin(world, lars.but(level='4')).but(level='2')
		before = world.stub_count()
		assert world.post_proxy(world.proxy_request(session)).status == 200
		got = world.forwarded(before)
		assert session.name_id.encode() not in got['body'] and got['verdict'] == 'ok', 'exchanged, as a session is'
		assert world.logout(session).status == 202
		with world.nothing_forwarded():
			world.refused(world.post_proxy(world.proxy_request(session)), NO_CARD)
		before = world.stub_count()
		assert world.post_proxy(world.proxy_request(lars, world.service('sink'))).status == 200
		assert lars.name_id.encode() in world.forwarded(before)['body'], 'her own name is passed on'


def without_session_ids_no_answer_has_one(world):
	lars = world.user()
	for answer in both(world, lars):
		assert b'sessionId' not in answer.body


def written(w):
	"""All that the gateway has written: logs, journals, and the audit in the database."""
	out = w.ctl('--json', 'audit', 'search', '--client', 'epj-a').encode()
	for folder, _, names in os.walk(w.folder):
		if os.path.basename(folder) in ('log', 'journal') or '/log/' in folder:
			for name in names:
				with open(os.path.join(folder, name), 'rb') as f:
					out += f.read()
	return out


def the_audit_tells_whose_session_it_is(world):
	"""Whatever is done with it while its user is known, from the order to the logout."""
	lars = world.user()
	with sessions(world):
		refused = world.post_proxy(world.proxy_request(lars)).parse()
		session = lars.but(name_id=session_in(refused), name_id_format='medcom:other')
		world.refused(world.post_service(client.get_valid_id_card(session)), AWAITING)
		world.refused(world.post_service(client.sign_id_card(session, 'AAAA', world.certs.cert('moces'))), 'sosigw_missing_signinginfo_in_request')
		sign(world, session, refused.digest)
		world.get_card(session)
		world.post_proxy(world.proxy_request(session))
		world.logout(session)
		rows = world.audit(least=7, user=lars.name_id)
	assert [(r['operation'], r['status']) for r in reversed(rows)] == [('http://nsi.dk/nts/invoke', 'refused'), ('getValidIdCard', 'refused'),
	    ('signIdCard', 'refused'), ('signIdCard', 'ok'), ('getValidIdCard', 'ok'), ('http://nsi.dk/nts/invoke', 'ok'), ('logout', 'ok')], rows


def no_record_shows_a_session_id(world):
	"""Whoever reads the audit could otherwise call as the user. A new order, made in the name of a session, is the user's."""
	lars = world.user()
	with sessions(world):
		session = begin(world, lars)
		world.get_card(session)
		world.post_proxy(world.proxy_request(session))
		world.refused(world.post_proxy(world.proxy_request(session, world.service('service?young'))), NO_CARD)
		second = begin(world, session)
		pending = session.but(name_id=session_in(world.post_service(client.order_card(second)).parse()))
		world.post_service(client.order_card(pending))
		world.get_card(second)
		world.logout(second)
		world.post_service(client.get_valid_id_card(second))
		assert world.audit(least=6, user=lars.name_id)
		text = written(world)
	assert lars.name_id.encode() in text
	for s in (session, second, pending):
		assert s.name_id.encode() not in text, text[max(0, text.index(s.name_id.encode()) - 300):][:600]
