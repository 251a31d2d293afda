"""Whose call it is and where it goes hang on the head of the message alone, and never on which of two things comes first."""
import re
import unicodedata

import client
from harness import cases
from hostile import Refusals, passes, signed_in, swap

ENVELOPE, HEADER, BODY = '<soapenv:Envelope', '<soapenv:Header>', '<soapenv:Body>'
NS_ENVELOPE = f'xmlns:soapenv="{client.SOAP}"'
SECURITY = re.compile(rb'<wsse:Security.*?</wsse:Security>', re.S)
CARD = re.compile(rb'<saml:Assertion .*?</saml:Assertion>', re.S)
SUBJECT = re.compile(rb'<saml:Subject>.*?</saml:Subject>', re.S)
NAME_ID = re.compile(rb'<saml:NameID[^>]*>([^<]*)</saml:NameID>')


def put(pattern, text):
	"""Replaces what the pattern finds first; @ in the text is what was there."""
	def change(message):
		found = pattern.search(message)
		assert found, f'{pattern.pattern!r} is not in the message'
		by = (text if isinstance(text, bytes) else text.encode()).replace(b'@', found[0])
		return message[:found.start()] + by + message[found.end():]
	return change


def name_id(text):
	return put(NAME_ID, f'<saml:NameID Format="medcom:other">{text}</saml:NameID>')


def rebind(m):
	"""The card's usual prefixes mean something else on the envelope; the client's own card uses others."""
	for old, new in ((b'saml', b'a1'), (b'ds', b'b2'), (b'wsse', b'c3')):
		m = re.sub(b'(</?|xmlns:)' + old + b'(?=[:=])', rb'\g<1>' + new, m)
	return swap(m, ENVELOPE, f'{ENVELOPE} xmlns:saml="urn:evil" xmlns:ds="urn:evil" xmlns:wsse="urn:evil"')


# ---- the envelope

def element(name, text):
	"""Moves the whole element, so named, out of the message and to what text says; @ is the element."""
	return put(re.compile(f'<{name}[ >].*</{name}>'.encode(), re.S), text)


