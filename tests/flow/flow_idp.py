"""Logging in at an identity provider instead of signing (docs/interface.md): the provider's answer becomes the ordered card, if
it is signed by the provider, for this gateway, this page and now, and the person is the order's. The test is the provider."""
import base64
import datetime
import os
import shutil
import urllib.parse
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding as blocks
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, aead, algorithms, modes

import browser
import client
import flow_system_keys
from harness import cases

AWAITING = 'sosigw_awaiting_signing'
ISSUER, AUDIENCE, SSO = 'https://idp.example.dk', 'https://gw.example.dk/saml', 'https://idp.example.dk/sso?tenant=1'
SAMLP = 'urn:oasis:names:tc:SAML:2.0:protocol'
TOKEN = 'https://data.gov.dk/model/core/eid/bootstrapToken'
DONE, REFUSED, OTHER = 'You are signed in until', 'You have not logged in', 'Somebody else has logged in'


def provider(w, url=SSO, **more):
	"""A change of the configuration: Region A has an identity provider, with these members besides."""
	with open(w.certs.cert('idp'), encoding='ascii') as f:
		pem = f.read()

	def change(document):
		document['organisations'][0]['identity_providers'] = [{
		    'name': 'Region A login <&>', 'url': url, 'issuer': ISSUER, 'audience': AUDIENCE, 'certificates': [pem],
		    'certificate_file': w.certs.cert('foces'), 'key_file': w.certs.key('foces'), **more,
		}]
	return change


def key_of(w, name):
	"""As decryption_keys has it."""
	return {'certificate_file': w.certs.cert(name), 'key_file': w.certs.key(name)}


class Asked:
	"""What a link, with this text, asks the provider."""

	def __init__(self, url, name=''):
		self.name, self.url = name, url
		query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.url).query))
		self.signed, _, signature = url[url.index('SAMLRequest='):].partition('&Signature=')
		self.signature = base64.b64decode(urllib.parse.unquote(signature))
		self.relay = query['RelayState']
		self.request = client.etree.fromstring(zlib.decompress(base64.b64decode(query['SAMLRequest']), -15))
		self.id, self.acs = self.request.get('ID'), self.request.get('AssertionConsumerServiceURL')


def asked_on(page):
	link, = page.root.xpath('//section[@aria-labelledby="elsewhere"]//a')
	return Asked(link.get('href'), link.text)


def answer_to(w, asked, who, change=lambda xml: xml, after=lambda xml: xml, signer='idp', holder='foces', how=TOKEN, listed='', **says):
	"""The provider's Response, base64. change: of the assertion before it is signed; after: of the whole after that; listed: prefixes
	that both signatures name for their c14n."""
	now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
	says = {'audience': AUDIENCE, 'recipient': asked.acs, 'destination': asked.acs, 'request': asked.id, 'issuer': ISSUER,
	    'status': 'Success', 'begin': now - datetime.timedelta(minutes=1), 'end': now + datetime.timedelta(minutes=5), **says}
	token = base64.b64encode(client.bootstrap_token(who, w.certs, holder, listed=listed).encode()).decode()
	assertion = (f'<saml:Assertion xmlns:saml="{client.SAML}" ID="_login" IssueInstant="{client.iso(now)}" Version="2.0">'
	    f'<saml:Issuer>{says["issuer"]}</saml:Issuer><saml:Subject><saml:NameID>{who.name_id}</saml:NameID><saml:SubjectConfirmation '
	    f'Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData Recipient="{says["recipient"]}" InResponseTo='
	    f'"{says["request"]}" NotOnOrAfter="{client.iso(says["end"])}"/></saml:SubjectConfirmation></saml:Subject><saml:Conditions '
	    f'NotBefore="{client.iso(says["begin"])}" NotOnOrAfter="{client.iso(says["end"])}"><saml:AudienceRestriction><saml:Audience>'
	    f'{says["audience"]}</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant='
	    f'"{client.iso(now)}"/><saml:AttributeStatement><saml:Attribute Name="{how}"><saml:AttributeValue>{token}'
	    '</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion>')
	assertion = change(assertion)
	if listed:
		assertion = assertion.replace('<saml:AttributeValue>', f'<saml:AttributeValue {client.TYPED}>')
	if signer:
		signature = client.signature_over(assertion, ['_login'], w.certs.key(signer), w.certs.cert(signer), enveloped=True, listed=listed)
		assertion = assertion.replace('</saml:Issuer>', '</saml:Issuer>' + signature, 1)
	response = (f'<samlp:Response xmlns:samlp="{SAMLP}" ID="_r" Version="2.0" IssueInstant="{client.iso(now)}" Destination='
	    f'"{says["destination"]}" InResponseTo="{says["request"]}"><samlp:Status><samlp:StatusCode Value='
	    f'"urn:oasis:names:tc:SAML:2.0:status:{says["status"]}"/></samlp:Status>{assertion}</samlp:Response>')
	return base64.b64encode(after(response).encode()).decode()


