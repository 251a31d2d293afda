"""A client of the gateway, for tests and the demo: messages in the forms that real clients send, HTTP with the odd
habits of real clients, reading of answers, and the signature a user's program makes.

    import client
    w = client.World(dir)                                  # what testca.py made
    http = client.Http('https://localhost:8443', ca=w.path('tls-ca.pem'), secret='...')
    client.login(http, client.LARS, w, 'moces', form='wcf')
    answer = http.post(client.PROXY, client.proxy(client.LARS, to='http://localhost:9000/service'))
    client.verify_card(client.card_in(recorded_body), w.path('sts.pem'))

Forms: 'seal' (prefixes, as Seal.Java and Seal.Net write), 'wcf' (default namespaces, as .NET's svcutil clients write),
'fmk' (indented templates with namespaces on the envelope: recorded messages of a client of the Danish medicine card,
tests/data/fmk).

Needs nothing but python3-lxml, python3-cryptography and, to verify, the xmlsec1 command.
"""
import base64
import dataclasses
import datetime
import functools
import hashlib
import http.client
import os
import re
import select
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse
import uuid
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lxml import etree

SOAP = 'http://schemas.xmlsoap.org/soap/envelope/'
WSSE = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd'
WSU = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'
SAML = 'urn:oasis:names:tc:SAML:2.0:assertion'
DS = 'http://www.w3.org/2000/09/xmldsig#'
MEDCOM = 'http://www.medcom.dk/dgws/2006/04/dgws-1.0.xsd'
GW = 'http://sosi.dk/gw/2007.09.01'
GW2014 = 'http://sosi.dk/gw/2014.06.01'
WST = 'http://schemas.xmlsoap.org/ws/2005/02/trust'
WSA2005 = 'http://www.w3.org/2005/08/addressing'
WSA2004 = 'http://schemas.xmlsoap.org/ws/2004/08/addressing'
WST13 = 'http://docs.oasis-open.org/ws-sx/ws-trust/200512'
EXC_C14N = 'http://www.w3.org/2001/10/xml-exc-c14n#'

SERVICE = '/sosigw/service/sosigw'
BST = '/sosigw/service/bst'
PROXY = '/sosigw/proxy/soap-request'
ACTION = {op: f'{GW}#{op}' for op in ('requestIdCardDigestForSigning', 'signIdCard', 'getValidIdCard', 'logout')}
ACTION['logoutWithResponse'] = f'{GW2014}#logoutWithResponse'
ACTION['createIdCardFromBST'] = 'http://sosi.org/webservices/sts/1.0/stsService/RequestSecurityToken'

FORMS = ('seal', 'wcf', 'fmk')
TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'data', 'fmk')


# ---- who

@dataclasses.dataclass(frozen=True)
class Person:
    """what a client system knows of its user and itself; None leaves the element out"""
    name_id: str
    cpr: str = None
    given: str = 'Lars'
    sur: str = 'Larsen'
    email: str = None
    role: str = '7170'
    code: str = None
    occupation: str = None
    name_id_format: str = 'medcom:cprnumber'
    system: str = 'Sygdom.dk'
    care_id: str = '20921897'
    care_format: str = 'medcom:cvrnumber'
    care_name: str = 'TRIFORK A/S'
    issuer: str = 'WinPLC'
    level: str = '4'
    kind: str = 'user'

    def but(self, **changes):
        return dataclasses.replace(self, **changes)


# the people of testca.py, with the certificates moces, moces2, moces-other and moces3
LARS = Person('0501792275', '0501792275', 'Lars Ærø', 'Larsen', 'lars@example.dk', '7170', 'J0184', 'Overlæge')
STINE = Person('1802602810', '1802602810', 'Stine', 'Svendsen', 'stine@example.dk', '7170', 'ZXCVB')
SOREN = Person('soren@example.dk', '2512484916', 'Søren', 'Åkjær', None, 'sekretær', name_id_format='medcom:other',
               care_id='30808460', care_name='NETS DANID A/S')
METTE = Person('mette', '0404404040', 'Mette', 'Bæk', None, '5166', 'CBNH1', name_id_format='medcom:other')


class World:
    """the folder that testca.py made"""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def key(self, name):
        return self.path(name + '.key')

    def cert(self, name):
        return self.path(name + '.pem')


# ---- small things of XML

def utcnow():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)


def iso(t):
    return t.strftime('%Y-%m-%dT%H:%M:%SZ')


def attribute_text(text):
    return escape(text, {'"': '&quot;'})


