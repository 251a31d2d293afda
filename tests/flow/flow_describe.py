"""What a GET on the service's address shows: the page that explains it, the WSDL, the schemas; and that our answers follow them."""
import html
import os
import re
import subprocess
import tempfile

import lxml.html
from lxml import etree

import client
from harness import TOP, cases

WSDL = 'http://schemas.xmlsoap.org/wsdl/'
WSDL_SOAP = 'http://schemas.xmlsoap.org/wsdl/soap/'
XSD = 'http://www.w3.org/2001/XMLSchema'
SCHEMAS = ('ds', 'gw2007', 'gw2014', 'medcom', 'saml', 'wsse', 'wsu')
CSS = '/sosigw/static/page.css'
OF_WS_TRUST = 'createIdCardFromBST'	# its description is not ours


def fetch_page(world, query='', **headers):
	answer = world.http(None).get(client.SERVICE + query, headers={k.replace('_', '-'): v for k, v in headers.items()})
	assert answer.status == 200 and answer.headers['Content-Type'] == 'text/html; charset=utf-8', (answer.status, answer.headers)
	return lxml.html.fromstring(answer.body.decode())


def text_of(element):
	return ' '.join(element.text_content().split())


# ---- the page

def the_page_names_operations_faults_and_limits(world):
	for lang in ('da', 'en'):
		page = fetch_page(world, f'?lang={lang}')
		text = text_of(page)
		for word in (*client.ACTION, *client.ACTION.values(), 'medcom:UserRole', 'SOSIGW-Secret', '64 KB', '256 KB', world.sandbox['servers'][0]['http']):
			assert word in text, word
		codes = etree.fromstring(world.http(None).get(client.SERVICE + '?xsd=medcom').body).xpath('//*[@name="FaultCode"]//@value')
		assert page.xpath('//section[@class="fault"]/h3/@id') == codes and len(codes) == 8
		assert all(section.xpath('.//li') for section in page.xpath('//section[@class="fault"]'))


@cases(('Danish asked for', '?lang=da', 'en', 'da'), ('English asked for', '?lang=en', 'da', 'en'), ('a Danish browser', '', 'da-DK,en;q=0.5', 'da'),
    ('an English browser', '', 'en-GB,en;q=0.9,da;q=0.5', 'en'))
def the_page_speaks_the_readers_language(world, query, accept, wanted):
	page = fetch_page(world, query, Accept_Language=accept)
	assert page.get('lang') == wanted
	assert ('Fejlkoder' in text_of(page)) == (wanted == 'da') and ('Fault codes' in text_of(page)) == (wanted == 'en')
	other = {'da': 'en', 'en': 'da'}[wanted]
	link, = page.xpath('//a[@hreflang]')
	assert link.get('href') == f'?lang={other}' and link.get('lang') == other


def the_page_can_be_read_by_all(world):
	for lang in ('da', 'en'):
		page = fetch_page(world, f'?lang={lang}')
		levels = [int(h.tag[1]) for h in page.iter('h1', 'h2', 'h3', 'h4', 'h5', 'h6')]
		assert levels[0] == 1 and levels.count(1) == 1, levels
		assert all(b <= a + 1 for a, b in zip(levels, levels[1:])), levels
		for table in page.iter('table'):
			assert text_of(table.find('caption')), 'a table without a caption'
		assert all(th.get('scope') in ('row', 'col') for th in page.iter('th'))
		ids = page.xpath('//@id')
		assert len(ids) == len(set(ids)), ids
		assert page.xpath('//title/text()')[0] and page.xpath('//main') and page.xpath('//a[@href="#main"]')


def every_link_of_the_page_leads_somewhere(world):
	page = fetch_page(world)
	ids = set(page.xpath('//@id'))
	for href in set(page.xpath('//a/@href | //link/@href')):
		if href.startswith('#'):
			assert href[1:] in ids, href
		else:
			path = client.SERVICE + href if href.startswith('?') else href
			assert world.http(None).get(path).status == 200, href


def the_page_holds_no_script_and_no_style(world):
	page = fetch_page(world)
	assert not page.xpath('//script | //style | //@style | //@*[starts-with(name(), "on")]')
	assert page.xpath('//link[@rel="stylesheet"]/@href') == [CSS]
	assert all(href[0] in '?#/' and not href.startswith('//') for href in page.xpath('//@href | //@src'))


