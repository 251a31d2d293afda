"""Logging in at an identity provider instead of signing (docs/interface.md): the provider's answer becomes the ordered card, if
it is signed by the provider, for this gateway, this page and now, and the person is the order's. The test is the provider."""
import base64
import datetime
import urllib.parse
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

import browser
import client
from harness import cases

AWAITING = 'sosigw_awaiting_signing'
ISSUER, AUDIENCE, SSO = 'https://idp.example.dk', 'https://gw.example.dk/saml', 'https://idp.example.dk/sso?tenant=1'
SAMLP = 'urn:oasis:names:tc:SAML:2.0:protocol'
TOKEN = 'https://data.gov.dk/model/core/eid/bootstrapToken'
DONE, REFUSED, OTHER = 'You are signed in until', 'You have not logged in', 'Somebody else has logged in'


def provider(w, url=SSO):
	"""A change of the configuration: Region A has an identity provider."""
	with open(w.certs.cert('idp'), encoding='ascii') as f:
		pem = f.read()

	def change(document):
		document['organisations'][0]['identity_providers'] = [{
		    'name': 'Region A login <&>', 'url': url, 'issuer': ISSUER, 'audience': AUDIENCE, 'certificates': [pem],
		    'certificate_file': w.certs.cert('foces'), 'key_file': w.certs.key('foces'),
		}]
	return change


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
