"""Hostile XML in the head of a message is refused cleanly; what stands behind the start of Body is not looked at."""
import codecs
import random
import re
import xml.parsers.expat

import client
from harness import cases, without_card
from hostile import Canary, Refusals, check_fault, passes, pids, resident_peak, signed_in, swap


def head_end(message):
	"""The offset behind the start tag of Body: what follows is not read."""
	return re.search(rb'<(?:\w+:)?Body[^>]*>', message).end()


# ---- not well formed

@cases(*[(form, form) for form in client.FORMS])
def a_message_cut_anywhere_in_its_head_is_refused(world, form):
	lars = signed_in(world)
	whole = client.proxy(lars, world.service('sink'), form=form)
	end = head_end(whole)
	offsets = sorted({*range(1, end, 31), *range(end - 8, end)})
	with Refusals(world) as refused:
		for at in offsets:
			refused.post(f'cut at {at}', whole[:at], ('XML', 'ENCODING'))	# in the middle of a character
		refused.post('nothing at all', b'', 'XML')


def expat_takes(message):
	"""Whether a parser that is not the gateway's finds it well formed, and hears of no PI or DOCTYPE."""
	heard = []
	parser = xml.parsers.expat.ParserCreate(namespace_separator=' ')
	parser.StartDoctypeDeclHandler = parser.ProcessingInstructionHandler = lambda *_: heard.append(1)
	try:
		parser.Parse(message, True)
	except (xml.parsers.expat.ExpatError, ValueError):
		return False
	return not heard


@cases(('a low bit', 0x01), ('a middle bit', 0x10), ('the high bit', 0x80), ('to a control character', None))
def a_message_with_a_changed_byte_is_refused_or_arrives_as_it_was_sent(world, bit):
	lars = signed_in(world)
	whole = client.proxy(lars, world.service('sink'))
	dice = random.Random(bit or 1)
	http, forwarded, workers = world.http(), [], pids(world)
	before = world.stub_count()
	for at in range(dice.randrange(23), head_end(whole), 23):
		bad = bytearray(whole)
		bad[at] = dice.choice(b'\x00\x01\x0b\x7f') if bit is None else bad[at] ^ bit
		bad = bytes(bad)
		answer = http.post(client.PROXY, bad, keep=True)
		if answer.status == 200:
			assert expat_takes(bad), f'byte {at} is {bad[at]:#x}: forwarded, but it is no XML'
			forwarded.append(bad)
		else:
			check_fault(answer)
	got = [without_card(r['body']) for r in world.stub_requests(before)]
	assert got == [without_card(m) for m in forwarded], f'{len(got)} arrived, {len(forwarded)} were answered'
	assert pids(world) == workers


def broken_in_head(text):
	return lambda m: swap(m, '<soapenv:Header>', f'<soapenv:Header>{text}')