def the_policy_headers_are_there(world):
	for method in ('GET', 'HEAD'):
		got = world.http(None).request(method, client.SERVICE).headers
		policy = dict(rule.split(' ', 1) for rule in got['Content-Security-Policy'].split('; '))
		assert policy == {'default-src': "'none'", 'script-src': "'none'", 'style-src': "'self'", 'img-src': "'self'",
		    'form-action': "'self'", 'base-uri': "'none'", 'frame-ancestors': "'none'", 'report-uri': '/sosigw/csp'}, policy
		wanted = {'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-store',
		    'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Resource-Policy': 'same-origin',
		    'Permissions-Policy': 'camera=(), microphone=(), geolocation=()'}
		assert {name: got[name] for name in wanted} == wanted, got


@cases(('the page', ''), ('the WSDL', '?wsdl'), ('a schema', '?xsd=saml'))
def head_is_get_without_the_body(world, query):
	full, head = (world.http(None).request(method, client.SERVICE + query) for method in ('GET', 'HEAD'))
	assert (full.status, head.status) == (200, 200) and full.body and not head.body
	varies = ('Date', 'Transfer-Encoding', 'Content-Length')
	assert [h for h in full.headers.items() if h[0] not in varies] == [h for h in head.headers.items() if h[0] not in varies]


def a_schema_that_is_not_there_is_not_found(world):
	answer = world.http(None).get(client.SERVICE + '?xsd=nosuch')
	assert answer.status == 404 and answer.headers.get_content_type() == 'text/plain'


def the_stylesheet_is_small_and_cached_and_has_one_address(world):
	http = world.http(None)
	answer = http.get(CSS)
	assert answer.status == 200 and answer.headers['Content-Type'] == 'text/css; charset=utf-8'
	assert answer.headers['X-Content-Type-Options'] == 'nosniff' and 'max-age' in answer.headers['Cache-Control']
	assert answer.length < 8192 and b'url(' not in answer.body and b'@import' not in answer.body
	assert http.get(CSS, headers={'If-None-Match': answer.headers['ETag']}).status == 304
	for path in ('/page.css', '/sosigw/static/', '/sosigw/static', '/sosigw/static/../page.css', '/sosigw/static/nosuch.css'):
		assert http.get(path).status in (403, 404), path
	assert http.post(CSS, b'').status == 405


@cases(('TLS ends there', {'X-Forwarded-Proto': 'https'}, 'https://inner.example:8080'),
    ('and it was called otherwise', {'X-Forwarded-Proto': 'HTTPS', 'X-Forwarded-Host': 'gw.example.dk'}, 'https://gw.example.dk'),
    ('another proxy before it', {'X-Forwarded-Proto': 'http, https', 'X-Forwarded-Host': 'evil.example, gw.example.dk:444'}, 'https://gw.example.dk:444'),
    ('no TLS', {'X-Forwarded-Proto': 'http', 'X-Forwarded-Host': 'gw.example.dk'}, 'http://gw.example.dk'),
    ('it says nothing', {}, 'http://inner.example:8080'),
    ('no host', {'X-Forwarded-Host': '"><b>'}, 'http://'), ('no name of a scheme', {'X-Forwarded-Proto': '"><b>'}, 'http://inner.example:8080'))
def behind_a_front_proxy_the_addresses_are_the_callers(world, forwarded, wanted):
	"""And nobody else's headers count: 127.0.0.3 is the listed one."""
	headers = ''.join(f'{name}: {value}\r\n' for name, value in forwarded.items())

	def seen(source, query):
		data = f'GET {client.SERVICE}{query} HTTP/1.1\r\nHost: inner.example:8080\r\nConnection: close\r\n{headers}\r\n'
		return world.http(None, source=source).raw(data.encode()).split(b'\r\n\r\n', 1)[1]

	for query in ('?wsdl', ''):
		assert wanted.encode() in seen('127.0.0.3', query), query
		assert b'http://inner.example:8080' + client.SERVICE.encode() in seen('127.0.0.1', query), query
		for word in (b'evil.example', b'<b>'):
			assert word not in seen('127.0.0.3', query)


# ---- what a stranger writes into it

@cases(('query', '/?lang="><script>alert(1)</script>', {}), ('wsdl', '?wsdl"><b>', {}), ('schema', '?xsd=<b>', {}),
    ('language', '', {'Accept-Language': '"><b>,da"'}), ('user agent', '', {'User-Agent': '"><b>'}),
    ('referer', '', {'Referer': 'javascript:"><b>'}), ('forwarded host', '', {'X-Forwarded-Host': 'evil.example"><b>'}))