def statements(p):
    """the attributes of a card: (statement, [(name, value, format)])"""
    def some(*rows):
        return [(n, v, f) for n, v, f in rows if v is not None]
    out = [('IDCardData', some(('sosi:IDCardID', str(uuid.uuid4()), None), ('sosi:IDCardVersion', '1.0.1', None),
                               ('sosi:IDCardType', p.kind, None), ('sosi:AuthenticationLevel', p.level, None)))]
    if p.kind == 'user':
        out.append(('UserLog', some(
            ('medcom:UserCivilRegistrationNumber', p.cpr, None), ('medcom:UserGivenName', p.given, None),
            ('medcom:UserSurName', p.sur, None), ('medcom:UserEmailAddress', p.email, None),
            ('medcom:UserRole', p.role, None), ('medcom:UserAuthorizationCode', p.code, None),
            ('medcom:UserOccupation', p.occupation, None))))
    out.append(('SystemLog', some(('medcom:ITSystemName', p.system, None),
                                  ('medcom:CareProviderID', p.care_id, p.care_format),
                                  ('medcom:CareProviderName', p.care_name, None))))
    return out


class Writer:
    """writes the same structure with prefixes (seal), or with a default namespace at every change (wcf)"""

    PREFIX = {SAML: 'saml', DS: 'ds', WSSE: 'wsse', WSU: 'wsu', MEDCOM: 'medcom'}

    def __init__(self, form):
        self.prefixed = form != 'wcf'

    def __call__(self, ns, name, content, attributes=(), inherit=None):
        attrs = ''.join(f' {k}="{attribute_text(v)}"' for k, v in attributes)
        if self.prefixed:
            name = f'{self.PREFIX[ns]}:{name}'
            return f'<{name}{attrs}>{content}</{name}>'
        default = '' if inherit == ns else f' xmlns="{ns}"'
        return f'<{name}{attrs}{default}>{content}</{name}>'


def card(p, form='seal', signature='', start=None, hours=8):
    """the card as the client writes it, in its header or for the STS"""
    w = Writer(form)
    start = start or utcnow() - datetime.timedelta(minutes=5)

    def saml(name, content, attributes=()):
        return w(SAML, name, content, attributes, SAML)

    proof = w(DS, 'KeyInfo', w(DS, 'KeyName', 'OCESSignature', inherit=DS))
    if p.level == '2':
        proof = w(WSSE, 'UsernameToken', w(WSSE, 'Username', 'bruger', inherit=WSSE) +
                  w(WSSE, 'Password', 'hemmelig', inherit=WSSE))
    subject = saml('NameID', escape(p.name_id), [('Format', p.name_id_format)])
    if p.level != '1':
        subject += saml('SubjectConfirmation',
                        saml('ConfirmationMethod', 'urn:oasis:names:tc:SAML:2.0:cm:holder-of-key') +
                        saml('SubjectConfirmationData', proof))
    content = saml('Issuer', p.issuer) + saml('Subject', subject) + \
        saml('Conditions', '', [('NotBefore', iso(start)),
                                ('NotOnOrAfter', iso(start + datetime.timedelta(hours=hours)))])
    for statement, rows in statements(p):
        content += saml('AttributeStatement', ''.join(
            saml('Attribute', saml('AttributeValue', escape(value)),
                 [('Name', name)] + ([('NameFormat', fmt)] if fmt else [])) for name, value, fmt in rows),
            [('id', statement)])
    return w(SAML, 'Assertion', content + signature,
             [('IssueInstant', iso(start)), ('Version', '2.0'), ('id', 'IDCard')])


# ---- messages

XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'


def security(assertion, form):
    created = iso(utcnow() - datetime.timedelta(minutes=5))
    if form == 'wcf':
        return (f'<h:Security id="{uuid.uuid4()}" xmlns:h="{WSSE}" xmlns="{WSSE}" {XSI}><Timestamp xmlns="{WSU}">'
                f'<Created>{created}</Created></Timestamp>{assertion}</h:Security>')
    return (f'<wsse:Security xmlns:wsse="{WSSE}" xmlns:wsu="{WSU}" xmlns:saml="{SAML}" xmlns:ds="{DS}" '
            f'id="{uuid.uuid4()}"><wsu:Timestamp><wsu:Created>{created}</wsu:Created></wsu:Timestamp>{assertion}'
            '</wsse:Security>')


def envelope(header, body, form):
    if form == 'wcf':
        return f'<s:Envelope xmlns:s="{SOAP}"><s:Header>{header}</s:Header><s:Body {XSI}>{body}</s:Body></s:Envelope>'
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="{SOAP}"><soapenv:Header>'
            f'{header}</soapenv:Header><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>')


def fill(template, values):
    """a recorded FMK message; ##NAME## are its places"""
    with open(os.path.join(TEMPLATES, template + '.xml'), encoding='utf-8') as f:
        text = f.read()
    for name, value in values.items():
        text = text.replace(f'##{name}##', value if name == 'DOSAGESTRUCTURE' else escape(value))
    left = re.search(r'##[A-Z]+##', text)
    assert not left, f'{template}: nothing for {left[0]}'
    return text


FMK_OPERATIONS = {'dump': 'dump_patient', 'restore': 'restore_patient', 'create': 'create_drugmedication1.4.4'}


