"""What the STS may answer, and what happens to a card that is being signed when it answers anything else: it is refused,
nothing is kept, the order stands, and the same user can sign again (threats.md 2.4)."""
import re
import time

import client
import forgery
from harness import cases, until

NO_CARD = 'sosigw_no_valid_idcard_in_cache'
AWAITING = 'sosigw_awaiting_signing'
INTERNAL = 'sosigw_internal_error'
SIGNING = 'sosigw_missing_signinginfo_in_request'


# the helpers' first argument is w, as what takes a world is a test

def order(w, who, **options):
	"""An order, signed by its user: the request for signIdCard."""
	ordered = w.post_service(client.order_card(who), **options).parse()
	return client.sign_id_card(who, client.sign(ordered.digest, w.certs.key('moces')), w.certs.cert('moces'))


def is_not_kept(w, who):
	w.refused(w.post_service(client.get_valid_id_card(who)), AWAITING)
	with w.nothing_forwarded():
		w.refused(w.post_proxy(w.proxy_request(who)), NO_CARD)


def refused_then_signed(w, mode, says=None, **settings):
	"""The card is refused when the STS answers so; the fault. The same order is good when the STS is."""
	lars = w.user()
	signed = order(w, lars)
	with w.sts(mode, **settings):
		fault = w.refused(w.post_service(signed), INTERNAL, says)
	is_not_kept(w, lars)
	answer = w.post_service(signed)
	assert answer.parse().ok, answer.body
	return fault


# ---- an STS that is not well

@cases(('a web page', 'html', {}), ('an error page', 'html', {'status': 503}), ('nothing', 'empty', {}), ('another address', 'redirect', {}),
    ('half an answer', 'cut', {}), ('100 MB', 'big', {}), ('not well-formed', 'malformed', {}), ('a DOCTYPE', 'doctype', {}),
    ('no card', 'no-card', {}), ('no HTTP', 'garbage', {}), ('a reset', 'reset', {}))
def an_answer_that_is_none_is_refused_and_the_order_stands(world, mode, settings):
	refused_then_signed(world, mode, **settings)


@cases(('silent', 'silent', {}), ('too slow', 'slow', {'ms': 6000}), ('silent from the middle on', 'stalled', {}))
def an_sts_that_does_not_answer_is_given_up(world, mode, settings):
	began = time.monotonic()
	refused_then_signed(world, mode, says='does not answer in time', **settings)
	assert time.monotonic() - began < 4, 'the configuration says 3 s'


def a_slow_answer_is_good(world):
	lars = world.user()
	signed = order(world, lars)
	with world.sts('slow', ms=1500):
		assert world.post_service(signed).parse().ok


def users_with_cards_do_not_notice(world):
	lars = world.user()
	world.order_and_sign(lars)
	with world.sts('silent'):
		began = time.monotonic()
		assert world.post_proxy(world.proxy_request(lars)).status == 200
		assert time.monotonic() - began < 1


# ---- faults

@cases(('status 500', 'fault'), ('status 200', 'fault200'))
def the_words_of_the_sts_reach_the_user(world, mode):
	words = 'Authentication failed: multiple authorizations found ([{J0184, 7170}, {J0185, 7170}]) <&> æøå'
	refused_then_signed(world, mode, says=words, text=words)


def the_sts_says_whose_authorisation_is_missing(world):
	"""The fault is the test STS's own judgement of what it is sent."""
	lars = world.user(role='5433', code=None)
	world.refused(world.post_service(order(world, lars)), INTERNAL, 'missing authorization')


def what_the_sts_says_is_text_and_not_markup(world):
	fault = refused_then_signed(world, 'fault', says='</faultstring><detail/>x', text='</faultstring><detail/>' + 'x' * 20000)
	assert len(fault.string) < 5000, len(fault.string)


# ---- cards that were not asked for

@cases(*[(mode, mode) for mode in ('other-role', 'other-system', 'other-level', 'other-organisation', 'other-cpr', 'wrong-key', 'broken-signature',
    'expired-card', 'future-card', 'wrong-status')])
def a_card_that_was_not_asked_for_is_refused(world, mode):
	refused_then_signed(world, mode)


@cases(*[(f'{shape}: {evil}', shape, evil) for shape in forgery.WRAPPED for evil in ('other-person', 'other-role')])
def a_wrapped_card_is_refused(world, shape, evil):
	refused_then_signed(world, 'forged-shape', shape=shape, evil=evil)