def hostile_values_are_not_repeated(world, query, headers):
	data = f'GET {client.SERVICE}{query} HTTP/1.1\r\nHost: gw.example.dk\r\nConnection: close\r\n'
	data += ''.join(f'{name}: {value}\r\n' for name, value in headers.items()) + '\r\n'
	got = world.http(None).raw(data.encode())
	assert got.startswith(b'HTTP/1.1 ')
	for word in (b'<script', b'<b>', b'evil.example', b'javascript:'):
		assert word not in got, got


HOSTS = [('a name', 'gw.example.dk', True), ('with a port', 'gw.example.dk:8443', True), ('IPv4', '10.0.0.1:80', True), ('IPv6', '[::1]:8080', True),
    ('markup', '"><script>alert(1)</script>', False), ('quote', "gw'example", False), ('user information', 'user@gw.example.dk', False),
    ('path', 'gw.example.dk/path', False), ('query', 'gw.example.dk?x', False), ('fragment', 'gw.example.dk#x', False),
    ('space', 'gw example', False), ('entity', 'gw&amp;x', False), ('two', 'gw.example.dk, evil.example', False),
    ('a port that is none', 'gw.example.dk:99999', False), ('a port of words', 'gw.example.dk:x', False), ('empty', '', False),
    ('percent', 'gw%2eexample', False), ('backslash', 'gw\\example', False), ('Latin-1', 'gæ.example', False), ('shell', '$(id).example', False)]


@cases(*HOSTS)
def an_odd_host_is_not_repeated(world, host, good):
	for query in ('', '?wsdl', '?xsd=saml'):
		for version in ('1.1', '1.0'):
			data = f'GET {client.SERVICE}{query} HTTP/{version}\r\nHost: {host}\r\nConnection: close\r\n\r\n'
			got = world.http(None).raw(data.encode('latin-1')).decode('latin-1')
			if not good:
				assert not host or f'://{host}' not in html.unescape(got), got
				assert '<script' not in got and 'evil' not in got and '$(id)' not in got, got
				continue
			assert got.startswith('HTTP/1.1 200') and f'http://{host}{client.SERVICE}' in got, got


# ---- WSDL and schemas

def described(http, query):
	answer = http.get(client.SERVICE + query)
	assert answer.status == 200 and answer.headers['Content-Type'] == 'text/xml; charset=utf-8', (query, answer.status)
	assert b'@ADDRESS@' not in answer.body
	return answer.body


@cases(('http', False), ('https', True))
def the_wsdl_has_the_callers_address(world, tls):
	server = world.sandbox['servers'][0]
	address = (server['https'] if tls else server['http']) + client.SERVICE
	root = etree.fromstring(described(world.http(None, tls=tls), '?wsdl'))
	assert root.xpath('//s:address/@location', namespaces={'s': WSDL_SOAP}) == [address]
	places = root.xpath('//@schemaLocation')
	assert places and all(place.startswith(address + '?xsd=') for place in places), places
	for place in places:
		assert world.http(None, tls=tls).get(place[place.index('/sosigw'):]).status == 200


PUBLISHED = {
	'ds': 'Signature SignedInfo CanonicalizationMethod SignatureMethod Reference Transforms DigestMethod DigestValue SignatureValue KeyInfo KeyName '
	    'X509Data X509Certificate',
	'saml': 'Assertion AssertionType Issuer Subject NameID NameIDType SubjectIdentifierType SubjectConfirmation ConfirmationMethod '
	    'SubjectConfirmationData Conditions AttributeStatement Attribute AttributeValue',
	'wsse': 'Security UsernameToken', 'wsu': 'Timestamp', 'medcom': 'Header Linking FaultCode',
	'gw2007': 'requestIdCardDigestForSigningRequestBody requestIdCardDigestForSigningResponse signIdCardRequestBody signIdCardResponse '
	    'getValidIdCardRequestBody getValidIdCardResponse logoutRequestBody implicitLoginHeader',
}


@cases(*[(name, name) for name in PUBLISHED])
def what_clients_name_their_classes_after_is_global_as_in_the_published_schemas(world, name):
	"""A program that is generated anew would not compile with other classes."""
	root = etree.fromstring(described(world.http(None), f'?xsd={name}'))
	missing = set(PUBLISHED[name].split()) - set(root.xpath('/*/*/@name'))
	assert not missing, missing