NOT_WELL_FORMED = (
	('attribute twice', broken_in_head('<x a="1" a="2"/>')),
	('attribute twice by namespace', broken_in_head('<x xmlns:a="urn:x" xmlns:b="urn:x" a:i="1" b:i="2"/>')),
	('unbound prefix of an element', broken_in_head('<q:x/>')),
	('unbound prefix of an attribute', broken_in_head('<x q:a="1"/>')),
	('prefix bound to nothing', broken_in_head('<x xmlns:q=""/>')),
	('xmlns prefix declared', broken_in_head('<x xmlns:xmlns="urn:x"/>')),
	('xml prefix re-bound', broken_in_head('<x xmlns:xml="urn:x"/>')),
	('two colons', broken_in_head('<x:y:z xmlns:x="urn:x"/>')),
	('character reference 0', broken_in_head('<x>&#0;</x>')),
	('reference to a surrogate', broken_in_head('<x>&#xD800;</x>')),
	('reference beyond Unicode', broken_in_head('<x>&#x110000;</x>')),
	('reference beyond 32 bits', broken_in_head('<x>&#x100000041;</x>')),
	('reference to U+FFFE', broken_in_head('<x>&#xFFFE;</x>')),
	('reference without a number', broken_in_head('<x>&#;</x>')),
	('reference that does not end', broken_in_head('<x>&#65</x>')),
	('reference to a control character', broken_in_head('<x a="&#1;"/>')),
	('ampersand alone', broken_in_head('<x>a & b</x>')),
	('undeclared entity', broken_in_head('<x>&nbsp;</x>')),
	('undeclared entity in an attribute', broken_in_head('<x a="&x;"/>')),
	('NUL', broken_in_head('<x>\0</x>')),
	('control character', broken_in_head('<x>\x0b</x>')),
	('control character in an attribute', broken_in_head('<x a="\x01"/>')),
	('-- in a comment', broken_in_head('<!-- a -- b -->')),
	('comment that ends in --->', broken_in_head('<!-- a --->')),
	('comment that does not end', broken_in_head('<!-- a ')),
	('CDATA that does not end', broken_in_head('<x><![CDATA[ a ')),
	(']]> in text', broken_in_head('<x>]]></x>')),
	('CDATA outside the root', lambda m: swap(m, '<soapenv:Envelope', '<![CDATA[x]]><soapenv:Envelope')),
	('text before the root', lambda m: swap(m, '<soapenv:Envelope', 'x<soapenv:Envelope')),
	('NUL before the root', lambda m: swap(m, '<soapenv:Envelope', '\0<soapenv:Envelope')),
	('white space before the declaration', lambda m: b' ' + m),
	('two declarations', lambda m: swap(m, '<soapenv:Envelope', '<?xml version="1.0"?><soapenv:Envelope')),
	('another root first', lambda m: swap(m, '<soapenv:Envelope', '<x/><soapenv:Envelope')),
	('< in an attribute', broken_in_head('<x a="<"/>')),
	('attribute without quotes', broken_in_head('<x a=1/>')),
	('attribute without a value', broken_in_head('<x a/>')),
	('attributes with no space between', broken_in_head('<x a="1"b="2"/>')),
	('name that begins with a digit', broken_in_head('<1x/>')),
	('name that begins with a dash', broken_in_head('<-x/>')),
	('space behind <', broken_in_head('< x/>')),
	('wrong end tag', broken_in_head('<x></y>')),
	('elements that overlap', broken_in_head('<x><y></x></y>')),
	('end tag with an attribute', broken_in_head('<x></x a="1">')),
	('end tag that was never open', broken_in_head('</x>')),
	('an empty tag', broken_in_head('<>')),
	('markup declaration in content', broken_in_head('<!ELEMENT x ANY>')),
	('Header that is not closed', lambda m: swap(m, '</soapenv:Header>', '')),
	('Header closed twice', lambda m: swap(m, '</soapenv:Header>', '</soapenv:Header></soapenv:Header>')),
)

ANOTHER_REASON = {'another root first': 'NO_ENVELOPE', 'Header that is not closed': 'ENVELOPE_FORM'}	# where that shows first


def what_is_not_well_formed_in_the_head_is_refused(world):
	good = client.proxy(signed_in(world), world.service('sink'))
	passes(world, good)
	with Refusals(world) as refused:
		for note, breaks in NOT_WELL_FORMED:
			refused.post(note, breaks(good), ANOTHER_REASON.get(note, 'XML'))


# ---- DOCTYPE and what it could bring

def doctype(text, at='<soapenv:Envelope'):
	return lambda m: swap(m, at, text + at)


LAUGHS = '<!DOCTYPE x [<!ENTITY a0 "ha">' + ''.join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12)) + ']>'
QUADRATIC = f'<!DOCTYPE x [<!ENTITY a "{"a" * 20000}">]>'