def fmk(which, p, to='', cpr='2603558084'):
    """a recorded FMK message as bytes: 'logout', 'dump', 'restore' or 'create'"""
    return fill(FMK_OPERATIONS.get(which, which), {
        'USERNAME': p.name_id, 'USERCPR': p.cpr or '', 'USERGIVENNAME': p.given, 'USERSURNAME': p.sur,
        'USERROLE': p.role, 'USERROLENAME': 'Læge', 'USERAUTH': p.code or '', 'SYSTEMNAME': p.system,
        'CARECVR': p.care_id, 'CARENAME': p.care_name, 'MESSAGEID': str(uuid.uuid4()), 'FLOWID': str(uuid.uuid4()),
        'FMKURL': to, 'FMKDUMPURL': to, 'CPR': cpr, 'DUMPDATA': base64.b64encode(b'<dump>\xe6</dump>' * 40).decode(),
        'DOSAGESTRUCTURE': '<Dosage><FreeText>1 tablet dagligt ved behov</FreeText></Dosage>',
    }).encode()


def operation(name, content, p, form='seal', ns=GW):
    """a request to one of the gateway's own operations, as bytes"""
    body = f'<{name} xmlns="{ns}">{content}</{name}>'
    if form == 'fmk':
        text = fmk('logout', p).decode()
        text = re.sub(r'<logoutRequestBody.*</logoutRequestBody>', lambda m: body, text)
        return text.replace('<saml:AttributeValue>1</saml:AttributeValue>',
                            f'<saml:AttributeValue>{p.level}</saml:AttributeValue>').encode()
    return envelope(security(card(p, form), form), body, form).encode()


def order_card(p, form='seal'):
    return operation('requestIdCardDigestForSigningRequestBody', 'whatever', p, form)


def sign_id_card(p, signature, cert, form='seal'):
    """signature in base64; cert is the path of a PEM file, or base64 of DER"""
    w = Writer('wcf')
    text = cert_base64(cert) if os.path.exists(cert) else cert
    return operation('signIdCardRequestBody', w(DS, 'SignatureValue', signature) + w(
        DS, 'KeyInfo', w(DS, 'X509Data', w(DS, 'X509Certificate', text, inherit=DS), inherit=DS)), p, form)


def get_valid_id_card(p, form='seal'):
    return operation('getValidIdCardRequestBody', 'whatever', p, form)


def logout(p, form='seal'):
    return operation('logoutRequestBody', 'dummy', p, form)


def logout_with_response(p, form='seal'):
    return fmk('logout', p) if form == 'fmk' else operation('logoutRequestBody', 'dummy', p, form, GW2014)


def addressing(to, action, ns, form):
    """WS-Addressing headers: WCF marks To and Action mustUnderstand, the others write default namespaces"""
    mid = f'urn:uuid:{uuid.uuid4()}'
    anonymous = f'{ns}/anonymous' if ns == WSA2005 else f'{ns}/role/anonymous'
    if form == 'wcf':
        return (f'<a:Action s:mustUnderstand="1" xmlns:a="{ns}">{escape(action)}</a:Action><a:MessageID xmlns:a="{ns}">'
                f'{mid}</a:MessageID><a:ReplyTo xmlns:a="{ns}"><a:Address>{anonymous}</a:Address></a:ReplyTo>'
                f'<a:To s:mustUnderstand="1" xmlns:a="{ns}">{escape(to)}</a:To>')
    return (f'<To xmlns="{ns}">{escape(to)}</To><Action xmlns="{ns}">{escape(action)}</Action><ReplyTo xmlns="{ns}">'
            f'<Address>{anonymous}</Address></ReplyTo><MessageID xmlns="{ns}">{mid}</MessageID>')


INVOKE = '<ns1:invoke xmlns:ns1="http://web.nts.nsp.nsi.dk/">test</ns1:invoke>'


def proxy(p, to, body=INVOKE, form='seal', wsa=None, assertion=None, action='http://nsi.dk/nts/invoke', extra=''):
    """a DGWS message for the service at to, as bytes

    to None: no addressing at all. assertion: a card (signed, say) to send in place of one made from p; '' for none.
    extra: more SOAP headers. The fmk form ignores all but p and to.
    """
    if form == 'fmk':
        return fmk('dump', p, to)
    wsa = wsa or (WSA2004 if form == 'wcf' else WSA2005)
    sec = security(card(p, form) if assertion is None else assertion, form)
    wsa_headers = addressing(to, action, wsa, form) if to is not None else ''
    medcom = (f'<medcom:Header xmlns:medcom="{MEDCOM}"><medcom:SecurityLevel>{p.level}</medcom:SecurityLevel>'
              f'<medcom:Linking><medcom:MessageID>{uuid.uuid4()}</medcom:MessageID></medcom:Linking></medcom:Header>')
    header = wsa_headers + sec + medcom if form == 'wcf' else sec + medcom + wsa_headers
    return envelope(header + extra, body, form).encode()