# ---- encrypted, as OIOSAML has providers do it

XENC, XENC11, DS = 'http://www.w3.org/2001/04/xmlenc#', 'http://www.w3.org/2009/xmlenc11#', 'http://www.w3.org/2000/09/xmldsig#'


def under_aes(plain, key, how):
	iv = os.urandom(12 if how == 'gcm' else 16)
	if how == 'gcm':
		return iv + aead.AESGCM(key).encrypt(iv, plain, None)
	pad, cbc = blocks.PKCS7(128).padder(), Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
	return iv + cbc.update(pad.update(plain) + pad.finalize()) + cbc.finalize()


def encrypted(w, to='foces', how='gcm', beside=False, digest=hashes.SHA1, transport=None):
	"""What makes of a Response with an assertion one with that assertion encrypted for the certificate `to`."""
	def change(response):
		begin, end = response.index('<saml:Assertion '), response.index('</samlp:Response>')
		session = os.urandom(32)
		content = base64.b64encode(under_aes(response[begin:end].encode(), session, how)).decode()
		with open(w.certs.cert(to), 'rb') as f:
			public = x509.load_pem_x509_certificate(f.read()).public_key()
		wrapped = base64.b64encode(public.encrypt(session, padding.OAEP(padding.MGF1(digest()), digest(), None))).decode()
		methods = '' if digest is hashes.SHA1 else (f'<ds:DigestMethod Algorithm="{XENC}sha256"/>'
		    f'<xenc11:MGF xmlns:xenc11="{XENC11}" Algorithm="{XENC11}mgf1sha256"/>')
		algorithm = transport or (f'{XENC}rsa-oaep-mgf1p' if digest is hashes.SHA1 else f'{XENC11}rsa-oaep')
		key = (f'<xenc:EncryptedKey xmlns:xenc="{XENC}" xmlns:ds="{DS}" Id="_k" Recipient="{AUDIENCE}"><xenc:EncryptionMethod Algorithm='
		    f'"{algorithm}">{methods}</xenc:EncryptionMethod><xenc:CipherData><xenc:CipherValue>{wrapped}</xenc:CipherValue>'
		    f'</xenc:CipherData>{f"""<xenc:ReferenceList><xenc:DataReference URI="#_d"/></xenc:ReferenceList>""" if beside else ""}</xenc:EncryptedKey>')
		inside = f'<ds:RetrievalMethod Type="{XENC}EncryptedKey" URI="#_k"/>' if beside else key
		return (response[:begin].replace('<samlp:Status>', f'<saml:Issuer xmlns:saml="{client.SAML}">{ISSUER}</saml:Issuer><samlp:Status>') +
		    f'<saml:EncryptedAssertion xmlns:saml="{client.SAML}"><xenc:EncryptedData xmlns:xenc="{XENC}" Id="_d" Type="{XENC}Element">'
		    f'<xenc:EncryptionMethod Algorithm="{XENC11 if how == "gcm" else XENC}aes256-{how}"/><ds:KeyInfo xmlns:ds="{DS}">{inside}</ds:KeyInfo>'
		    f'<xenc:CipherData><xenc:CipherValue>{content}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>{key if beside else ""}'
		    '</saml:EncryptedAssertion>' + response[end:])
	return change


def visitor(w):
	return browser.Browser(w.sandbox['servers'][0]['https'], ca=w.sandbox['tls_ca'])