ENVELOPES = (
	('no namespace', lambda m: m.replace(NS_ENVELOPE.encode(), b'xmlns:soapenv="urn:x"'), 'NO_ENVELOPE'),
	('namespace without its slash', lambda m: m.replace(b'soap/envelope/"', b'soap/envelope"'), 'NO_ENVELOPE'),
	('namespace in upper case', lambda m: m.replace(b'schemas.xmlsoap', b'SCHEMAS.xmlsoap'), 'NO_ENVELOPE'),
	('no prefix declared', lambda m: swap(m, NS_ENVELOPE, ''), 'XML'),
	('SOAP 1.2', lambda m: m.replace(client.SOAP.encode(), b'http://www.w3.org/2003/05/soap-envelope'), 'SOAP_12'),
	('another root', lambda m: swap(m, ENVELOPE, f'<x {NS_ENVELOPE}>{ENVELOPE}') + b'</x>', 'NO_ENVELOPE'),
	('envelope in an envelope', lambda m: swap(m, ENVELOPE,
	    f'<soapenv:Envelope {NS_ENVELOPE}>{ENVELOPE}') + b'</soapenv:Envelope>', 'ENVELOPE_FORM'),
	('lower case', lambda m: m.replace(b':Envelope', b':envelope'), 'NO_ENVELOPE'),
	('no envelope', lambda m: b'<x/>', 'NO_ENVELOPE'),
	('no XML', lambda m: b'hello', 'XML'),
	('JSON', lambda m: b'{"a": 1}', 'XML'),
	('two Headers', lambda m: swap(m, HEADER, f'<soapenv:Header/>{HEADER}'), 'ENVELOPE_FORM'),
	('two Headers, ours first', lambda m: swap(m, BODY, f'<soapenv:Header/>{BODY}'), 'ENVELOPE_FORM'),
	('Header in Header', lambda m: swap(m, HEADER, f'{HEADER}<soapenv:Header/>'), 'ENVELOPE_FORM'),
	('Body in Header', lambda m: swap(m, HEADER, f'{HEADER}<soapenv:Body/>'), 'ENVELOPE_FORM'),
	('Body in Security', lambda m: swap(m, '<wsu:Timestamp>', '<soapenv:Body/><wsu:Timestamp>'), 'ENVELOPE_FORM'),
	('Envelope in Header', lambda m: swap(m, HEADER, f'{HEADER}<soapenv:Envelope/>'), 'ENVELOPE_FORM'),
	('prefix re-bound on Header', lambda m: swap(m, HEADER, '<soapenv:Header xmlns:soapenv="urn:x">'), 'ENVELOPE_FORM'),
	('prefix re-bound on Body', lambda m: swap(m, BODY, '<soapenv:Body xmlns:soapenv="urn:x">'), 'ENVELOPE_FORM'),
	('Header of another namespace', lambda m: swap(m, HEADER, '<Header>').replace(b'</soapenv:Header>', b'</Header>'),
	    'ENVELOPE_FORM'),
	('something before Header', lambda m: swap(m, HEADER, f'<x/>{HEADER}'), 'ENVELOPE_FORM'),
	('something before Body', lambda m: swap(m, BODY, f'<x/>{BODY}'), 'ENVELOPE_FORM'),
	('SOAP 1.2 Header', lambda m: swap(m, HEADER,
	    f'<e:Header xmlns:e="http://www.w3.org/2003/05/soap-envelope">').replace(b'</soapenv:Header>', b'</e:Header>'),
	    'ENVELOPE_FORM'),
	('no Body', element('soapenv:Body', ''), 'ENVELOPE_FORM'),
	('no Header', element('soapenv:Header', ''), 'NO_CARD_IN_REQUEST'),
	('empty Header', element('soapenv:Header', '<soapenv:Header/>'), 'NO_CARD_IN_REQUEST'),
	('neither', lambda m: element('soapenv:Header', '')(element('soapenv:Body', '')(m)), 'ENVELOPE_FORM'),
)


def an_envelope_of_another_form_is_refused(world):
	lars = signed_in(world)
	good = client.proxy(lars, world.service('sink'))
	passes(world, good)
	with Refusals(world) as refused:
		for note, changes, reason in ENVELOPES:
			refused.post(note, changes(good), reason)
		refused.post('the type of SOAP 1.2', good, 'SOAP_12', headers={'Content-Type': 'application/soap+xml; charset=utf-8'})
		for kind in ('text/plain', 'application/json', 'application/x-www-form-urlencoded', 'application/xml', 'text/html',
		    'multipart/form-data; boundary=x', 'x'):
			refused.post(kind, good, 'CONTENT_TYPE', headers={'Content-Type': kind})
	with Refusals(world, client.SERVICE) as refused:
		for note, changes, reason in ENVELOPES:
			refused.post(note, changes(client.get_valid_id_card(lars)), reason)
		for note, text in (('Header after Body', f'@<soapenv:Header/>'), ('two Bodies', '@<soapenv:Body/>'),
		    ('something after Body', '@<x/>')):
			refused.post(note, element('soapenv:Body', text)(client.get_valid_id_card(lars)), 'ENVELOPE_FORM')
		refused.post('two operations', swap(client.get_valid_id_card(lars), '<getValid',
		    '<logoutRequestBody xmlns="http://sosi.dk/gw/2007.09.01"/><getValid'),
		    'TWO_OPERATIONS')
		refused.post('an unknown operation', client.operation('x', '', lars), 'OPERATION')
		refused.post('no operation', client.get_valid_id_card(lars).replace(b'getValidIdCardRequestBody', b'x'), 'OPERATION')