@cases(*[(name, name) for name in SCHEMAS])
def no_class_gets_two_members_whose_names_differ_in_case_alone(world, name):
	"""JAXB makes id and Id one property and gives up."""
	root = etree.fromstring(described(world.http(None), f'?xsd={name}'))
	for t in root.iter(f'{{{XSD}}}complexType'):
		own = [m for m in t.iter(f'{{{XSD}}}attribute', f'{{{XSD}}}element') if next(m.iterancestors(f'{{{XSD}}}complexType')) is t]
		members = [(m.get('name') or m.get('ref').split(':')[-1]).lower() for m in own]
		assert len(members) == len(set(members)), members


def the_query_may_be_in_capitals(world):
	assert described(world.http(None), '?WSDL') == described(world.http(None), '?wsdl')


class Schemas:
	"""The served schemas in a folder, and one that imports them all."""

	def __init__(self, world, folder):
		self.folder, address = folder, world.sandbox['servers'][0]['http'] + client.SERVICE
		imports = ''
		for name in ('wsdl', *SCHEMAS):
			text = described(world.http(None), f'?xsd={name}' if name != 'wsdl' else '?wsdl').decode()
			text = re.sub(re.escape(address) + r'\?xsd=(\w+)', r'\1.xsd', text)
			self.write(f'{name}.xsd' if name != 'wsdl' else 'sosigw.wsdl', text)
			if name != 'wsdl':
				ns = etree.fromstring(text.encode()).get('targetNamespace')
				imports += f'<xs:import namespace="{ns}" schemaLocation="{name}.xsd"/>'
		self.write('all.xsd', f'<xs:schema xmlns:xs="{XSD}">{imports}</xs:schema>')

	def write(self, name, text):
		with open(os.path.join(self.folder, name), 'w', encoding='utf-8') as f:
			f.write(text)

	def xmllint(self, *argv):
		r = subprocess.run(['xmllint', '--noout', '--nonet', *argv], cwd=self.folder, capture_output=True, text=True, check=False)
		assert r.returncode == 0, r.stderr

	def check(self, note, xml):
		"""All that stands in the header, the body or the fault's detail of an answer."""
		root = etree.fromstring(xml)
		ns = {'s': client.SOAP}
		parts = root.xpath('s:Header/* | s:Body/*[not(self::s:Fault)] | s:Body/s:Fault/detail/*', namespaces=ns)
		assert parts, f'{note}: nothing to check'
		for n, part in enumerate(parts):
			part.tail = None
			self.write(f'{note}-{n}.xml', etree.tostring(part, encoding='unicode'))
			self.xmllint('--schema', 'all.xsd', f'{note}-{n}.xml')


def the_wsdl_and_the_schemas_are_valid_and_whole(world):
	with tempfile.TemporaryDirectory(prefix='sosigw-flow-') as d:
		s = Schemas(world, d)
		s.xmllint('sosigw.wsdl', *(f'{name}.xsd' for name in SCHEMAS))
		etree.XMLSchema(etree.parse(os.path.join(d, 'all.xsd')))
		wsdl = etree.parse(os.path.join(d, 'sosigw.wsdl')).getroot()
		elements = {(root.get('targetNamespace'), e.get('name')) for root in (etree.parse(os.path.join(d, f'{n}.xsd')).getroot() for n in SCHEMAS)
		    for e in root.findall(f'{{{XSD}}}element')}

	def named(kind):
		return {e.get('name') for e in wsdl.findall(f'{{{WSDL}}}{kind}')}

	def local(e, attribute):
		prefix, _, name = e.get(attribute).partition(':')
		assert e.nsmap[prefix] == wsdl.get('targetNamespace'), e.get(attribute)
		return name

	for part in wsdl.iter(f'{{{WSDL}}}part'):
		prefix, _, name = part.get('element').partition(':')
		assert (part.nsmap[prefix], name) in elements, part.get('element')
	for e in wsdl.iterfind('.//*[@message]'):
		assert local(e, 'message') in named('message')
	for e in wsdl.iterfind(f'{{{WSDL}}}binding'):
		assert local(e, 'type') in named('portType')
	for e in wsdl.iter(f'{{{WSDL}}}port'):
		assert local(e, 'binding') in named('binding')


def the_wsdl_says_what_the_page_and_real_clients_say(world):
	wsdl = etree.fromstring(described(world.http(None), '?wsdl'))
	actions = {o.getparent().get('name'): o.get('soapAction') for o in wsdl.iter(f'{{{WSDL_SOAP}}}operation')}
	assert actions == {name: action for name, action in client.ACTION.items() if name != OF_WS_TRUST}, actions
	ports = wsdl.xpath('//w:portType/w:operation/@name', namespaces={'w': WSDL})
	assert ports == ['requestIdCardDigestForSigning', 'logout', 'getValidIdCard', 'signIdCard', 'logoutWithResponse']