def opened(w, who):
	b = visitor(w)
	page = b.open(w.post_service(client.order_card(who)).parse().browser_url)
	assert page.status == 200, page
	return b, page, asked_on(page)


def from_provider(b, asked, answer):
	"""The provider's page posts: from another site, so without the cookie."""
	cookie, b.cookie = b.cookie, None
	page = b.post('/sosigw/sign/acs', {'SAMLResponse': answer, 'RelayState': asked.relay}, {'Sec-Fetch-Site': 'cross-site', 'Origin': ISSUER})
	b.cookie = cookie
	return page


def go_on(b, asked, answer, **options):
	shown = from_provider(b, asked, answer)
	assert shown.status == 200 and not shown.headers.get_all('Set-Cookie'), shown
	form, = shown.root.xpath('//form[@id="login"]')
	assert form.get('action') == '/sosigw/sign/login' and form.get('method') == 'post'
	return b.post('/sosigw/sign/login', {i.get('name'): i.get('value') for i in form.xpath('.//input')}, **options)


def awaits(w, who):
	w.refused(w.post_service(client.get_valid_id_card(who)), AWAITING)


@cases(('OIOSAML 3', TOKEN, ''), ('OIOSAML 2', 'urn:liberty:disco:2006-08:DiscoveryEPR', ''), ('signed as OpenSAML does', TOKEN, 'xsd xs xsi'))
def who_logs_in_has_the_card_that_was_ordered(world, how, listed):
	lars = world.user()
	with world.configured(provider(world)):
		b, page, asked = opened(world, lars)
		assert asked.name.endswith('Region A login <&>') and asked.url.startswith(SSO + '&SAMLRequest='), asked.url
		assert asked.request.get('Destination') == SSO and asked.acs.endswith('/sosigw/sign/acs') and len(asked.relay) <= 80
		assert asked.request.findtext(f'{{{client.SAML}}}Issuer') == AUDIENCE
		with open(world.certs.cert('foces'), 'rb') as f:
			x509.load_pem_x509_certificate(f.read()).public_key().verify(asked.signature, asked.signed.encode(),
			    padding.PKCS1v15(), hashes.SHA256())
		assert page.token.partition('.')[2] not in asked.url, 'the answer is not told to the provider'
		awaits(world, lars)
		done = go_on(b, asked, answer_to(world, asked, lars, how=how, listed=listed))
		assert done.status == 200 and done.title.startswith(DONE), done
		card = client.read_card(world.get_card(lars).card)
		assert card['sosi:AuthenticationLevel'] == '4' and card['medcom:UserCivilRegistrationNumber'] == lars.cpr, card
		assert card['medcom:ITSystemName'] == lars.system, card
		assert world.post_proxy(world.proxy_request(lars)).status == 200
		# the same answer once more, and in another browser
		again = go_on(b, asked, answer_to(world, asked, lars))
		assert again.title.startswith('You are already signed in'), again


def wrapped(xml):
	"""Another assertion before the signed one."""
	head, tail = xml.split('<saml:Assertion ', 1)
	false = '<saml:Assertion ' + tail.split('</samlp:Response>', 1)[0].replace('_login', '_false')
	return head + false + '<saml:Assertion ' + tail


HOUR = datetime.timedelta(hours=1)


def soon():
	return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + HOUR