def big_proxy(p, to, size, form='seal'):
    """a proxy message with a body of size octets: (its length, a generator of its parts)"""
    before, after = proxy(p, to, '<x:blob xmlns:x="urn:big">@@</x:blob>', form).split(b'@@')
    return len(before) + size + len(after), _around(before, filler(size), after)


def _around(before, middle, after):
    yield before
    yield from middle
    yield after


def sts_request(assertion, message_id=None):
    """a card in the request of the STS, as Seal.Java writes it"""
    rst = (f'<wst:RequestSecurityToken xmlns:wst="{WST}" Context="www.sosi.dk"><wst:TokenType>{SAML}:</wst:TokenType>'
           f'<wst:RequestType>{WST}/Issue</wst:RequestType><wst:Claims>{assertion}</wst:Claims><wst:Issuer>'
           f'<wsa:Address xmlns:wsa="{WSA2004}">WinPLC</wsa:Address></wst:Issuer></wst:RequestSecurityToken>')
    mid = message_id or base64.b64encode(os.urandom(20)).decode()
    return (f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="{SOAP}" xmlns:saml="{SAML}" '
            f'xmlns:ds="{DS}" id="Envelope"><soapenv:Header><wsse:Security xmlns:wsse="{WSSE}" id="{mid}">'
            f'<wsu:Timestamp xmlns:wsu="{WSU}"><wsu:Created>{iso(utcnow())}</wsu:Created></wsu:Timestamp>'
            f'</wsse:Security></soapenv:Header><soapenv:Body>{rst}</soapenv:Body></soapenv:Envelope>').encode()


# ---- signing

HASHES = {'sha1': hashes.SHA1, 'sha256': hashes.SHA256}
ALGORITHMS = {
    'sha1': (DS + 'rsa-sha1', DS + 'sha1'),
    'sha256': ('http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', 'http://www.w3.org/2001/04/xmlenc#sha256'),
}


@functools.lru_cache(maxsize=64)
def _private_key(path, _changed):
    """reading a key checks it, which takes longer than signing"""
    with open(path, 'rb') as f:
        return serialization.load_pem_private_key(f.read(), None)


def sign(octets, key, hash_name='sha1'):
    """what the user's program does with the decoded DigestValue: RSA PKCS#1 v1.5 over its hash, in base64"""
    return base64.b64encode(_private_key(key, os.stat(key).st_mtime_ns).sign(octets, padding.PKCS1v15(), HASHES[hash_name]())).decode()


def cert_base64(path):
    with open(path, 'rb') as f:
        cert = x509.load_pem_x509_certificate(f.read())
    return base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).decode()


def c14n(xml):
    """exclusive c14n of a saml or ds element written with prefixes"""
    outer = etree.fromstring(f'<x xmlns:saml="{SAML}" xmlns:ds="{DS}" xmlns:wsse="{WSSE}">{xml}</x>')
    return etree.tostring(outer[0], method='c14n', exclusive=True, with_comments=False)


def signed_card(p, key, cert, hash_name='sha1', start=None, hours=8):
    """the card, signed by the user himself as a client without a gateway would"""
    start = start or utcnow() - datetime.timedelta(minutes=5)
    method, digest_method = ALGORITHMS[hash_name]
    bare = card(p, start=start, hours=hours)
    digest = base64.b64encode(hashlib.new(hash_name, c14n(bare)).digest()).decode()
    info = (f'<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{EXC_C14N}"/><ds:SignatureMethod Algorithm='
            f'"{method}"/><ds:Reference URI="#IDCard"><ds:Transforms><ds:Transform Algorithm="{DS}enveloped-signature"/>'
            f'<ds:Transform Algorithm="{EXC_C14N}"/></ds:Transforms><ds:DigestMethod Algorithm="{digest_method}"/>'
            f'<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>')
    signature = (f'<ds:Signature id="OCESSignature">{info}<ds:SignatureValue>{sign(c14n(info), key, hash_name)}'
                 f'</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{cert_base64(cert)}'
                 '</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>')
    # the same card again with its signature last: only the end may differ
    return bare.removesuffix('</saml:Assertion>') + signature + '</saml:Assertion>'


# ---- a card from a bootstrap token (WS-Trust 1.3 and 1.4, as Seal.Net and unsealed write it)

TYPED = 'xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string"'