@cases(('a second Header', '@<soapenv:Header/>'), ('a second Body', '@<soapenv:Body/>'), ('more', '@<x/><!-- x -->'))
def what_follows_the_body_is_the_services_to_judge(world, text):
	passes(world, element('soapenv:Body', text)(client.proxy(signed_in(world), world.service('sink'))))


# ---- what looks like the end of the header

LURES = (
	('comment', '<!-- </soapenv:Header><soapenv:Body> -->'),
	('comment with a whole header', '<!--</soapenv:Header><soapenv:Body></soapenv:Body></soapenv:Envelope>-->'),
	('CDATA', '<x><![CDATA[</soapenv:Header><soapenv:Body>]]></x>'),
	('attribute', '<x a="&lt;/soapenv:Header>&lt;soapenv:Body>" b=\'</soapenv:Header>\'/>'.replace("'</", "'&lt;/")),
	('attribute with quotes', '<x a=\'"/>&lt;/soapenv:Header>"\' b="\'>"/>'),
	('character references', '<x>&#60;/soapenv:Header&#62;&lt;soapenv:Body></x>'),
	('comment in a comment', '<!-- <!- </soapenv:Header> -->'),
	('a Body of another namespace', '<x:Body xmlns:x="urn:x"><x:Header/></x:Body>'),
	('a comment with a card', '<!-- <saml:Assertion id="IDCard"> -->'),
	('CDATA with a card', '<x><![CDATA[<wsse:Security><saml:Assertion id="IDCard"/></wsse:Security>]]></x>'),
	('comment with To', '<!-- <To xmlns="http://www.w3.org/2005/08/addressing">http://evil.example/</To> -->'),
	('odd white space', '\r\n\t <x\n\ta = "1"\r\n\t/ >'.replace('/ >', '/>') + '\r\n\r\n'),
)


@cases(*LURES)
def what_only_looks_like_the_end_of_the_header_is_passed_on(world, lure):
	lars = signed_in(world)
	good = client.proxy(lars, world.service('service'))
	for at in ('<wsse:Security', '<wsu:Timestamp>', '</soapenv:Header>', BODY):
		if at == BODY and lure.lstrip()[:4] != '<!--':
			continue	# only comments may stand between Header and Body
		got = passes(world, swap(good, at, lure + at))
		assert got['user'] and got['verdict'] == 'ok', got


@cases(('envelope', lambda m: m), ('card', lambda m: CARD.search(m)[0]), ('Security', lambda m: SECURITY.search(m)[0]),
    ('header', lambda m: re.search(
    rb'<soapenv:Header>.*</soapenv:Header>', m, re.S)[0]), ('To', lambda m: re.search(rb'<To .*?</To>', m)[0]))
def what_stands_in_the_body_is_payload(world, part):
	lars, other = signed_in(world), signed_in(world)
	inner = part(client.proxy(other, world.service('service')))
	inner = re.sub(rb'<\?xml.*?\?>\n?', b'', inner).replace(b'<saml:', b'<saml:').decode()
	sent = client.proxy(lars, world.service('sink'),
	    body=f'<x xmlns:soapenv="{client.SOAP}" xmlns:saml="{client.SAML}" xmlns:ds="{client.DS}">{inner}</x>')
	got = passes(world, sent)
	row, = world.audit(user=lars.name_id, kind='proxy')
	assert (row['endpoint'], row['card_id']) == (world.service('sink'),
	    client.read_card(client.card_in(got['body']))['sosi:IDCardID'])


# ---- the card that is put in

