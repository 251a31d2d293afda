"""createIdCardFromBST: a bootstrap token becomes a card that later calls carry."""
import client
from harness import cases

NO_CARD = 'sosigw_no_valid_idcard_in_cache'
SYNTAX = 'sosigw_syntax_error_in_request'
INTERNAL = 'sosigw_internal_error'
WSA = client.WSA2005
RSTR = (f'{{{client.SOAP}}}Body/{{{client.WST13}}}RequestSecurityTokenResponseCollection/'
	f'{{{client.WST13}}}RequestSecurityTokenResponse')


# the helpers' first argument is w, as what takes a world is a test

def create(w, who, client_id='epj-a', path=client.BST, action=client.ACTION['createIdCardFromBST'], **request):
	return w.http(client_id).post(path, client.bst_request(who, w.certs, **request), action=action)


def created(w, who, **options):
	parsed = create(w, who, **options).parse()
	assert not parsed.fault, parsed.string
	return parsed


def is_gone(w, who, client_id='epj-a'):
	w.refused(w.post_service(client.get_valid_id_card(who), client_id), NO_CARD)


@cases(('its own address', client.BST, client.ACTION['createIdCardFromBST']), ('quoted', client.BST, '"Issue"'), ('no action', client.BST, None),
    ('with the card operations', client.SERVICE, None))
def a_token_becomes_a_card_that_later_calls_carry(world, path, action):
	lars = world.user()
	answer = created(world, lars, path=path, action=action)
	card = client.read_card(answer.card)
	assert not card['signed'] and card['NameID'] == lars.name_id and card['sosi:AuthenticationLevel'] == '4', card
	# the client sends back what it got
	before = world.stub_count()
	called = world.post_proxy(world.proxy_request(lars, assertion=answer.card.decode()))
	assert called.status == 200, called.body
	carried = client.card_in(world.forwarded(before)['body'])
	good, said = client.verify_card(carried, world.certs.path('sts.pem'))
	assert good, said
	assert client.read_card(carried)['sosi:IDCardID'] == card['sosi:IDCardID']


def the_answer_has_the_form_of_the_sts_and_no_signature(world):
	lars = world.user()
	request = client.bst_request(lars, world.certs)
	answer = world.http().post(client.BST, request)
	assert answer.status == 200 and answer.headers['Content-Type'] == 'text/xml; charset=utf-8', answer.headers
	root, asked = answer.parse().root, client.etree.fromstring(request)
	header = f'{{{client.SOAP}}}Header/'
	assert root.find(f'.//{{{client.DS}}}Signature') is None
	assert root.findtext(f'{header}{{{WSA}}}RelatesTo') == asked.findtext(f'{header}{{{WSA}}}MessageID')
	assert root.findtext(f'{header}{{{WSA}}}Action') == client.WST13 + '/RST/Issue'
	assert root.findtext(f'{header}{{{WSA}}}MessageID').startswith('urn:uuid:')
	response = root.find(RSTR)
	rst = asked.find(f'{{{client.SOAP}}}Body/{{{client.WST13}}}RequestSecurityToken')
	assert response.get('Context') == rst.get('Context')
	assert response.findtext(f'{{{client.WST13}}}TokenType').endswith('#SAMLV2.0')
	assert response.findtext(f'.//{{{WSA}}}Address') == 'https://fmk'
	lifetime = response.find(f'{{{client.WST13}}}Lifetime')
	card = client.read_card(client.etree.tostring(response.find(f'{{{client.WST13}}}RequestedSecurityToken/{{{client.SAML}}}Assertion')))
	assert [e.text for e in lifetime] == [card['NotBefore'], card['NotOnOrAfter']]


def the_request_reaches_the_sts_as_it_came(world):
	request = client.bst_request(world.user(), world.certs)
	answer = world.http().post(client.BST, (request[:3000], request[3000:]), chunked=True)
	assert answer.status == 200, answer.body
	assert client.Http(world.sandbox['sts']).get('/last').body == request