def signature_over(document, ids, key, cert, enveloped=False, listed='', hash_name='sha256'):
    """a ds:Signature over the elements of document (markup) with these ids; listed: the PrefixList of their c14n, as OpenSAML has it"""
    root = etree.fromstring(document)
    transforms = f'<ds:Transform Algorithm="{DS}enveloped-signature"></ds:Transform>' * enveloped + f'<ds:Transform Algorithm="{EXC_C14N}">'
    if listed:
        transforms += f'<ec:InclusiveNamespaces xmlns:ec="{EXC_C14N}" PrefixList="{listed}"></ec:InclusiveNamespaces>'
    method, digest_method = ALGORITHMS[hash_name]
    info = (f'<ds:SignedInfo xmlns:ds="{DS}"><ds:CanonicalizationMethod Algorithm="{EXC_C14N}"></ds:CanonicalizationMethod>'
            f'<ds:SignatureMethod Algorithm="{method}"></ds:SignatureMethod>')
    for wanted in ids:
        element, = (e for e in root.iter(etree.Element) if wanted in (e.get('ID'), e.get(f'{{{WSU}}}Id')))
        octets = etree.tostring(element, method='c14n', exclusive=True, with_comments=False, inclusive_ns_prefixes=listed.split())
        info += (f'<ds:Reference URI="#{wanted}"><ds:Transforms>{transforms}</ds:Transform>'
                 f'</ds:Transforms><ds:DigestMethod Algorithm="{digest_method}"></ds:DigestMethod><ds:DigestValue>'
                 f'{base64.b64encode(hashlib.new(hash_name, octets).digest()).decode()}</ds:DigestValue></ds:Reference>')
    info += '</ds:SignedInfo>'
    return (f'<ds:Signature xmlns:ds="{DS}">{info}<ds:SignatureValue>{sign(info.encode(), key, hash_name)}</ds:SignatureValue>'
            f'<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{cert_base64(cert)}</ds:X509Certificate></ds:X509Data>'
            '</ds:KeyInfo></ds:Signature>')


def bootstrap_token(p, world, holder='foces', idp='idp', minutes=60, cpr=True, listed=''):
    """an OIOSAML 3 bootstrap token for p: idp says who p is, to be used by holder; as markup. listed: as of signature_over"""
    core = 'https://data.gov.dk/model/core/'
    says = {core + 'specVersion': 'OIO-SAML-3.0', core + 'eid/cprNumber': p.cpr, core + 'eid/firstName': p.given,
            core + 'eid/lastName': p.sur, core + 'eid/professional/cvr': p.care_id,
            core + 'eid/professional/orgName': p.care_name}
    attributes = ''.join(
        f'<saml:Attribute Name="{n}" NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:uri"><saml:AttributeValue{" " * bool(listed)}{TYPED * bool(listed)}>'
        f'{escape(v)}</saml:AttributeValue></saml:Attribute>' for n, v in says.items() if cpr or not n.endswith('cprNumber'))
    now = utcnow()
    end = iso(now + datetime.timedelta(minutes=minutes))
    token = (f'<saml:Assertion xmlns:saml="{SAML}" ID="bst" IssueInstant="{iso(now)}" Version="2.0"><saml:Issuer>'
             'https://idp.example.dk</saml:Issuer><saml:Subject><saml:NameID Format='
             f'"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">{escape(p.name_id)}</saml:NameID>'
             '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"><saml:SubjectConfirmationData>'
             f'<ds:KeyInfo xmlns:ds="{DS}"><ds:X509Data><ds:X509Certificate>{cert_base64(world.cert(holder))}'
             '</ds:X509Certificate></ds:X509Data></ds:KeyInfo></saml:SubjectConfirmationData></saml:SubjectConfirmation>'
             f'</saml:Subject><saml:Conditions NotOnOrAfter="{end}"><saml:AudienceRestriction><saml:Audience>'
             'https://sts.sosi.dk/</saml:Audience></saml:AudienceRestriction></saml:Conditions>'
             f'<saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion>')
    signature = signature_over(token, ['bst'], world.key(idp), world.cert(idp), enveloped=True, listed=listed)
    return token.replace('</saml:Issuer>', '</saml:Issuer>' + signature, 1)