SURROUNDINGS = (
	('prefixes bound to something else', rebind),
	('default namespace on Header', lambda m: swap(m, HEADER, '<soapenv:Header xmlns="urn:evil">')),
	('default namespace on Envelope', lambda m: swap(m, ENVELOPE, f'{ENVELOPE} xmlns="urn:evil"')),
	('default namespace on Security', lambda m: swap(m, '<wsse:Security', '<wsse:Security xmlns="urn:evil"')),
	('xml:lang and xml:space', lambda m: swap(m, ENVELOPE, f'{ENVELOPE} xml:lang="da" xml:space="preserve"')),
	('many namespaces', lambda m: swap(m, ENVELOPE, ENVELOPE + ''.join(f' xmlns:n{i}="urn:{i}"' for i in range(40)))),
	('white space in tags', lambda m: m.replace(b'</saml:Assertion>', b'</saml:Assertion\r\n\t>')),
	('CRLF between all', lambda m: m.replace(b'><saml:', b'>\r\n\t<saml:')),
)


@cases(*SURROUNDINGS)
def the_card_stands_by_itself_wherever_it_is_put(world, changes):
	sent = changes(client.proxy(signed_in(world), world.service('service')))
	before = world.stub_count()
	answer = world.post_proxy(sent)
	assert answer.status == 200, answer.body
	got = world.forwarded(before)
	theirs, ours = (re.sub(rb'<(\w+:)?Assertion .*?</(\w+:)?Assertion\s*>', b'<CARD/>', m, flags=re.S) for m in (sent,
	    got['body']))
	assert theirs == ours
	good, said = client.verify_card(client.card_in(got['body']), world.certs.path('sts.pem'))
	assert good, said


BLOCKS = (
	('mustUnderstand', '<x:y xmlns:x="urn:x" soapenv:mustUnderstand="1"/>'),
	('actor', '<x:y xmlns:x="urn:x" soapenv:actor="urn:somebody" soapenv:mustUnderstand="1">text</x:y>'),
	('Security for another actor',
	    f'<wsse:Security xmlns:wsse="{client.WSSE}" soapenv:actor="urn:somebody"><wsse:UsernameToken/></wsse:Security>'),
	('two of those',
	    ''.join(f'<wsse:Security xmlns:wsse="{client.WSSE}" soapenv:actor="urn:{x}"/>' for x in 'ab')),
	('unknown header',
	    '<whitelistingHeader xmlns="http://www.dkma.dk/medicinecard/xml.schema/2012/06/01"><a/></whitelistingHeader>'),
	('a NameID outside the card', f'<x><saml:NameID xmlns:saml="{client.SAML}">somebody-else</saml:NameID></x>'),
)


@cases(*BLOCKS)
def other_headers_are_kept(world, block):
	good = client.proxy(signed_in(world), world.service('sink'))
	for at in ('<wsse:Security', '</soapenv:Header>'):
		got = passes(world, swap(good, at, block + at))
		good_card, said = client.verify_card(CARD.search(got['body'])[0], world.certs.path('sts.pem'))
		assert good_card, said


def a_broken_signature_in_the_request_is_replaced_with_the_card(world):
	lars = signed_in(world)
	signed = world.get_card(lars).card.decode()
	stale = NAME_ID.sub(f'<saml:NameID Format="medcom:other">{lars.name_id}</saml:NameID>'.encode(), signed.encode()).decode()
	assert lars.name_id in stale
	before = world.stub_count()
	answer = world.post_proxy(client.proxy(lars, world.service('service'), assertion=stale))
	assert answer.status == 200, answer.body
	assert world.forwarded(before)['verdict'] == 'ok'
	stranger = world.user()
	with Refusals(world) as refused:
		for note, card in (('of a user without a card', stale.replace(lars.name_id, stranger.name_id)),
		    ('with no value', re.sub(r'<ds:SignatureValue>[^<]*', '<ds:SignatureValue>',
		    stale.replace(lars.name_id, stranger.name_id))),
		    ('an empty Signature', client.card(stranger, signature=f'<ds:Signature xmlns:ds="{client.DS}"/>'))):
			refused.post(note, client.proxy(stranger, world.service('service'), assertion=card),
			    ('CARD_NOT_TRUSTED', 'CARD_FORM'), {'user': stranger.name_id})


# ---- who