def an_encrypted_token_is_the_business_of_the_sts(world):
	lars = world.user()
	token = client.encrypted_token(client.bootstrap_token(lars, world.certs), world.certs.cert('sts'))
	created(world, lars, token=token)
	assert not world.get_card(lars).fault


def a_card_is_kept_under_the_name_that_the_sts_gave_it(world):
	lars = world.user()
	claims = client.bst_claims(lars)
	alias = lars.but(name_id=lars.name_id + ' alias')
	created(world, lars, claims={**claims, 'sosi:SubjectNameID': alias.name_id})
	assert not world.get_card(alias).fault
	is_gone(world, lars)
	del claims['sosi:SubjectNameID']
	# the STS of the tests takes the token's own then
	created(world, lars, claims=claims)
	assert not world.get_card(lars).fault


def the_card_is_shared_in_the_organisation_and_not_outside(world):
	lars = world.user()
	created(world, lars)
	assert not world.get_card(lars, 'lab-a').fault
	is_gone(world, lars, 'epj-b')


def a_new_token_replaces_the_card(world):
	lars = world.user()
	world.order_and_sign(lars)
	first = client.read_card(world.get_card(lars).card)
	second = client.read_card(created(world, lars).card)
	assert first['sosi:IDCardID'] != second['sosi:IDCardID']
	assert client.read_card(world.get_card(lars).card)['sosi:IDCardID'] == second['sosi:IDCardID']


@cases(('one-way', client.logout), ('with response', client.logout_with_response))
def after_logout_such_a_card_is_gone(world, message):
	lars = world.user()
	answer = created(world, lars)
	assert world.post_service(message(lars)).status in (200, 202)
	is_gone(world, lars)
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(lars, assertion=answer.card.decode())), NO_CARD)


@cases(('another person', 'other-person'), ('another CPR number', 'other-cpr'), ('another system', 'other-system'), ('another role', 'other-role'),
    ('another level', 'other-level'), ('signed by another', 'forged'), ('another key', 'wrong-key'), ('unsigned', 'unsigned'),
    ('changed after signing', 'tampered'), ('ended', 'expired-card'), ('begins later', 'future-card'), ('two cards', 'two-cards'),
    ('no card', 'no-card'), ('garbage', 'garbage'), ('a web page', 'html'), ('nothing', 'empty'), ('half', 'cut'), ('malformed', 'malformed'),
    ('DOCTYPE', 'doctype'), ('reset', 'reset'), ('redirect', 'redirect'), ('too much', 'big'))
def what_the_sts_gets_wrong_is_not_kept(world, mode):
	lars = world.user()
	with world.sts(mode):
		world.refused(create(world, lars), INTERNAL)
	is_gone(world, lars)


def a_silent_sts_is_given_up(world):
	lars = world.user()
	with world.sts('silent'):
		answer = create(world, lars)
	world.refused(answer, INTERNAL, 'not answer in time')
	assert answer.seconds < 10, answer.seconds
	is_gone(world, lars)


@cases(('status 500', 'fault'), ('status 200', 'fault200'))
def a_fault_of_the_sts_is_passed_on_in_its_words(world, mode):
	with world.sts(mode, text='Authentication failed: a reason of its own'):
		world.refused(create(world, world.user()), INTERNAL, 'Authentication failed: a reason of its own')


def a_token_that_has_ended_is_refused_by_the_sts(world):
	lars = world.user()
	answer = create(world, lars, token=client.bootstrap_token(lars, world.certs, minutes=-1))
	world.refused(answer, INTERNAL, 'token has expired')
	is_gone(world, lars)


@cases(('signed by a person', {'signer': 'moces'}, 'may not sign'), ('an unknown authorisation', {'code': 'XXXXX'}, 'authorization not found'))
def what_the_sts_refuses_is_told(world, change, text):
	lars = world.user(code=change.pop('code', client.LARS.code))
	world.refused(create(world, lars, **change), INTERNAL, text)


def a_token_of_another_organisation_is_refused(world):
	lars = world.user()
	world.refused(create(world, lars, 'epj-b'), 'sosigw_access_denied', 'another organisation')
	is_gone(world, lars, 'epj-b')
	with world.sts('other-organisation'):
		world.refused(create(world, lars), 'sosigw_access_denied', 'another organisation')
	is_gone(world, lars)