def all_our_answers_follow_the_schemas(world):
	def withhold(document):
		for one in document['organisations']:
			one['withhold_signature'] = True

	with tempfile.TemporaryDirectory(prefix='sosigw-flow-') as d:
		s = Schemas(world, d)
		for name in ('order-answer', 'fault', 'fault-implicit-login'):
			with open(os.path.join(TOP, 'tests', 'data', 'soap', f'{name}.xml'), 'rb') as f:
				s.check(f'recorded-{name}', f.read())
		lars = world.user()
		s.check('none', world.post_service(client.get_valid_id_card(lars)).body)
		s.check('implicit', world.post_proxy(world.proxy_request(lars)).body)
		s.check('order', world.post_service(client.order_card(lars)).body)
		s.check('awaiting', world.post_service(client.get_valid_id_card(lars)).body)
		s.check('signed', world.order_and_sign(lars).body)
		s.check('card', world.post_service(client.get_valid_id_card(lars)).body)
		with world.configured(withhold):
			s.check('card-without-signature', world.post_service(client.get_valid_id_card(lars)).body)
		s.check('logout', world.post_service(client.logout_with_response(lars)).body)
		s.check('denied', world.post_service(client.order_card(lars), None).body)
		s.check('syntax', world.post_service(b'<x/>').body)
		oces3 = world.user(client.METTE)
		world.order_and_sign(oces3, 'moces3')
		s.check('card-oces3', world.post_service(client.get_valid_id_card(oces3)).body)


# ---- the curl lines

class Shell:
	"""The blocks of the page, in a shell, with the words in capitals replaced."""

	def __init__(self, page, folder, words):
		self.blocks = [pre.text_content() for pre in page.iter('pre')]
		self.folder, self.words = folder, words

	def run(self, block):
		for word, value in self.words.items():
			block = re.sub(rf'\b{word}\b', lambda m, v=value: v, block)
		left = re.findall(r'\b[A-Z]{2,}-[A-Z]{2,}\b|SECRET', block)
		assert not left, f'nothing is known for {left}'
		r = subprocess.run(['bash', '-e'], input=block, cwd=self.folder, capture_output=True, text=True, check=False)
		assert r.returncode == 0, f'{block}\n{r.stdout}{r.stderr}'
		return r.stdout


@cases(('Danish', '?lang=da'), ('English', '?lang=en'))
def the_curl_lines_work_as_they_stand(world, query):
	page = fetch_page(world, query)
	lars = world.user()
	words = {'SECRET': world.secret('epj-a'), 'USER-ID': lars.name_id, 'GIVEN-NAME': lars.given, 'SURNAME': lars.sur, 'USER-ROLE': lars.role,
	    'SYSTEM-NAME': lars.system, 'CVR-NUMBER': lars.care_id, 'ORGANISATION-NAME': lars.care_name, 'USER-KEY.pem': world.certs.key('moces'),
	    'USER-CERTIFICATE.pem': world.certs.cert('moces'), 'SERVICE-URL': world.service('service'), 'SERVICE-REQUEST': client.INVOKE}
	with tempfile.TemporaryDirectory(prefix='sosigw-flow-') as d:
		shell = Shell(page, d, words)
		secret, head, order, sign, get, logout, confirmed, bst, call = shell.blocks
		shell.run(secret)
		assert os.stat(os.path.join(d, 'client.conf')).st_mode & 0o077 == 0, 'others can read the secret'
		shell.run(head)
		assert 'BrowserUrl' in shell.run(order)
		assert '>ok<' in shell.run(sign)
		assert 'getValidIdCardResponse' in shell.run(get)
		before = world.stub_count()
		assert 'HTTP 200' in shell.run(call)
		assert world.forwarded(before)['verdict'] == 'ok'
		assert 'HTTP 202' in shell.run(logout)
		assert '>ok<' in shell.run(confirmed)
		assert 'sosigw_no_valid_idcard_in_cache' in shell.run(get)
		somebody = world.user()
		with open(os.path.join(d, 'request.xml'), 'wb') as f:
			f.write(client.bst_request(somebody, world.certs))
		assert 'RequestSecurityTokenResponse' in shell.run(bst)