DOCTYPES = (
	('empty', doctype('<!DOCTYPE x>')),
	('empty subset', doctype('<!DOCTYPE x []>')),
	('of the right name', doctype('<!DOCTYPE soapenv:Envelope []>')),
	('lower case', doctype('<!doctype x>')),
	('mixed case', doctype('<!DocType x>')),
	('behind a comment', doctype('<!-- x --><!DOCTYPE x>')),
	('behind white space', doctype('\n\n   \t<!DOCTYPE x>')),
	('in the header', doctype('<!DOCTYPE x>', '<wsse:Security')),
	('just before Body', doctype('<!DOCTYPE x>', '<soapenv:Body')),
	('SYSTEM file', doctype('<!DOCTYPE x SYSTEM "file:///etc/hostname">')),
	('SYSTEM http', doctype('<!DOCTYPE x SYSTEM "@canary@">')),
	('PUBLIC', doctype('<!DOCTYPE x PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "@canary@">')),
	('external entity, file', lambda m: swap(doctype('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>')(m), 'Sygdom.dk',
	    '&e;')),
	('external entity, http', lambda m: swap(doctype('<!DOCTYPE x [<!ENTITY e SYSTEM "@canary@">]>')(m), 'Sygdom.dk', '&e;')),
	('parameter entity', doctype('<!DOCTYPE x [<!ENTITY % p SYSTEM "@canary@"> %p;]>')),
	('ATTLIST default', doctype('<!DOCTYPE x [<!ATTLIST soapenv:Envelope x CDATA "y">]>')),
	('ATTLIST ID type', doctype('<!DOCTYPE x [<!ATTLIST x id ID #IMPLIED>]>')),
	('NOTATION', doctype('<!DOCTYPE x [<!NOTATION n SYSTEM "@canary@">]>')),
	('entity in NameID', lambda m: re.sub(rb'(<saml:NameID[^>]*>)[^<]*', rb'\1&e;',
	    doctype('<!DOCTYPE x [<!ENTITY e "user">]>')(m))),
	('entity in To', lambda m: re.sub(rb'(<To [^>]*>)[^<]*', rb'\1&e;', doctype('<!DOCTYPE x [<!ENTITY e "@canary@">]>')(m))),
	('entity in the id', lambda m: swap(doctype('<!DOCTYPE x [<!ENTITY e "IDCard">]>')(m), 'id="IDCard"', 'id="&e;"')),
	('billion laughs in NameID', lambda m: re.sub(rb'(<saml:NameID[^>]*>)[^<]*', rb'\1&a11;', doctype(LAUGHS)(m))),
	('billion laughs in an attribute', lambda m: swap(doctype(LAUGHS)(m), 'id="IDCard"', 'id="&a11;"')),
	('quadratic blowup', lambda m: re.sub(rb'(<To [^>]*>)[^<]*', rb'\1' + b'&a;' * 5000, doctype(QUADRATIC)(m))),
	('recursive', lambda m: swap(doctype('<!DOCTYPE x [<!ENTITY a "&b;"><!ENTITY b "&a;">]>')(m), 'Sygdom.dk', '&a;')),
	('that does not end', doctype('<!DOCTYPE x [')),
)


def a_doctype_is_refused_on_sight(world):
	good = client.proxy(signed_in(world), world.service('sink'))
	passes(world, good)
	with Canary() as canary, Refusals(world) as refused:
		for note, makes in DOCTYPES:
			refused.post(note, makes(good).replace(b'@canary@', canary.url().encode()), 'DOCTYPE')
		refused.post('the head of it alone', b'<!DOCTYPE ', ('DOCTYPE', 'XML'))
	with Refusals(world, client.SERVICE) as refused:
		for note, makes in DOCTYPES:
			refused.post(note, makes(client.get_valid_id_card(client.LARS)) if 'To' not in note and 'quadratic' not in note else
			    doctype(LAUGHS)(client.get_valid_id_card(client.LARS)), 'DOCTYPE')