def cards_and_names(lars, other):
	"""Heads that name nobody, or two."""
	def card(who):
		return (f'<saml:Assertion xmlns:saml="{client.SAML}" id="x"><saml:Subject><saml:NameID>{who.name_id}</saml:NameID></saml:Subject>'
		    '</saml:Assertion>')

	def security(inner, more=''):
		return (f'<wsse:Security xmlns:wsse="{client.WSSE}" xmlns:saml="{client.SAML}" xmlns:ds="{client.DS}"{more}>{inner}'
		    '</wsse:Security>')

	mine = f'<saml:NameID Format="medcom:other">{lars.name_id}</saml:NameID>'
	theirs = f'<saml:NameID>{other.name_id}</saml:NameID>'
	advice = f'<saml:Advice>{card(other)}</saml:Advice>'

	def without_id(change):
		return lambda m: swap(change(m), 'id="IDCard"', '')

	return (
		('no card', put(CARD, ''), 'NO_CARD_IN_REQUEST'),
		('no Security', put(SECURITY, ''), 'NO_CARD_IN_REQUEST'),
		('a card outside Security', put(SECURITY, card(lars)), 'NO_CARD_IN_REQUEST'),
		('a card in another block', put(SECURITY, f'<x>{card(lars)}</x>'), 'NO_CARD_IN_REQUEST'),
		('a card deeper in Security', put(CARD, f'<x>{card(lars)}</x>'), 'NO_CARD_IN_REQUEST'),
		('a card of another namespace', without_id(lambda m: m.replace(client.SAML.encode(), b'urn:x')), 'NO_CARD_IN_REQUEST'),
		('a card of SAML 1.1', without_id(lambda m: m.replace(client.SAML.encode(), b'urn:oasis:names:tc:SAML:1.0:assertion')),
		    'NO_CARD_IN_REQUEST'),
		('Security of another namespace', lambda m: m.replace(client.WSSE.encode(), b'urn:x'), 'NO_CARD_IN_REQUEST'),
		('an encrypted card', without_id(lambda m: m.replace(b'saml:Assertion', b'saml:EncryptedAssertion')),
		    'NO_CARD_IN_REQUEST'),
		('no Subject', put(SUBJECT, ''), 'NO_NAME_ID'),
		('no NameID', put(NAME_ID, ''), 'NO_NAME_ID'),
		('empty NameID', name_id(''), 'NO_NAME_ID'),
		('NameID as <x/>', put(NAME_ID, '<saml:NameID/>'), 'NO_NAME_ID'),
		('blank NameID', name_id(' \t\r\n '), 'NO_NAME_ID'),
		('blank by references', name_id('&#32;&#9;&#13;&#10;'), 'NO_NAME_ID'),
		('only a comment', name_id(f'<!--{lars.name_id}-->'), 'NO_NAME_ID'),
		('only an attribute', put(NAME_ID, f'<saml:NameID NameID="{lars.name_id}" Value="{lars.name_id}"/>'), 'NO_NAME_ID'),
		('in EncryptedID', put(NAME_ID, f'<saml:EncryptedID>{mine}</saml:EncryptedID>'), 'NO_NAME_ID'),
		('in a foreign namespace', put(NAME_ID, f'<NameID>{lars.name_id}</NameID>'), 'NO_NAME_ID'),
		('outside Subject', lambda m: swap(put(NAME_ID, '')(m), '<saml:Issuer>', f'{mine}<saml:Issuer>'), 'NO_NAME_ID'),
		('only in SubjectConfirmation', lambda m: swap(put(NAME_ID, '')(m), '<saml:ConfirmationMethod>',
		    f'{mine}<saml:ConfirmationMethod>'), 'NO_NAME_ID'),
		('two NameIDs', put(NAME_ID, f'@{theirs}'), 'CARD_FORM'),
		('two NameIDs, the other first', put(NAME_ID, f'{theirs}@'), 'CARD_FORM'),
		('the same NameID twice', put(NAME_ID, f'@{mine}'), 'CARD_FORM'),
		('two NameIDs in two Subjects', put(SUBJECT, f'@<saml:Subject>{theirs}</saml:Subject>'), 'CARD_FORM'),
		('an element in NameID', name_id(f'<x/>{lars.name_id}'), 'CARD_FORM'),
		('an element around the name', name_id(f'<x>{lars.name_id}</x>'), 'CARD_FORM'),
		('xop:Include in NameID', name_id('<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:x"/>'),
		    'CARD_FORM'),
		('a PI in NameID', name_id(f'{lars.name_id}<?x y?>'), 'PROCESSING_INSTRUCTION'),
		('two cards', put(CARD, f'@{card(other)}'), 'TWO_CARDS'),
		('two cards, the other first', put(CARD, f'{card(other)}@'), 'TWO_CARDS'),
		('a card in Advice', lambda m: swap(m, '<saml:Conditions', f'{advice}<saml:Conditions'), 'TWO_CARDS'),
		('a card in a signature', lambda m: swap(m, '<saml:Conditions',
		    f'<ds:Signature><ds:Object>{card(other)}</ds:Object></ds:Signature><saml:Conditions'), 'TWO_CARDS'),
		('a card in another block, behind', lambda m: swap(m, '</soapenv:Header>', f'<x>{card(other)}</x></soapenv:Header>'),
		    'TWO_CARDS'),
		('a card in another block, before', lambda m: swap(m, HEADER, f'{HEADER}<x>{card(other)}</x>'), 'TWO_CARDS'),
		('the id of the card elsewhere', lambda m: swap(m, HEADER, f'{HEADER}<x id="IDCard"/>'), 'TWO_CARDS'),
		('its id as wsu:Id', lambda m: swap(m, HEADER, f'{HEADER}<x xmlns:u="{client.WSU}" u:Id="IDCard"/>'), 'TWO_CARDS'),
		('its id as xml:id', lambda m: swap(m, HEADER, f'{HEADER}<x xml:id="IDCard"/>'), 'TWO_CARDS'),
		('two Security with cards', put(SECURITY, f'@{security(card(other))}'), ('TWO_SECURITY', 'TWO_CARDS')),
		('the other first', put(SECURITY, f'{security(card(other))}@'), ('TWO_SECURITY', 'TWO_CARDS')),
		('a second Security with no card', put(SECURITY, f'@{security("")}'), 'TWO_SECURITY'),
		('the empty one first', put(SECURITY, f'{security("")}@'), 'TWO_SECURITY'),
		('for the next actor', put(SECURITY,
		    f'@{security("", " soapenv:actor=%shttp://schemas.xmlsoap.org/soap/actor/next%s" % (chr(34), chr(34)))}'),
		    'TWO_SECURITY'),
		('for another actor, with a card', put(SECURITY, '@' + security(card(other), ' soapenv:actor="urn:x"')),
		    ('TWO_SECURITY', 'TWO_CARDS')),
	)