@cases(('not signed', {'signer': None}), ('signed by somebody else', {'signer': 'foces'}),
    ('another audience', {'audience': 'https://other.example.dk'}), ('another recipient', {'recipient': 'https://other.example.dk/acs'}),
    ('another destination', {'destination': 'https://other.example.dk/acs'}), ('another issuer', {'issuer': 'https://other.example.dk'}),
    ('to another request', {'request': '_1234'}), ('no success', {'status': 'AuthnFailed'}),
    ('too old', {'begin': soon() - 4 * HOUR, 'end': soon() - 3 * HOUR}), ('not yet', {'begin': soon(), 'end': soon() + HOUR}),
    ('changed after', {'after': lambda x: x.replace('<saml:NameID>', '<saml:NameID>x', 1)}),
    ('nobody logged in', {'change': lambda x: x.replace('saml:AuthnStatement', 'saml:AuthnStatment')}),
    ('for no audience', {'change': lambda x: x.replace('saml:AudienceRestriction', 'saml:OneTimeUse')}),
    ('not bearer', {'change': lambda x: x.replace('cm:bearer', 'cm:sender-vouches')}),
    ('wrapped', {'after': wrapped}), ('two of it', {'after': lambda x: x.replace('</samlp:Response>', x[x.index('<saml:Assertion '):])}),
    ('a DOCTYPE', {'after': lambda x: '<!DOCTYPE x>' + x}), ('no base64 token', {'change': lambda x: x.replace('<saml:AttributeValue>', '<saml:AttributeValue>*', 1)}),
    ('with SHA-1', {'after': lambda x: x.replace('xmldsig-more#rsa-sha256', 'xmldsig#rsa-sha1', 1)}))
def a_false_answer_is_refused_and_no_sts_is_asked(world, how):
	lars = world.user()
	with world.configured(provider(world)):
		b, _, asked = opened(world, lars)
		before = world.sts_control()
		refused = go_on(b, asked, answer_to(world, asked, lars, **how))
		assert refused.status == 422 and REFUSED in refused.said, refused
		assert world.sts_control() == before, 'the STS was asked'
		awaits(world, lars)
		# the page awaits another answer now, with another request
		again = asked_on(refused)
		assert again.id != asked.id
		old = go_on(b, again, answer_to(world, asked, lars))
		assert old.status == 422 and REFUSED in old.said, old
		done = go_on(b, asked_on(old), answer_to(world, asked_on(old), lars))
		assert done.title.startswith(DONE), done


@cases(('by number', {}), ('by name, where the order has no number', {'cpr': None, 'name_id_format': 'medcom:other'}))
def somebody_else_does_not_get_the_card(world, order):
	lars = world.user().but(code=None, **order)
	stine = lars.but(cpr='1802602810', given='Stine', sur='Svendsen')
	assert lars.cpr != stine.cpr
	with world.configured(provider(world)):
		b, _, asked = opened(world, lars)
		refused = go_on(b, asked, answer_to(world, asked, stine))
		assert refused.status == 422 and OTHER in refused.said, refused
		awaits(world, lars)


def another_browser_cannot_use_the_answer(world):
	lars = world.user()
	with world.configured(provider(world)):
		b, _, asked = opened(world, lars)
		answer = answer_to(world, asked, lars)
		for thief in (visitor(world), opened(world, world.user())[0]):
			stolen = go_on(thief, asked, answer)
			assert stolen.status == 403, stolen
		crossed = go_on(b, asked, answer, headers={'Sec-Fetch-Site': 'cross-site'})
		assert crossed.status == 403, crossed
		assert go_on(b, asked, answer).title.startswith(DONE)


def an_organisation_without_a_provider_shows_none_and_takes_no_answer(world):
	lars = world.user()
	with world.configured(provider(world)):
		b, _, asked = opened(world, lars)
		answer = answer_to(world, asked, lars)
	page = b.open(f'/sosigw/sign/start?id={asked.relay}&lang=en')
	assert page.status == 200 and not page.root.xpath('//section[@aria-labelledby="elsewhere"]'), page
	assert go_on(b, asked, answer).status == 422
	unknown = b.post('/sosigw/sign/acs', {'SAMLResponse': answer, 'RelayState': 'nobody'})
	assert unknown.status == 410, unknown


# ---- encrypted answers

@cases(('AES-GCM, the key inside', {}), ('AES-CBC, the key beside', {'how': 'cbc', 'beside': True}), ('OAEP with SHA-256', {'digest': hashes.SHA256}))
def an_encrypted_answer_is_as_good(world, how):
	lars = world.user()
	with world.configured(provider(world)):
		b, _, asked = opened(world, lars)
		done = go_on(b, asked, answer_to(world, asked, lars, after=encrypted(world, **how)))
		assert done.title.startswith(DONE), done
		assert client.read_card(world.get_card(lars).card)['medcom:UserCivilRegistrationNumber'] == lars.cpr