@cases(*[(shape, shape) for shape in forgery.SHAPES if shape not in forgery.WRAPPED and shape not in forgery.RIGHT])
def a_card_of_another_form_is_refused(world, shape):
	refused_then_signed(world, 'forged-shape', shape=shape)


@cases(*[(shape, shape) for shape in forgery.RIGHT])
def the_same_card_made_right_is_good(world, shape):
	"""Or the forgeries would prove nothing."""
	lars = world.user()
	with world.sts('forged-shape', shape=shape):
		world.order_and_sign(lars)
	assert not world.get_card(lars).fault


# ---- the same forgeries in the cards of requests, whose user has none here

# what is wrong only beside the order that it answers; in a request it is a card of the STS like any other
RIGHT_ALONE = ('level 3', 'level 1', 'the id of a system', 'another given name', 'another surname', 'another certificate')
FORGED = [shape for shape in forgery.SHAPES if shape not in forgery.RIGHT and shape not in RIGHT_ALONE]


def with_forged_card(w, who, shape):
	"""A call with the card that the STS gives in that shape."""
	signed = client.signed_card(who, w.certs.key('moces'), w.certs.cert('moces'))
	with w.sts('forged-shape', shape=shape, evil='other-role'):
		answer = client.Http(w.sandbox['sts']).post('/sts/services/NewSecurityTokenService', client.sts_request(signed)).body
	token = re.search(rb'<wst:RequestedSecurityToken>(.*)</wst:RequestedSecurityToken>', answer, re.S)[1]
	return re.sub(rb'<saml:Assertion[ >].*?</saml:Assertion>', lambda _: token, w.proxy_request(who), count=1, flags=re.S)


def a_forged_card_in_a_request_is_never_passed_on(world):
	lars = world.user()
	for shape in ('as it should be', 'SHA-256'):
		assert world.post_proxy(with_forged_card(world, lars, shape)).status == 200, shape
	wrong, before = [], world.stub_count()
	for shape in FORGED:
		answer = world.post_proxy(with_forged_card(world, lars, shape)).parse()
		if answer.fault_code not in (NO_CARD, 'sosigw_no_valid_idcard_in_request', 'sosigw_syntax_error_in_request'):
			wrong.append((shape, answer.fault_code, answer.string))
	assert not wrong, wrong
	assert world.stub_count() == before, 'something was forwarded'


def what_the_sts_got_wrong_is_in_the_audit(world):
	lars = world.user()
	signed = order(world, lars)
	expected = []
	for mode, settings, reason in (('fault', {}, 'STS_FAULT'), ('html', {}, 'STS_ANSWER'), ('other-role', {}, 'STS_CARD'),
	    ('reset', {}, 'STS_UNREACHABLE'), ('forged-shape', {'shape': 'XSLT'}, 'STS_CARD'), ('silent', {}, 'STS_TIMEOUT')):
		with world.sts(mode, **settings):
			world.refused(world.post_service(signed), INTERNAL)
		expected.append(('failed', reason))
	rows = world.audit(least=1 + len(expected), user=lars.name_id)
	assert [(r['status'], r['reason']) for r in rows if r['operation'] == 'signIdCard'] == expected[::-1], rows


# ---- several STSs

def several(*urls, **more):
	def change(document):
		document['sts'].update(urls=[u or document['sts']['urls'][0] for u in urls], **more)
	return change


def where_nobody_listens(w):
	return w.sandbox['nobody'] + '/sts/services/NewSecurityTokenService'


def a_second_sts_signs_when_the_first_is_gone(world):
	lars = world.user()
	with world.configured(several(where_nobody_listens(world), None)):
		world.order_and_sign(lars)
	assert not world.get_card(lars).fault


def a_second_sts_is_asked_when_the_first_says_nothing(world):
	"""The service stub's /hang stands in for an STS that is stuck. After the first time it is asked last."""
	with world.configured(several(world.service('hang'), None, answer_ms=1000)):
		seconds = []
		for _ in range(5):
			lars = world.user()
			signed = order(world, lars)
			began = time.monotonic()
			assert world.post_service(signed).parse().ok
			seconds.append(time.monotonic() - began)
	# two workers have to find out, each for itself
	assert sum(s > 0.9 for s in seconds) in (1, 2), seconds