def a_head_that_names_nobody_or_two_is_refused(world):
	lars, other = signed_in(world), signed_in(world)
	good = client.proxy(lars, world.service('service'))
	passes(world, good)
	with Refusals(world) as refused:
		for note, changes, reason in cards_and_names(lars, other):
			refused.post(note, changes(good), reason)
	with Refusals(world, client.SERVICE) as refused:
		for note, changes, reason in cards_and_names(lars, other):
			refused.post(note, changes(client.get_valid_id_card(lars)), reason)


def same_user(name):
	"""Spellings of one name."""
	a, b = name[:7], name[7:]
	return (
		('a comment inside', f'{a}<!-- x -->{b}'), ('comments around', f'<!--x-->{name}<!--y-->'),
		('CDATA', f'<![CDATA[{name}]]>'), ('half in CDATA', f'{a}<![CDATA[{b}]]>'),
		('references', ''.join(f'&#{ord(c)};' for c in name)), ('white space around', f' \r\n\t{name}\n  '),
		('white space by reference', f'&#9;{name}&#10;'),
	)


def the_user_is_the_whole_text_of_the_name(world):
	lars = signed_in(world)
	good = client.proxy(lars, world.service('service'))
	for note, text in same_user(lars.name_id):
		assert passes(world, name_id(text)(good))['verdict'] == 'ok', note