def two_decryption_keys_count_while_one_replaces_the_other_and_no_third(world):
	with world.configured(provider(world, decryption_keys=[key_of(world, 'voces'), key_of(world, 'voces3')])):
		for name in ('voces', 'voces3'):
			lars = world.user()
			b, _, asked = opened(world, lars)
			done = go_on(b, asked, answer_to(world, asked, lars, after=encrypted(world, name)))
			assert done.title.startswith(DONE), (name, done)
		lars = world.user()
		b, _, asked = opened(world, lars)
		refused = go_on(b, asked, answer_to(world, asked, lars, after=encrypted(world, 'foces')))
		assert refused.status == 422 and REFUSED in refused.said, refused


def a_decryption_key_that_is_not_there_keeps_out_only_who_needs_it(world):
	missing = {'certificate_file': world.certs.cert('voces'), 'key_file': '/nowhere/else.key'}
	lars = world.user()
	with world.configured(provider(world, decryption_keys=[missing, key_of(world, 'foces')])):
		b, _, asked = opened(world, lars)
		assert go_on(b, asked, answer_to(world, asked, lars, after=encrypted(world))).title.startswith(DONE)
	with world.configured(provider(world, decryption_keys=[missing])):
		b, _, asked = opened(world, world.user())
		failed = go_on(b, asked, answer_to(world, asked, lars, after=encrypted(world, 'voces')))
		assert failed.status == 503, failed


def a_token_decrypts_too(world):
	folder = os.path.join(world.folder, 'token')
	token = {'certificate_file': world.certs.cert('voces'), 'pkcs11': 'pkcs11:token=gw;object=job'}
	lars = world.user()
	try:
		conf = flow_system_keys.make_token(world, folder)
		with flow_system_keys.our_file(world, 'pin', b'4711\n') as pin, \
		    flow_system_keys.environment(world, 'card', SOFTHSM2_CONF=conf, PKCS11_MODULE_PATH=flow_system_keys.SOFTHSM), \
		    world.configured(provider(world, decryption_keys=[{**token, 'password_file': pin}])):
			b, _, asked = opened(world, lars)
			other = go_on(b, asked, answer_to(world, asked, lars, after=encrypted(world, 'foces')))
			assert other.status == 422, other
			done = go_on(b, asked_on(other), answer_to(world, asked_on(other), lars, after=encrypted(world, 'voces')))
			assert done.title.startswith(DONE), done
	finally:
		shutil.rmtree(folder, ignore_errors=True)


def both(response):
	"""The encrypted assertion, and a plain one."""
	return response.replace('</samlp:Response>', f'<saml:Assertion xmlns:saml="{client.SAML}" ID="_p"/></samlp:Response>')


def log_of_cards(w):
	"""The lines of the card workers' technical logs."""
	lines = set()
	for n in (1, 2):
		with open(os.path.join(w.folder, 'log', f's1-card-{n}.log'), encoding='utf-8') as f:
			lines.update(f)
	return lines


@cases(('for another', 'gcm', {'to': 'voces'}, {}, 'not for a key of ours, or changed'), ('RSA 1.5', 'gcm', {'transport': XENC + 'rsa-1_5'}, {}, 'have the provider use RSA-OAEP'),
    ('not signed', 'gcm', {}, {'signer': None}, 'the assertion is not signed'), ('signed by somebody else', 'gcm', {}, {'signer': 'foces'}, 'signed by nobody'),
    ('for another, CBC', 'cbc', {'to': 'voces'}, {}, 'under AES-CBC'), ('not signed, CBC', 'cbc', {}, {'signer': None}, 'under AES-CBC'),
    ('another audience, CBC', 'cbc', {}, {'audience': 'https://other.example.dk'}, 'Audience'), ('and a plain one', 'gcm', {}, {}, 'not one Assertion', both),
    ('an EncryptedAttribute', 'gcm', {}, {'change': lambda x: x.replace('saml:Attribute ', 'saml:EncryptedAttribute ').replace('</saml:Attribute>',
    '</saml:EncryptedAttribute>')}, 'EncryptedAttribute inside'))