def entities_cost_no_memory(world):
	good = client.proxy(signed_in(world), world.service('sink'))
	http = world.http()
	for _ in range(8):	# so that every worker has been warm
		assert http.post(client.PROXY, good, keep=True).status == 200
	before = resident_peak(world)
	for _ in range(40):
		for note, makes in DOCTYPES[-5:]:
			assert http.post(client.PROXY, makes(good), keep=True).status == 500, note
	grown = resident_peak(world) - before
	assert grown < 64 << 20, f'{grown >> 20} MB more for 200 messages'


def processing_instructions_are_refused(world):
	good = client.proxy(signed_in(world), world.service('sink'))
	with Canary() as canary, Refusals(world) as refused:
		for note, at in (('before the root', '<soapenv:Envelope'), ('in the header', '<wsse:Security'),
		    ('before Body', '<soapenv:Body')):
			refused.post(f'style sheet {note}', swap(good, at, f'<?xml-stylesheet href="{canary.url()}"?>{at}'),
			    'PROCESSING_INSTRUCTION')
			refused.post(f'php {note}', swap(good, at, f'<?php x?>{at}'), 'PROCESSING_INSTRUCTION')


POINTERS = (
	('XInclude', '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{url}" parse="text"/>'),
	('schemaLocation', '<x xmlns="urn:x" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:x {url}" '
	    'xsi:noNamespaceSchemaLocation="{url}"/>'),
	('xop:Include', '<x><xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="{url}"/></x>'),
	('xop:Include of a file',
	    '<x><xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="file:///etc/passwd"/></x>'),
	('xml:base', '<x xml:base="{url}"/>'),
)


@cases(*POINTERS)
def what_points_elsewhere_is_passed_on_and_never_followed(world, text):
	lars = signed_in(world)
	with Canary() as canary:
		text = text.format(url=canary.url())
		passes(world, client.proxy(lars, world.service('sink'), body=text + '<?xml-stylesheet href="x"?>', extra=text))


# ---- limits

def limits_of_the_head_hold(world):
	good = client.proxy(signed_in(world), world.service('sink'))
	with Refusals(world) as refused:
		for note, text in (
		    ('elements nested deep', '<x>' * 40 + '</x>' * 40), ('elements nested very deep', '<x>' * 15000),
		    ('attributes', '<x ' + ' '.join(f'a{i}="1"' for i in range(70)) + '/>'),
		    ('very many attributes', '<x ' + ' '.join(f'a{i}="1"' for i in range(4000)) + '/>'),
		    ('namespaces', '<x ' + ' '.join(f'xmlns:a{i}="u"' for i in range(70)) + '/>'),
		    ('header blocks', '<x/>' * 2100), ('long name', f'<{"x" * 9000}/>'),
		    ('long attribute name', f'<x {"a" * 9000}="1"/>'),
		    ('long attribute', f'<x a="{"y" * 9000}"/>'), ('long namespace', f'<x xmlns="{"y" * 9000}"/>'),
		    ('long prefix', f'<{"p" * 9000}:x xmlns:{"p" * 9000}="u"/>'), ('long text', f'<x>{"y" * 70000}</x>'),
		    ('long comment', f'<!--{"y" * 70000}-->'), ('white space', ' ' * 70000),
		    ('long CDATA', f'<x><![CDATA[{"y" * 70000}]]></x>'),
		    ('many WS-Addressing headers', '<a:From xmlns:a="http://www.w3.org/2005/08/addressing"/>' * 20)):
			refused.post(note, broken_in_head(text)(good), 'LIMIT')
		refused.post('a declaration that does not end', b'<?xml version="1.0" ' + b' ' * 70000, 'LIMIT')