def encrypted_token(token, cert):
    """a bootstrap token that only the owner of cert (the STS) can read"""
    with open(cert, 'rb') as f:
        public = x509.load_pem_x509_certificate(f.read()).public_key()
    key, nonce = os.urandom(32), os.urandom(12)
    wrapped = public.encrypt(key, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    data = nonce + AESGCM(key).encrypt(nonce, token.encode(), None)

    def cipher(octets):
        return f'<xenc:CipherData><xenc:CipherValue>{base64.b64encode(octets).decode()}</xenc:CipherValue></xenc:CipherData>'
    xenc = 'http://www.w3.org/2001/04/xmlenc#'
    return (f'<saml:EncryptedAssertion xmlns:saml="{SAML}"><xenc:EncryptedData xmlns:xenc="{xenc}" Type="{xenc}Element">'
            '<xenc:EncryptionMethod Algorithm="http://www.w3.org/2009/xmlenc11#aes256-gcm"/>'
            f'<ds:KeyInfo xmlns:ds="{DS}"><xenc:EncryptedKey><xenc:EncryptionMethod Algorithm="{xenc}rsa-oaep-mgf1p"/>'
            f'{cipher(wrapped)}</xenc:EncryptedKey></ds:KeyInfo>{cipher(data)}</xenc:EncryptedData></saml:EncryptedAssertion>')


def bst_claims(p, name_id=True):
    """the claims that p's client makes"""
    claims = {'medcom:ITSystemName': p.system, 'medcom:UserRole': p.role}
    if p.code:
        claims['medcom:UserAuthorizationCode'] = p.code
    if name_id:
        claims['sosi:SubjectNameID'] = p.name_id
    return claims


def bst_request(p, world, signer='foces', token=None, claims=None, hash_name='sha256'):
    """a request for a card of p from a bootstrap token, signed by signer; as bytes that must reach the STS as they are"""
    claims = bst_claims(p) if claims is None else claims
    claimed = ''.join(f'<auth:ClaimType Uri="{n}"><auth:Value>{escape(v)}</auth:Value></auth:ClaimType>'
                      for n, v in claims.items())
    before = (f'<soapenv:Envelope xmlns:soapenv="{SOAP}" xmlns:saml="{SAML}" xmlns:ds="{DS}" xmlns:wsa="{WSA2005}" '
              f'xmlns:wsse="{WSSE}" xmlns:wsu="{WSU}" xmlns:wst="{WST13}" '
              'xmlns:wst14="http://docs.oasis-open.org/ws-sx/ws-trust/200802" '
              'xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy" '
              'xmlns:auth="http://docs.oasis-open.org/wsfed/authorization/200706">\n  <soapenv:Header>'
              f'<wsa:Action wsu:Id="action">{WST13}/RST/Issue</wsa:Action><wsa:MessageID wsu:Id="messageID">urn:uuid:'
              f'{uuid.uuid4()}</wsa:MessageID><wsse:Security mustUnderstand="1" wsu:Id="security"><wsu:Timestamp wsu:Id="ts">'
              f'<wsu:Created>{iso(utcnow())}</wsu:Created></wsu:Timestamp>')
    # what a client that formats its messages leaves in them is signed too
    after = ('</wsse:Security></soapenv:Header>\n  <soapenv:Body wsu:Id="body">\n    <wst:RequestSecurityToken '
             f'Context="urn:uuid:{uuid.uuid4()}"><wst:TokenType>http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1'
             f'#SAMLV2.0</wst:TokenType><wst:RequestType>{WST13}/Issue</wst:RequestType>\r\n\t<wst14:ActAs>'
             f'{token or bootstrap_token(p, world, signer)}</wst14:ActAs><!-- æøå --><wsp:AppliesTo><wsa:EndpointReference>'
             '<wsa:Address>https://fmk</wsa:Address></wsa:EndpointReference></wsp:AppliesTo><wst:Claims Dialect='
             f'"http://docs.oasis-open.org/wsfed/authorization/200706/authclaims">{claimed}</wst:Claims>'
             '</wst:RequestSecurityToken></soapenv:Body></soapenv:Envelope>')
    signature = signature_over((before + after).encode(), ['action', 'messageID', 'ts', 'body'], world.key(signer),
                               world.cert(signer), hash_name=hash_name)
    return (before + signature + after).encode()


# ---- HTTP

@dataclasses.dataclass
class Answer:
    """what came back; parse() reads the SOAP in it"""
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    length: int
    sha256: str
    seconds: float
    complete: bool
    sent_body: bool

    def parse(self):
        return Parsed(self.body)


class Http:
    """one address of the gateway (or of anything else) and how to get in there"""

    def __init__(self, base, ca=None, cert=None, key=None, basic=None, secret=None, timeout=30, source=None):
        """cert, key: a TLS client certificate; basic: (user, password); secret: the header SOSIGW-Secret;
        source: the local address to connect from"""
        u = urllib.parse.urlsplit(base)
        self.host, self.port = u.hostname, u.port or (443 if u.scheme == 'https' else 80)
        self.prefix, self.basic, self.secret = u.path.rstrip('/'), basic, secret
        self.timeout, self.source, self.kept, self.tls = timeout, source, None, None
        if u.scheme == 'https':
            self.tls = ssl.create_default_context(cafile=ca)
            if cert:
                self.tls.load_cert_chain(cert, key)

    def connect(self):
        s = socket.create_connection((self.host, self.port), self.timeout,
                                     source_address=(self.source, 0) if self.source else None)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls.wrap_socket(s, server_hostname=self.host) if self.tls else s

    def head(self, method, path, length, action, headers, chunked, expect, keep):
        lines = [f'{method} {self.prefix}{path} HTTP/1.1']
        given = {k.lower() for k in headers}
        if 'host' not in given:
            lines.append(f'Host: {self.host}:{self.port}')
        if 'content-type' not in given and method == 'POST':
            lines.append('Content-Type: text/xml; charset=utf-8')
        if action is not None:
            lines.append(f'SOAPAction: {action}')
        if self.basic:
            lines.append('Authorization: Basic ' + base64.b64encode(':'.join(self.basic).encode()).decode())
        if self.secret:
            lines.append(f'SOSIGW-Secret: {self.secret}')
        if chunked:
            lines.append('Transfer-Encoding: chunked')
        elif length is not None and 'content-length' not in given:
            lines.append(f'Content-Length: {length}')
        if expect:
            lines.append('Expect: 100-continue')
        if not keep:
            lines.append('Connection: close')
        lines += [f'{k}: {v}' for k, v in headers.items()]
        return ('\r\n'.join(lines) + '\r\n\r\n').encode()

    def post(self, path, body, **options):
        return self.request('POST', path, body, **options)

    def get(self, path, **options):
        return self.request('GET', path, **options)

    def request(self, method, path, body=None, action=None, headers=None, chunked=False, expect=False, length=None,
                keep=False, hash_only=False, pause=0):
        """send and read the answer

        body: bytes, or parts (then length, or chunked). action: the SOAPAction header, exactly; None leaves it out.
        expect: wait for 100 Continue, as .NET does, and send no body when the answer comes first. keep: leave the
        connection open for the next call. hash_only: do not keep the answer. pause: seconds between the parts.
        """
        began = time.monotonic()
        s = self.kept or self.connect()
        self.kept = None
        if isinstance(body, bytes):
            length, body = len(body), (body,)
        head = self.head(method, path, length, action, headers or {}, chunked, expect, keep)
        connection = _Connection(s)
        sent = body is not None
        if expect:
            s.sendall(head)
            head, sent = b'', connection.continued()
        if sent or head:
            sent = connection.send(head, body or (), chunked and sent, pause) and sent
        status, got, text, size, digest, complete = connection.read(method, hash_only)
        if keep and complete and sent and got.get('Connection', '').lower() != 'close':
            self.kept = s
        else:
            s.close()
        return Answer(status, got, text, size, digest, time.monotonic() - began, complete, sent)

    def raw(self, data, wait=5, shut=False):
        """send these octets, whatever they are; all that comes back until the other end closes or wait is over"""
        s = self.connect()
        s.settimeout(wait)
        out = b''
        try:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
            while part := s.recv(65536):
                out += part
        except OSError:
            pass    # a reset or silence is an answer too
        finally:
            s.close()
        return out

    def close(self):
        if self.kept:
            self.kept.close()
            self.kept = None


class _Connection:
    """a socket and what was read from it too early; http.client reads the rest"""

    def __init__(self, s):
        self.s, self.fp = s, s.makefile('rb')

    def makefile(self, _mode):
        return self.fp

    def continued(self):
        """wait a second for 100 Continue, as .NET does, then go on anyway; False when a final answer came instead"""
        timeout = self.s.gettimeout()
        self.s.settimeout(1)
        try:
            if not self.fp.peek(1).startswith(b'HTTP/1.1 100'):
                return False
            while self.fp.readline().strip():
                pass
        except TimeoutError:
            self.fp = self.s.makefile('rb')
        finally:
            self.s.settimeout(timeout)
        return True

    def answered(self):
        """has an answer begun? Not known under TLS, where other records come as well"""
        return not isinstance(self.s, ssl.SSLSocket) and bool(select.select([self.s], [], [], 0)[0])

    def send(self, head, parts, chunked, pause):
        """False when an answer, or the end of the connection, came before all was sent"""
        try:
            self.s.sendall(head)
            for part in parts:
                if self.answered():
                    return False
                if chunked and part:
                    part = b'%x\r\n%b\r\n' % (len(part), part)
                self.s.sendall(part)
                if pause:
                    time.sleep(pause)
            if chunked:
                self.s.sendall(b'0\r\n\r\n')
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def read(self, method, hash_only):
        """status, headers, body, length, hash, complete"""
        response = http.client.HTTPResponse(self, method=method)
        response.begin()
        digest, kept, length, left = hashlib.sha256(), [], 0, response.length
        try:
            while left != 0:
                # read1, so that nothing is lost when the rest never comes; on chunked answers it does not count
                part = response.read1(1 << 18) if response.chunked else response.fp.read1(min(left or 1 << 18, 1 << 18))
                if not part:
                    left = left or 0
                    break
                digest.update(part)
                length += len(part)
                left = left and left - len(part)
                if not hash_only:
                    kept.append(part)
        except (http.client.IncompleteRead, OSError):
            left = -1
        return response.status, response.headers, b''.join(kept), length, digest.hexdigest(), left == 0


# ---- reading answers

class Parsed:
    """a SOAP answer: .fault with code, string, fault_code, actor; .digest, .browser_url, .ok, .card"""

    def __init__(self, body):
        self.root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
        fault = self.root.find(f'{{{SOAP}}}Body/{{{SOAP}}}Fault')
        self.fault = fault is not None
        self.code = fault.findtext('faultcode') if self.fault else None
        self.string = fault.findtext('faultstring') if self.fault else None
        self.actor = fault.findtext('faultactor') if self.fault else None
        self.fault_code = fault.findtext(f'detail/{{{MEDCOM}}}FaultCode') if self.fault else None
        digest = self.root.find(f'.//{{{GW}}}requestIdCardDigestForSigningResponse/{{{DS}}}DigestValue')
        self.digest = base64.b64decode(digest.text) if digest is not None else None
        self.browser_url = self.root.findtext(f'.//{{{GW}}}BrowserUrl')
        self.implicit = self.root.find(f'{{{SOAP}}}Header/{{{GW}}}implicitLoginHeader') is not None
        self.ok = self.root.findtext(f'{{{SOAP}}}Body/{{{GW}}}signIdCardResponse') == 'ok'
        self.card = self._card()

    def _card(self):
        """the card in a getValidIdCardResponse, which is the renamed assertion, or in an answer of the STS"""
        element = self.root.find(f'.//{{{GW}}}getValidIdCardResponse')
        if element is None:
            element = self.root.find(f'.//{{{SAML}}}Assertion')
        if element is None:
            return None
        element.tag = f'{{{SAML}}}Assertion'
        element.tail = None
        return etree.tostring(element)


def card_in(message):
    """the card of a recorded message, as an element of its own"""
    root = etree.fromstring(message, etree.XMLParser(huge_tree=True, resolve_entities=False))
    found = root.findall(f'{{{SOAP}}}Header/{{{WSSE}}}Security/{{{SAML}}}Assertion')
    assert len(found) == 1, f'{len(found)} cards'
    found[0].tail = None
    return etree.tostring(found[0])


def read_card(xml):
    """what a card says: its attributes by name, and NameID, NameIDFormat, Issuer, NotBefore, NotOnOrAfter"""
    root = etree.fromstring(xml)
    out = {a.get('Name'): a.findtext(f'{{{SAML}}}AttributeValue') for a in root.iter(f'{{{SAML}}}Attribute')}
    name_id = root.find(f'{{{SAML}}}Subject/{{{SAML}}}NameID')
    conditions = root.find(f'{{{SAML}}}Conditions')
    out.update(NameID=name_id.text, NameIDFormat=name_id.get('Format'), Issuer=root.findtext(f'{{{SAML}}}Issuer'),
               NotBefore=conditions.get('NotBefore'), NotOnOrAfter=conditions.get('NotOnOrAfter'),
               signed=root.find(f'{{{DS}}}Signature') is not None)
    return out


def verify_card(xml, cert):
    """does xmlsec1 say that this card is signed with the key of cert (a PEM file)? -> (bool, what it said)

    KeyInfo is not used: the key is the one given, whatever certificate the card shows.
    """
    with tempfile.NamedTemporaryFile(suffix='.xml') as f:
        f.write(xml)
        f.flush()
        r = subprocess.run(['xmlsec1', '--verify', '--id-attr:id', f'{SAML}:Assertion', '--enabled-key-data',
                            'key-name', '--pubkey-cert-pem', cert, f.name], capture_output=True, text=True, check=False)
    return r.returncode == 0, r.stdout + r.stderr


# ---- all of a sign-in

def login(gateway, p, world, who='moces', form='seal', hash_name='sha1'):
    """order a card, sign it as who, hand the signature in; the last Answer"""
    answer = gateway.post(SERVICE, order_card(p, form), action=f'"{ACTION["requestIdCardDigestForSigning"]}"')
    ordered = answer.parse()
    if ordered.fault:
        return answer
    signature = sign(ordered.digest, world.key(who), hash_name)
    return gateway.post(SERVICE, sign_id_card(p, signature, world.cert(who), form),
                        action=f'"{ACTION["signIdCard"]}"')


# ---- what the service stub answers at /big, and what big_proxy sends

def _block():
    """text whose parts all differ and whose period no buffer size divides"""
    return ''.join(hashlib.sha256(str(i).encode()).hexdigest() for i in range(16411)).encode()


_BLOCK = []


def filler(size):
    """size octets in parts"""
    if not _BLOCK:
        _BLOCK.append(_block())
    while size > 0:
        part = _BLOCK[0] if size >= len(_BLOCK[0]) else _BLOCK[0][:size]
        size -= len(part)
        yield part


BIG_BEFORE = f'<soapenv:Envelope xmlns:soapenv="{SOAP}"><soapenv:Body><x:blob xmlns:x="urn:sosigw:test:stub">'.encode()
BIG_AFTER = b'</x:blob></soapenv:Body></soapenv:Envelope>'


def big_sha256(size):
    """the hash of what /big/<size> answers"""
    digest = hashlib.sha256(BIG_BEFORE)
    for part in filler(size - len(BIG_BEFORE) - len(BIG_AFTER)):
        digest.update(part)
    digest.update(BIG_AFTER)
    return digest.hexdigest()


# ---- processes of the world

class Process:
    """a program that prints "listening on PORT" when it is ready; stopped at the end of a with"""

    def __init__(self, *command):
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # pylint: disable=consider-using-with
        line = self.child.stdout.readline()
        if not line.startswith('listening on '):
            raise RuntimeError(f'{command[0]} said {line!r}')
        words = line.split()
        self.port = int(words[2])
        self.tls_port = int(words[4]) if len(words) > 4 else None
        self.url = f'http://127.0.0.1:{self.port}'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.child.terminate()
        self.child.wait(10)
        self.child.stdout.close()