def an_address_that_is_no_sts_is_left_for_the_next(world):
	"""The service stub answers it, with a status or a body that no STS has."""
	for path in ('nothing-of-that-name', 'status/404', 'status/503', 'redirect'):
		lars = world.user()
		with world.configured(several(world.service(path), None)):
			world.order_and_sign(lars)
		assert not world.get_card(lars).fault


def silent_stss_are_given_up_in_bounded_time(world):
	lars = world.user()
	signed = order(world, lars)
	with world.configured(several(*[world.service(f'hang?{i}') for i in range(5)], connect_ms=500, answer_ms=1000)):
		began = time.monotonic()
		world.refused(world.post_service(signed), INTERNAL, 'does not answer in time')
		assert time.monotonic() - began < 4, 'twice what one may take'


def a_refusal_of_the_first_sts_stands(world):
	"""A fault is an answer: no second opinion is asked for."""
	lars = world.user()
	signed = order(world, lars)
	before = world.sts_control()['exchanges']
	with world.configured(several(None, None)), world.sts('fault'):
		world.refused(world.post_service(signed), INTERNAL)
	assert world.sts_control()['exchanges'] == before + 1


def with_no_sts_at_all_the_order_stands(world):
	lars = world.user()
	signed = order(world, lars)
	with world.configured(several(where_nobody_listens(world), where_nobody_listens(world) + '?2')):
		world.refused(world.post_service(signed), INTERNAL, 'cannot be reached')
		is_not_kept(world, lars)
	assert world.post_service(signed).parse().ok


def a_new_sts_certificate_is_trusted_beside_the_old(world):
	"""As when the STS changes its key: both are listed for a while."""
	lars = world.user()
	signed = order(world, lars)
	with open(world.certs.path('sts-other.pem'), encoding='ascii') as f:
		other = f.read()

	def both(document):
		document['sts']['certificates'].append(other)
	with world.configured(both), world.sts('wrong-key'):
		assert world.post_service(signed).parse().ok
		assert not world.get_card(lars).fault


def without_sha1(document):
	document['sts']['refuse_sha1'] = True


def counted(w):
	"""What the STS was asked for; it is as it should be again."""
	return w.sts_control()['exchanges']


def one_switch_refuses_sha1_in_what_users_sign(world):
	"""Orders that are older than the switch too; later ones say SHA-256, whatever the organisation is set to."""
	lars, mette = world.user(), world.user()
	signed = order(world, lars)
	before = counted(world)
	with world.configured(without_sha1):
		world.refused(world.post_service(signed), SIGNING)
		assert counted(world) == before, 'the STS was asked'
		is_not_kept(world, lars)
		digest = world.post_service(client.order_card(mette)).parse().digest
		assert b'rsa-sha256' in digest and b'sha1' not in digest, digest
		value = client.sign(digest, world.certs.key('moces'), 'sha256')
		with world.sts('forged-shape', shape='SHA-256'):
			assert world.post_service(client.sign_id_card(mette, value, world.certs.cert('moces'))).parse().ok
	assert world.post_service(signed).parse().ok, 'the switch is off again'


@cases(('signature and digest', 'as it should be', False), ('digest', 'SHA-256 over a SHA-1 digest', False),
    ('signature', 'SHA-1 over a SHA-256 digest', False), ('neither', 'SHA-256', True))
def one_switch_refuses_sha1_in_what_the_sts_answers(world, shape, good):
	lars = world.user()
	with world.configured(without_sha1), world.sts('forged-shape', shape=shape):
		digest = world.post_service(client.order_card(lars)).parse().digest
		value = client.sign(digest, world.certs.key('moces'), 'sha256')
		answer = world.post_service(client.sign_id_card(lars, value, world.certs.cert('moces')))
		assert answer.parse().ok if good else world.refused(answer, INTERNAL)