def a_false_encrypted_answer_is_refused_and_the_log_says_why(world, how, wrapping, answer, why, last=lambda x: x):
	lars = world.user()
	wrap = encrypted(world, how=how, **wrapping)
	with world.configured(provider(world)):
		b, page, asked = opened(world, lars)
		before, logged = world.sts_control(), log_of_cards(world)
		refused = go_on(b, asked, answer_to(world, asked, lars, after=lambda x: last(wrap(x)), **answer))
		assert refused.status == 422 and REFUSED in refused.said, refused
		assert why not in refused.text, 'the reason is for the log alone'
		assert world.sts_control() == before, 'the STS was asked'
		assert any(why in line for line in log_of_cards(world) - logged), why
		awaits(world, lars)


# ---- what a provider's administrator registers

MD = 'urn:oasis:names:tc:SAML:2.0:metadata'
SCHEMAS = ('/usr/share/xml/opensaml', '/usr/share/xml/xmltooling')


class Local(client.etree.Resolver):
	"""What the schema of metadata imports, from Debian's packages and not from the net."""

	def resolve(self, url, _, context):
		for folder in SCHEMAS:
			path = os.path.join(folder, os.path.basename(url))
			if os.path.exists(path):
				return self.resolve_filename(path, context)
		return self.resolve_empty(context)


def metadata_schema():
	parser = client.etree.XMLParser()
	parser.resolvers.add(Local())
	return client.etree.XMLSchema(client.etree.parse(os.path.join(SCHEMAS[0], 'saml-schema-metadata-2.0.xsd'), parser))


def metadata(w, **query):
	return visitor(w).open('/sosigw/sign/metadata?' + urllib.parse.urlencode(query))


def metadata_is_valid_and_what_it_says_is_so(world):
	lars = world.user()
	keys = [key_of(world, 'voces'), key_of(world, 'voces3')]
	with world.configured(provider(world, decryption_keys=keys)):
		page = metadata(world, organisation='region-a', issuer=ISSUER)
		assert page.status == 200 and page.headers['Content-Type'] == 'application/samlmetadata+xml', page
		root = client.etree.fromstring(page.text.encode())
		schema = metadata_schema()
		assert schema.validate(root), schema.error_log
		assert (root.tag, root.get('entityID'), root.get('cacheDuration')) == (f'{{{MD}}}EntityDescriptor', AUDIENCE, 'PT24H')
		sp, = root
		assert (sp.get('AuthnRequestsSigned'), sp.get('WantAssertionsSigned'), sp.get('protocolSupportEnumeration')) == ('true', 'true', SAMLP)
		said = {k.get('use'): k.findtext(f'.//{{{DS}}}X509Certificate') for k in sp.findall(f'{{{MD}}}KeyDescriptor')}
		assert said == {use: client.cert_base64(world.certs.cert(name)) for use, name in (('signing', 'foces'), ('encryption', 'voces'))}
		# a provider that follows it is understood
		b, _, asked = opened(world, lars)
		acs, = sp.findall(f'{{{MD}}}AssertionConsumerService')
		assert (acs.get('Location'), acs.get('Binding')) == (asked.acs, 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST')
		assert asked.request.findtext(f'{{{client.SAML}}}Issuer') == root.get('entityID')
		assert go_on(b, asked, answer_to(world, asked, lars, after=encrypted(world, 'voces'))).title.startswith(DONE)
		# with one entry its issuer can be left out
		assert metadata(world, organisation='region-a').text == page.text


@cases(('another issuer', {'organisation': 'region-a', 'issuer': 'https://other.example.dk'}), ('another organisation', {'organisation': 'nobody'}),
    ('one without a provider', {'organisation': 'region-b'}), ('nothing', {}))
def there_is_metadata_for_what_is_configured_alone(world, query):
	with world.configured(provider(world)):
		page = metadata(world, **query)
		assert page.status == 404 and 'X509' not in page.text, page


def metadata_without_the_key_is_not_made_and_is_only_for_reading(world):
	with world.configured(provider(world, key_file='/nowhere/else.key')):
		assert metadata(world, organisation='region-a').status == 503
	with world.configured(provider(world)):
		posted = visitor(world).post('/sosigw/sign/metadata', {'organisation': 'region-a'})
		assert posted.status == 405 and posted.headers['Allow'] == 'GET', posted