def other_users(name):
	"""Names that look like this one, or begin or end with it."""
	wide = ''.join(chr(ord(c) - 0x30 + 0xff10) if c.isdigit() else c for c in name)
	arabic = ''.join(chr(ord(c) - 0x30 + 0x660) if c.isdigit() else c for c in name)
	return (
		('cut by a comment', f'{name}<!---->x'), ('cut by a comment, other order', f'x<!---->{name}'),
		('cut by CDATA', f'{name}<![CDATA[.evil]]>'),
		('no-break space', f'{name}\xa0'), ('zero width space', f'{name}\u200b'),
		('zero width joiner inside', f'{name[:4]}\u200d{name[4:]}'), ('byte order mark', f'\ufeff{name}'),
		('full width digits', wide), ('Arabic digits', arabic), ('upper case', name.upper()),
		('a soft hyphen', f'{name[:4]}\xad{name[4:]}'),
		('Cyrillic', name.replace('e', '\u0435')), ('right to left mark', f'\u202e{name}'),
		('ideographic space', f'\u3000{name}'), ('line separator', f'{name}\u2028'),
		('NEL', f'{name}\x85'), ('two spaces inside', name.replace('-', '  ', 1)), ('percent', name.replace('-', '%2D')),
		('an escaped entity', name.replace('-', '&amp;#45;', 1)),
		('SQL', f"{name}' OR '1'='1"), ('a key of memcached', f'{name}&#13;&#10;get x'), ('a prefix', name[:-1]),
	)


def names_that_only_look_alike_are_different_users(world):
	lars = signed_in(world)
	composed = signed_in(world, name_id='\u00c5ge \u00f8 ' + lars.name_id)
	with Refusals(world) as refused:
		for note, text in other_users(lars.name_id):
			refused.post(note, name_id(text)(client.proxy(lars, world.service('service'))), 'NO_CARD')
		decomposed = unicodedata.normalize('NFD', composed.name_id)
		assert decomposed != composed.name_id
		refused.post('decomposed', client.proxy(composed.but(name_id=decomposed), world.service('service')), 'NO_CARD',
		    {'user': decomposed})
		refused.post('another format of the same text', client.proxy(world.user().but(name_id='x' + lars.name_id),
		    world.service('service')), 'NO_CARD')


# ---- MTOM

BOUNDARY = 'uuid:f8dc1f2c-1c57+id=1'


def multipart(root, *parts, root_id='<root@x>', first=(), line='Content-Transfer-Encoding: 8bit\r\n'):
	"""The parts that come before the root, the root, and the others: (Content-ID, bytes)."""
	def part(content_id, kind, body, more=''):
		return f'--{BOUNDARY}\r\nContent-Type: {kind}\r\n{more}Content-ID: {content_id}\r\n\r\n'.encode() + body + b'\r\n'
	return (b''.join(part(i, 'application/octet-stream', b) for i, b in first) + part(root_id,
	    'application/xop+xml; charset=utf-8; type="text/xml"', root, line) +
	    b''.join(part(i, 'application/octet-stream', b) for i, b in parts) + f'--{BOUNDARY}--\r\n'.encode())


def mtom_type(**parameters):
	p = {'type': 'application/xop+xml', 'start': '<root@x>', 'start-info': 'text/xml', 'boundary': BOUNDARY, **parameters}
	return {'Content-Type': 'multipart/related; ' + '; '.join(f'{k}="{v}"' for k, v in p.items() if v is not None),
	    'MIME-Version': '1.0'}