@cases(('text', lambda n: '<x>' + 'y' * n + '</x>'), ('elements', lambda n: '<x/>' * (n // 4)),
    ('one attribute', lambda n: f'<x a="{"y" * n}"/>'),
    ('attributes', lambda n: '<x ' + ' '.join(f'a{i:06}="1"' for i in range(n // 12)) + '/>'),
    ('depth', lambda n: '<x>' * (n // 3)),
    ('a tag that does not end', lambda n: '<x' + ' ' * n), ('a comment', lambda n: f'<!--{"y" * n}-->'))
def a_header_of_ten_megabytes_is_refused_at_once(world, text):
	good = client.proxy(signed_in(world), world.service('sink'))
	with Refusals(world) as refused:
		answer = refused.post('10 MB', broken_in_head(text(10 << 20))(good), 'LIMIT', http=world.http())
		assert answer is None or answer.seconds < 5, f'{answer.seconds:.1f} s'


@cases(('depth', '<x>' * 50000 + '</x>' * 50000), ('attributes', '<x ' + ' '.join(f'a{i}="1"' for i in range(20000)) + '/>'),
    ('namespaces', '<x ' + ' '.join(f'xmlns:a{i}="u"' for i in range(20000)) + '/>'), ('a long name', f'<{"x" * 500000}/>'),
    ('DOCTYPE', '<!DOCTYPE x [<!ENTITY a "b">]>&a;'), ('no XML', '<<<>>>&&&\0\x01\ufffe'),
    ('a second Body', '</soapenv:Body><soapenv:Body>'))
def the_same_in_the_body_is_passed_on(world, body):
	passes(world, client.proxy(signed_in(world), world.service('sink'), body=body))


# ---- encodings

def declared(name, text=None):
	"""The message with this encoding in its declaration, and encoded so when text is a codec."""
	def encode(message):
		m = message.decode().replace('encoding="UTF-8"', f'encoding="{name}"' if name else '')
		return m.encode(text or 'utf-8')
	return encode


def bad_bytes(octets):
	return lambda m: m.replace('Sygdom.dk'.encode(), octets)


ENCODINGS = (
	('UTF-16 with BOM', declared('UTF-16', 'utf-16')), ('UTF-16LE', declared('UTF-16LE', 'utf-16-le')),
	('UTF-16BE', declared('UTF-16BE', 'utf-16-be')),
	('UTF-16 that says UTF-8', declared('UTF-8', 'utf-16')),
	('UTF-16BE with BOM, undeclared', lambda m: codecs.BOM_UTF16_BE + declared('')(m).decode().encode('utf-16-be')),
	('UTF-32', declared('UTF-32', 'utf-32')), ('UTF-32BE', declared('UTF-32BE', 'utf-32-be')),
	('UTF-32LE', declared('UTF-32LE', 'utf-32-le')),
	('UTF-7', declared('UTF-7', 'utf-7')), ('UTF-7 with its BOM', lambda m: b'+/v8-' + m),
	('EBCDIC', declared('IBM037', 'cp037')),
	('ISO-8859-1', declared('ISO-8859-1', 'latin-1')), ('ISO-8859-1, all ASCII',
	    lambda m: declared('ISO-8859-1')(m.replace('Lars Ærø'.encode(), b'Lars'))),
	('windows-1252', declared('windows-1252', 'cp1252')), ('US-ASCII', declared('US-ASCII')),
	('Shift_JIS', declared('Shift_JIS')), ('GB18030', declared('GB18030')),
	('an unknown one', declared('x-klingon')), ('an empty one', declared(' ')),
	('UTF-16 declared, sent as UTF-8', declared('UTF-16')),
	('BOM and ISO-8859-1', lambda m: codecs.BOM_UTF8 + declared('ISO-8859-1')(m)),
	('two BOMs', lambda m: codecs.BOM_UTF8 * 2 + m),
	('latin-1 bytes as UTF-8', lambda m: m.decode().encode('latin-1')), ('overlong slash', bad_bytes(b'\xc0\xaf')),
	('overlong in three', bad_bytes(b'\xe0\x80\xaf')),
	('overlong NUL', bad_bytes(b'\xc0\x80')), ('surrogate', bad_bytes(b'\xed\xa0\x80')),
	('surrogate pair', bad_bytes(b'\xed\xa0\xbd\xed\xb8\x80')),
	('beyond U+10FFFF', bad_bytes(b'\xf4\x90\x80\x80')), ('five bytes', bad_bytes(b'\xf8\x88\x80\x80\x80')),
	('a lone continuation', bad_bytes(b'\x80')),
	('a cut sequence', bad_bytes(b'\xe2\x82')), ('FF', bad_bytes(b'\xff')), ('U+FFFE', bad_bytes(b'\xef\xbf\xbe')),
	('U+FFFF', bad_bytes(b'\xef\xbf\xbf')),
	('invalid in an attribute', lambda m: swap(m, b'id="UserLog"', b'id="\xc0\xaf"')),
	('invalid in a name', lambda m: swap(m, b'<soapenv:Header>', b'<soapenv:Header><x\xff/>')),
	('invalid in a comment', lambda m: swap(m, b'<soapenv:Header>', b'<soapenv:Header><!-- \xff -->')),
	('XML 1.1', lambda m: swap(m, 'version="1.0"', 'version="1.1"')),
	('XML 2.0', lambda m: swap(m, 'version="1.0"', 'version="2.0"')),
	('no version', lambda m: swap(m, 'version="1.0" ', '')),
	('NEL in XML 1.1', lambda m: swap(m, 'version="1.0"', 'version="1.1"').replace(b'<soapenv:Header>',
	    b'<soapenv:Header>\xc2\x85')),
)


def only_utf8_is_taken(world):
	good = client.proxy(signed_in(world), world.service('sink'))
	with Refusals(world) as refused:
		for note, encodes in ENCODINGS:
			bad = encodes(good)
			assert bad != good, note
			refused.post(note, bad, ('ENCODING', 'XML') if note in ('two BOMs', 'U+FFFE', 'U+FFFF') else 'ENCODING')
		for charset in ('utf-16', 'iso-8859-1', 'UTF-7', 'x', '"us-ascii"'):
			refused.post(f'charset={charset}', good, 'ENCODING', headers={'Content-Type': f'text/xml; charset={charset}'})
		refused.post('two charsets', good, 'CONTENT_TYPE', headers={'Content-Type': 'text/xml; charset=utf-8; charset=utf-16'})
	for note, encodes in ENCODINGS[:12]:
		check_fault(world.post_service(encodes(client.get_valid_id_card(client.LARS))))


@cases(('BOM', lambda m: codecs.BOM_UTF8 + m), ('no declaration', lambda m: m[m.index(b'<soapenv:Envelope'):]),
    ('BOM and no declaration',
    lambda m: codecs.BOM_UTF8 + m[m.index(b'<soapenv:Envelope'):]), ('lower case', lambda m: swap(m, 'UTF-8', 'utf-8')),
    ('no encoding named', declared('')), ('standalone', lambda m: swap(m, '"UTF-8"', '"UTF-8" standalone="yes"')),
    ('single quotes', lambda m: swap(m, '<?xml version="1.0" encoding="UTF-8"?>', "<?xml version='1.0'\tencoding = 'UTF-8' ?>")))
def utf8_is_taken_in_all_its_forms(world, makes):
	passes(world, makes(client.proxy(signed_in(world), world.service('sink'))))


@cases(('U+FEFF', '\ufeff'), ('U+0085', '\x85'), ('U+2028', '\u2028'), ('U+FDD0', '\ufdd0'),
    ('beyond the basic plane', '\U0001f600'))
def odd_characters_are_data(world, character):
	lars = signed_in(world)
	passes(world, client.proxy(lars, world.service('sink'), extra=f'<x a="{character}">{character}</x>',
	    body=f'<x>{character}</x>'))