@cases(('SHA-1', 'normal', False), ('SHA-256', 'forged-shape', True))
def one_switch_refuses_sha1_in_the_cards_of_requests(world, mode, good):
	"""A card that the STS has signed, whose user has none here."""
	lars = world.user()
	signed = client.signed_card(lars, world.certs.key('moces'), world.certs.cert('moces'))
	with world.sts(mode, shape='SHA-256'):
		card = client.Http(world.sandbox['sts']).post('/sts/services/NewSecurityTokenService', client.sts_request(signed)).parse().card
	request = re.sub(rb'<saml:Assertion[ >].*?</saml:Assertion>', lambda _: card, world.proxy_request(lars), count=1, flags=re.S)
	assert world.post_proxy(request).status == 200
	with world.configured(without_sha1):
		if good:
			assert world.post_proxy(request).status == 200
		else:
			with world.nothing_forwarded():
				world.refused(world.post_proxy(request), 'sosigw_no_valid_idcard_in_request')


@cases(('SHA-1', 'sha1', False), ('SHA-256', 'sha256', True))
def one_switch_refuses_sha1_in_requests_with_bootstrap_tokens(world, hash_name, good):
	request = client.bst_request(world.user(), world.certs, hash_name=hash_name)
	before = counted(world)
	with world.configured(without_sha1), world.sts('normal'):
		answer = world.http().post(client.BST, request).parse()
		assert ('SHA-1' not in (answer.string or '')) == good, answer.string
		assert (counted(world) > before) == good


def used(w, name):
	return sum(p[name] for p in w.programs() if p[name] is not None)


@cases(('SHA-1', 'as it should be', 'signatures_sha1'), ('SHA-256', 'SHA-256', 'signatures_sha2'))
def the_use_of_either_hash_is_counted_where_the_servers_are_shown(world, shape, name):
	lars = world.user()
	signed = order(world, lars)
	before = used(world, name)
	with world.sts('forged-shape', shape=shape):
		assert world.post_service(signed).parse().ok
	assert until(lambda: used(world, name) > before, 15), 'the card is not counted'
	housekeeper, = (p for p in world.programs() if p['program'] == 'housekeeper')
	assert housekeeper[name] is None


def the_age_of_the_lists_and_the_days_that_certificates_have_left_are_shown(world):
	member, = until(lambda: [m for m in world.members() if m['certificates']], 90)
	lists = member['revocation_lists']
	assert [x['url'] for x in lists] == world.configuration()['trust']['crl_urls']
	assert all(0 < x['age_seconds'] < 86400 and x['overdue_seconds'] == 0 for x in lists), lists
	left = {x['use']: x['days_left'] for x in member['certificates']}
	assert 700 < left['sts.certificates[0]'] < 731 and left['trust.roots[0]'] > 3000, left
	assert f"certificates: {member['certificates_count']}; the first to end:" in world.ctl('cluster')


# ---- how long a card is good

def a_card_that_nears_its_end_is_gone_before_it(world):
	"""The margin is 60 s; the STS gives 65."""
	lars = world.user()
	signed = order(world, lars)
	with world.sts('minute-left'):
		assert world.post_service(signed).parse().ok
	assert not world.get_card(lars).fault

	def wider(document):
		document['times']['expiry_margin_seconds'] = 120
	with world.configured(wider):
		world.refused(world.post_service(client.get_valid_id_card(lars)), NO_CARD)
		with world.nothing_forwarded():
			assert world.refused(world.post_proxy(world.proxy_request(lars)), NO_CARD).implicit


def a_clock_that_runs_ahead_is_forgiven_as_far_as_is_configured(world):
	"""The card begins in 25 seconds; 30 are forgiven unless the configuration says less."""
	lars = world.user()
	signed = order(world, lars)

	def strict(document):
		document['times']['clock_skew_seconds'] = 5
	with world.sts('soon-card'):
		with world.configured(strict):
			world.refused(world.post_service(signed), INTERNAL)
			is_not_kept(world, lars)
		assert world.post_service(signed).parse().ok
	assert not world.get_card(lars).fault


def a_service_can_demand_a_younger_card(world):
	"""Cards of the STS begin five minutes ago; the service wants one minute."""
	lars = world.user()
	world.order_and_sign(lars)
	young = world.proxy_request(lars, world.service('service?young'))
	with world.nothing_forwarded():
		refused = world.refused(world.post_proxy(young), NO_CARD)
	assert refused.implicit and refused.digest
	assert world.post_proxy(world.proxy_request(lars)).status == 200, 'others take it'

	def patient(document):
		next(s for s in document['services'] if s['id'] == 'young')['max_card_age_minutes'] = 10
	with world.configured(patient):
		assert world.post_proxy(young).status == 200