@cases(('a stranger', None), ('from another net', 'far-a'))
def an_unknown_client_is_refused_and_the_sts_not_asked(world, who):
	before = world.sts_control()['exchanges']
	world.refused(create(world, world.user(), who), 'sosigw_access_denied')
	assert world.sts_control()['exchanges'] == before


@cases(('no system', lambda r: r.replace(b'Uri="medcom:ITSystemName"', b'Uri="medcom:Other"'), 'medcom:ITSystemName'),
    ('an empty system', lambda r: r.replace(b'<auth:Value>Sygdom.dk</auth:Value>', b'<auth:Value/>'), 'medcom:ITSystemName'),
    ('no token', lambda r: r[:r.index(b'<wst14:ActAs>')] + r[r.index(b'</wst14:ActAs>') + 14:], 'wst14:ActAs'),
    ('two requests', lambda r: r.replace(b'</soapenv:Body>', b'<wst:RequestSecurityToken/></soapenv:Body>'), 'soap:Body'),
    ('DOCTYPE', lambda r: b'<!DOCTYPE x>' + r, 'DOCTYPE'),
    ('not well-formed', lambda r: r[:-5], 'well-formed'),
    ('the older WS-Trust', lambda r: r.replace(client.WST13.encode(), client.WST.encode()), 'Unknown operation'),
    ('too long', lambda r: r.replace(b'<!-- ', b'<!-- ' + b'x' * 262144), 'too large'))
def a_bad_request_is_refused_and_the_sts_not_asked(world, change, text):
	before = world.sts_control()['exchanges']
	answer = world.http().post(client.BST, change(client.bst_request(world.user(), world.certs)))
	world.refused(answer, SYNTAX, text)
	assert world.sts_control()['exchanges'] == before


def without_an_address_at_the_sts_it_is_not_offered(world):
	def change(document):
		document['sts']['bst_urls'] = []
	with world.configured(change):
		world.refused(create(world, world.user()), INTERNAL, 'sts.bst_urls')
		assert not world.order_and_sign(world.user()).parse().fault


def another_sts_is_asked_when_the_first_is_gone(world):
	def change(document):
		document['sts']['bst_urls'].insert(0, world.sandbox['nobody'] + '/sts')
	with world.configured(change):
		lars = world.user()
		created(world, lars)
		assert not world.get_card(lars).fault


def with_session_ids_a_token_begins_a_session(world):
	def change(document):
		next(o for o in document['organisations'] if o['id'] == 'region-a')['session_ids'] = True
	with world.configured(change):
		lars = world.user()
		answer = created(world, lars)
		session = answer.root.findtext(f'{{{client.SOAP}}}Header/{{{client.GW}}}sessionId')
		assert session and len(session) > 30, session
		is_gone(world, lars)
		assert not world.get_card(lars.but(name_id=session)).fault
		again = created(world, lars).root.findtext(f'{{{client.SOAP}}}Header/{{{client.GW}}}sessionId')
		assert again != session
		world.logout(lars.but(name_id=session))
		is_gone(world, lars.but(name_id=session))
		assert not world.get_card(lars.but(name_id=again)).fault


def it_leaves_an_audit_record(world):
	lars = world.user()
	card = client.read_card(created(world, lars, client_id='lab-a').card)
	row, = world.audit(user=lars.name_id)
	assert row['operation'] == 'createIdCardFromBST' and row['status'] == 'ok' and row['client'] == 'lab-a', row
	assert row['card_id'] == card['sosi:IDCardID'] and row['system'] == lars.system and row['organisation'] == 'region-a', row


def a_refused_exchange_leaves_one_too(world):
	lars = world.user()
	with world.sts('other-system'):
		create(world, lars)
	row, = world.audit(user=lars.name_id)
	assert row['operation'] == 'createIdCardFromBST' and row['status'] == 'failed' and row['reason'] == 'STS_CARD', row
	assert not row['card_id'], row