BINARY = bytes(range(256)) * 40 + b'\r\n--uuid:f8dc1f2c\r\n</soapenv:Header><saml:Assertion>'


@cases(('start named', mtom_type()), ('no start', mtom_type(start=None)), ('no start-info', mtom_type(**{'start-info': None})),
    ('root of type text/xml', mtom_type(type='text/xml')))
def of_a_multipart_only_the_card_in_the_root_changes(world, headers):
	lars = signed_in(world)
	xop = '<x><i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:a@x"/></x>'
	root = client.proxy(lars, world.service('sink'), body=xop)
	for parts in ((('<a@x>', BINARY),), (('<a@x>', BINARY), ('<b@x>', b''), ('<c@x>', b'x' * 200000))):
		got = passes(world, multipart(root, *parts), headers=headers)
		assert f'content-type: {headers["Content-Type"]}'.encode().lower() in got['head'].lower(), got['head']


def a_multipart_whose_root_is_in_doubt_is_refused(world):
	lars, other = signed_in(world), signed_in(world)
	good, evil = (client.proxy(who, world.service('sink')) for who in (lars, other))
	plain = mtom_type()
	with Refusals(world) as refused:
		for note, message, headers, reason in (
		    ('the root is the second part', multipart(good, first=[('<a@x>', b'x')]), plain, 'XML'),
		    ('two parts with its Content-ID', multipart(good, ('<root@x>', evil)), plain, 'XML'),
		    ('the other first', multipart(evil, ('<root@x>', good)), plain, 'XML'),
		    ('two, and no start', multipart(good, ('<root@x>', evil)), mtom_type(start=None), 'XML'),
		    ('the root is base64', multipart(good, line='Content-Transfer-Encoding: base64\r\n'), plain, 'XML'),
		    ('the root is quoted-printable', multipart(good, line='content-transfer-encoding: Quoted-Printable\r\n'), plain,
		    'XML'),
		    ('start names no part', multipart(good), mtom_type(start='<z@x>'), 'XML'),
		    ('no boundary', multipart(good), mtom_type(boundary=None), 'CONTENT_TYPE'),
		    ('an empty boundary', multipart(good), mtom_type(boundary=''), 'CONTENT_TYPE'),
		    ('a long boundary', multipart(good), mtom_type(boundary='x' * 71), 'CONTENT_TYPE'),
		    ('another boundary', multipart(good), mtom_type(boundary='x'), 'XML'),
		    ('SOAP 1.2 in it', multipart(good), mtom_type(type='application/soap+xml'), 'SOAP_12'),
		    ('type is HTML', multipart(good), mtom_type(type='text/html'), 'CONTENT_TYPE'),
		    ('cut in the preamble', multipart(good)[:60], plain, 'XML'),
		    ('cut in the head', multipart(good)[:900], plain, 'XML'),
		    ('no part', f'--{BOUNDARY}--\r\n'.encode(), plain, 'XML'),
		    ('a plain message', good, plain, 'XML'),
		    ('an endless preamble', b'x\r\n' * 20000 + multipart(good), plain, ('LIMIT', 'XML')),
		    ('an endless line', b'x' * 20000 + multipart(good), plain, 'XML'),
		    ('NameID by xop:Include',
		    multipart(name_id('<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:a"/>')(good),
		        ('<a>', lars.name_id.encode())), plain, 'CARD_FORM'),
		    ('two cards', multipart(put(CARD, '@@')(good)), plain, 'TWO_CARDS'),
		    ('multipart sent as text/xml', multipart(good), {'Content-Type': 'text/xml'}, 'XML')):
			refused.post(note, message, reason, headers=headers)


def the_card_service_takes_no_multipart(world):
	lars = signed_in(world)
	with Refusals(world, client.SERVICE) as refused:
		refused.post('multipart', multipart(client.get_valid_id_card(lars)), ('CONTENT_TYPE', 'XML'), headers=mtom_type())
