#!/usr/bin/python3
"""The test STS: on the wire what the SOSI STS of the National Service Platform is (NewSecurityTokenService).

    sts.py --port N --world DIR [--host 127.0.0.1] [--hash sha1|sha256] [--signer sts] [--name TEST-STS]
           [--tls NAME] [--fault-status 500|200] [--control]

Any POST under /sts/services/ is an exchange: the card in the request is checked as the real one checks (form,
signature, chain, times, CRL, CVR, CPR, authorisation) and comes back rewritten and signed with DIR/<signer>.key, or
a fault does, with the published texts where there are any. /sts/services/BST2SOSI takes a bootstrap token of DIR/idp.pem
instead, in clear or encrypted for the STS, in a message signed by an organisation or function, and gives a level 4 card. GET /crl/...
serves DIR/crl, and POST /crl/ocsp is an OCSP responder (ocsp.py): the addresses in the test certificates. DIR is what testca.py makes. Signature and chain are checked here with lxml and python-cryptography
alone: nothing is shared with the code under test.

With --control tests can make it misbehave:
    POST /control {"mode": "slow", "ms": 3000, "for": 1}   see MODES; "for" exchanges, without it until changed
    GET  /control                                          the mode and counters, as JSON
    GET  /last                                             the last exchange's request, as it came
Prints "listening on PORT" when ready; --port 0 takes any free port.
"""
import argparse
import base64
import datetime
import email.utils
import hashlib
import http.server
import json
import os
import re
import secrets
import select
import socket
import ssl
import struct
import sys
import threading
import time
import uuid
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import ObjectIdentifier
from lxml import etree

import ocsp
from forgery import forge

SOAP = 'http://schemas.xmlsoap.org/soap/envelope/'
WSSE = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd'
WSU = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'
SAML = 'urn:oasis:names:tc:SAML:2.0:assertion'
DS = 'http://www.w3.org/2000/09/xmldsig#'
SAML_TOKEN = 'http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV2.0'
WST = 'http://schemas.xmlsoap.org/ws/2005/02/trust'
WSA = 'http://schemas.xmlsoap.org/ws/2004/08/addressing'
WST13 = 'http://docs.oasis-open.org/ws-sx/ws-trust/200512'
WST14 = 'http://docs.oasis-open.org/ws-sx/ws-trust/200802'
WSA2005 = 'http://www.w3.org/2005/08/addressing'
NS = {'wst13': WST13, 'wst14': WST14, 'auth': 'http://docs.oasis-open.org/wsfed/authorization/200706',
      'xenc': 'http://www.w3.org/2001/04/xmlenc#', 'soap': SOAP, 'wsse': WSSE, 'wsu': WSU, 'saml': SAML, 'ds': DS, 'wst': WST, 'wsa': WSA}

EXC_C14N = 'http://www.w3.org/2001/10/xml-exc-c14n#'
INC_C14N = 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315'
ENVELOPED = DS + 'enveloped-signature'
SIGNATURE_METHODS = {DS + 'rsa-sha1': hashes.SHA1, 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256': hashes.SHA256}
DIGEST_METHODS = {DS + 'sha1': hashlib.sha1, 'http://www.w3.org/2001/04/xmlenc#sha256': hashlib.sha256}
ALGORITHMS = {
    'sha1': (DS + 'rsa-sha1', DS + 'sha1'),
    'sha256': ('http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', 'http://www.w3.org/2001/04/xmlenc#sha256'),
}
RSASSA_PSS = ObjectIdentifier('1.2.840.113549.1.1.10')

MODES = {
    'normal': 'as it should be',
    'silent': 'takes the request and never answers',
    'slow': 'right, after "ms" milliseconds',
    'garbage': 'not HTTP',
    'html': 'a web page, with "status" (200)',
    'empty': 'status 200 and no body',
    'fault': 'a fault: "text", "code" (wst:RequestFailed), "actor"',
    'fault200': 'the same with status 200',
    'redirect': 'status 302 to another address of this server',
    'reset': 'the connection is reset',
    'cut': 'half an answer',
    'stalled': 'half an answer, and then nothing comes',
    'big': 'an answer of "bytes" (100 MB)',
    'malformed': 'an answer that is not well-formed',
    'doctype': 'the right answer with a DOCTYPE',
    'other-person': "a validly signed card of somebody else",
    'other-role': 'another role', 'other-system': 'another IT system', 'other-level': 'level 3 in place of 4',
    'other-organisation': 'another care provider', 'other-cpr': 'another CPR number under the right name',
    'wrong-key': 'signed by sts-other, who says so in KeyInfo',
    'forged': 'signed by sts-other, with the certificate of the STS in KeyInfo',
    'unsigned': 'no signature', 'broken-signature': 'the signature value is changed',
    'tampered': 'the card is changed after signing',
    'expired-card': 'ended an hour ago', 'future-card': 'begins in an hour',
    'soon-card': 'begins in 25 seconds',
    'hour-left': 'ends in an hour', 'minute-left': 'ends in 65 seconds',
    'two-cards': 'a card of somebody else after the right one', 'no-card': 'an answer without a card',
    'wrong-status': 'the right card with a status that is not valid',
    'forged-shape': 'an answer of the "shape" in forgery.py, whose evil card is as the mode "evil" (other-person) says',
    'crl-off': '404 for CRLs; exchanges as normal',
    'crl-garbage': 'something else for CRLs', 'crl-silent': 'CRLs never come',
    **ocsp.MODES,
}


class Fault(Exception):
    """what the STS says no with"""

    def __init__(self, code, text, actor):
        super().__init__(text)
        self.code, self.text, self.actor = code, text, f'dk:sosi:sts:{actor}'


def malformed(text):
    return Fault('wst:InvalidRequest', f'The request was invalid or malformed: {text}', 'request')


def refused(text, actor):
    return Fault('wst:FailedAuthentication', f'Authentication failed: {text}', actor)


def utcnow():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)


def iso(t):
    return t.strftime('%Y-%m-%dT%H:%M:%SZ')


def q(prefix, local):
    return f'{{{NS[prefix]}}}{local}'


# ---- reading the request

def only(parent, prefix, local, what):
    found = parent.findall(q(prefix, local))
    if len(found) != 1:
        raise malformed(f'{len(found)} {what}')
    return found[0]


def parse(xml):
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as e:
        raise malformed(str(e)) from e
    if root.getroottree().docinfo.internalDTD is not None:
        raise malformed('DOCTYPE')
    return root


def read_request(body):
    """the card's element and the id to repeat in the answer"""
    envelope = parse(body)
    if envelope.tag != q('soap', 'Envelope'):
        raise malformed('not a SOAP envelope')
    security = only(only(envelope, 'soap', 'Header', 'soap:Header'), 'wsse', 'Security', 'wsse:Security')
    only(only(security, 'wsu', 'Timestamp', 'wsu:Timestamp'), 'wsu', 'Created', 'wsu:Created')
    rst = only(only(envelope, 'soap', 'Body', 'soap:Body'), 'wst', 'RequestSecurityToken', 'RequestSecurityToken')
    if rst.get('Context') != 'www.sosi.dk':
        raise malformed('Context')
    # the real STS takes the type with the colon that clients send and without, as in the samples
    if (only(rst, 'wst', 'TokenType', 'TokenType').text or '').rstrip(':') != SAML:
        raise malformed('TokenType')
    if only(rst, 'wst', 'RequestType', 'RequestType').text != WST + '/Issue':
        raise malformed('RequestType')
    return only(only(rst, 'wst', 'Claims', 'Claims'), 'saml', 'Assertion', 'saml:Assertion'), security.get('id')


STATEMENTS = {
    'IDCardData': ('sosi:IDCardID', 'sosi:IDCardVersion', 'sosi:IDCardType', 'sosi:AuthenticationLevel'),
    'UserLog': ('medcom:UserGivenName', 'medcom:UserSurName', 'medcom:UserRole'),
    'SystemLog': ('medcom:ITSystemName', 'medcom:CareProviderID', 'medcom:CareProviderName'),
}


def read_attributes(assertion):
    """name -> text of all attributes; the statements and what each must hold are checked"""
    values, formats, seen = {}, {}, []
    for statement in assertion.findall(q('saml', 'AttributeStatement')):
        here = statement.get('id')
        if here not in STATEMENTS or here in seen:
            raise malformed(f'AttributeStatement {here}')
        seen.append(here)
        for attribute in statement:
            key = attribute.get('Name')
            if attribute.tag != q('saml', 'Attribute') or key in values:
                raise malformed(f'attribute {key}')
            values[key] = only(attribute, 'saml', 'AttributeValue', f'AttributeValue in {key}').text or ''
            formats[key] = attribute.get('NameFormat')
        for key in STATEMENTS[here]:
            if not values.get(key):
                raise malformed(f'{key} is missing')
    if 'IDCardData' not in seen or 'SystemLog' not in seen:
        raise malformed('IDCardData and SystemLog are needed')
    if ('UserLog' in seen) != (values['sosi:IDCardType'] == 'user'):
        raise malformed('UserLog is for user cards')
    if not formats['medcom:CareProviderID']:
        raise malformed('CareProviderID without NameFormat')
    return values, formats['medcom:CareProviderID']


ORDER = ['Issuer', 'Subject', 'Conditions', 'AttributeStatement', 'Signature']


def read_card(assertion):
    """the form of the card: idcard.md 1.1 and 1.2"""
    if (assertion.get('id'), assertion.get('Version')) != ('IDCard', '2.0') or not assertion.get('IssueInstant'):
        raise malformed('attributes of saml:Assertion')
    names = [etree.QName(e).localname for e in assertion]
    if any(n not in ORDER for n in names) or [ORDER.index(n) for n in names] != sorted(map(ORDER.index, names)):
        raise malformed('children of saml:Assertion')
    if not re.fullmatch(r'[^\s:]+', only(assertion, 'saml', 'Issuer', 'Issuer').text or ''):
        raise malformed('Issuer')
    subject = only(assertion, 'saml', 'Subject', 'Subject')
    if not only(subject, 'saml', 'NameID', 'NameID').get('Format'):
        raise malformed('NameID without Format')
    if subject.findtext('.//' + q('ds', 'KeyName')) != 'OCESSignature':
        raise malformed('SubjectConfirmation')
    values, care_format = read_attributes(assertion)
    if values['sosi:IDCardVersion'] not in ('1.0.1', '1.0'):
        raise malformed('IDCardVersion')
    if (values['sosi:IDCardType'], values['sosi:AuthenticationLevel']) not in (('user', '4'), ('system', '3')):
        raise malformed('AuthenticationLevel')
    return values, care_format


# ---- the signature, the chain, the times

def c14n(element, listed=()):
    return etree.tostring(element, method='c14n', exclusive=True, with_comments=False, inclusive_ns_prefixes=listed)


def without(assertion, signature):
    """the enveloped-signature transform; what follows the element stays"""
    before = signature.getprevious()
    if signature.tail:
        if before is not None:
            before.tail = (before.tail or '') + signature.tail
        else:
            assertion.text = (assertion.text or '') + signature.tail
    assertion.remove(signature)


def algorithm(parent, path):
    found = parent.findall('/'.join(q('ds', p) for p in path.split('/')))
    return [e.get('Algorithm') for e in found]


def check_signature(assertion):
    """the certificate whose key made the card's signature"""
    bad = Fault('wst:InvalidRequest', 'Unable to validate envelope signature', 'idcard')
    signature = only(assertion, 'ds', 'Signature', 'ds:Signature in the card')
    info = only(signature, 'ds', 'SignedInfo', 'ds:SignedInfo')
    reference = only(info, 'ds', 'Reference', 'ds:Reference')
    method = algorithm(info, 'SignatureMethod')
    digest = algorithm(reference, 'DigestMethod')
    if reference.get('URI') != '#IDCard' or len(assertion.getroottree().xpath('//*[@id="IDCard"]')) != 1 or \
            algorithm(info, 'CanonicalizationMethod')[0] not in (EXC_C14N, INC_C14N) or \
            algorithm(reference, 'Transforms/Transform') != [ENVELOPED, EXC_C14N] or \
            len(method) != 1 or method[0] not in SIGNATURE_METHODS or \
            len(digest) != 1 or digest[0] not in DIGEST_METHODS:
        raise bad
    exclusive = algorithm(info, 'CanonicalizationMethod')[0] == EXC_C14N
    octets = etree.tostring(info, method='c14n', exclusive=exclusive, with_comments=False)
    try:
        cert = x509.load_der_x509_certificate(base64.b64decode(
            signature.findtext('/'.join(q('ds', p) for p in ('KeyInfo', 'X509Data', 'X509Certificate')))))
        cert.public_key().verify(base64.b64decode(signature.findtext(q('ds', 'SignatureValue'))), octets,
                                 padding.PKCS1v15(), SIGNATURE_METHODS[method[0]]())
        wanted = base64.b64decode(reference.findtext(q('ds', 'DigestValue')))
    except (InvalidSignature, ValueError, TypeError, AttributeError) as e:
        raise bad from e
    without(assertion, signature)
    if DIGEST_METHODS[digest[0]](c14n(assertion)).digest() != wanted:
        raise bad
    return cert


def signed_by(cert, issuer):
    """did issuer's key sign cert? PKCS#1 v1.5 with SHA-256 under OCES2, PSS under OCES3"""
    pad = padding.PKCS1v15()
    if cert.signature_algorithm_oid == RSASSA_PSS:
        pad = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    try:
        issuer.public_key().verify(cert.signature, cert.tbs_certificate_bytes, pad, hashes.SHA256())
    except InvalidSignature:
        return False
    return cert.issuer == issuer.subject


def load_pems(path):
    with open(path, 'rb') as f:
        blocks = re.findall(rb'-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----', f.read(), re.S)
    return [x509.load_pem_x509_certificate(b) for b in blocks]


class World:
    """what testca.py made; the CRLs and the people are read again at each use, as tests change them"""

    def __init__(self, path):
        self.path = path
        self.roots = load_pems(f'{path}/roots.pem')
        self.intermediates = load_pems(f'{path}/intermediates.pem')

    def pair(self, name):
        with open(f'{self.path}/{name}.key', 'rb') as f:
            return load_pems(f'{self.path}/{name}.pem')[0], serialization.load_pem_private_key(f.read(), None)

    def table(self, name):
        with open(f'{self.path}/{name}.json', encoding='utf-8') as f:
            return json.load(f)

    def revoked(self, cert, issuer):
        for name in os.listdir(f'{self.path}/crl'):
            if name.endswith('.crl'):
                with open(f'{self.path}/crl/{name}', 'rb') as f:
                    crl = x509.load_der_x509_crl(f.read())
                if crl.issuer == issuer.subject:
                    return crl.get_revoked_certificate_by_serial_number(cert.serial_number) is not None
        return True     # without a list nobody is known to be good

    def check_certificate(self, cert):
        issuer = next((i for i in self.intermediates if signed_by(cert, i)), None)
        if not issuer or not any(signed_by(issuer, r) for r in self.roots):
            raise refused('certificate is not issued by a trusted CA', 'certificate')
        if not cert.not_valid_before <= utcnow() <= cert.not_valid_after:
            raise refused('certificate is not valid in time', 'certificate')
        if self.revoked(cert, issuer):
            raise refused('certificate is revoked', 'certificate')


def check_times(assertion):
    conditions = only(assertion, 'saml', 'Conditions', 'Conditions')
    try:
        start, end = (datetime.datetime.strptime(conditions.get(a, ''), '%Y-%m-%dT%H:%M:%SZ')
                      for a in ('NotBefore', 'NotOnOrAfter'))
    except ValueError as e:
        raise malformed('times of the card') from e
    if end <= utcnow():
        raise Fault('wst:ExpiredData', 'The request data is out-of-date', 'idcard')
    if start > utcnow() or end - start > datetime.timedelta(hours=24):
        raise Fault('wst:InvalidTimeRange', 'The requested time range is invalid or unsupported', 'idcard')


# ---- who it is

KEYWORDS = {'2.5.4.3': 'CN', '2.5.4.5': 'SERIALNUMBER', '2.5.4.10': 'O', '2.5.4.11': 'OU', '2.5.4.6': 'C',
            '2.5.4.4': 'SURNAME', '2.5.4.42': 'GIVENNAME'}


def rfc1779(name):
    """as the real STS writes names in NameID; for OCES3 its exact form is not known"""
    def value(a):
        keyword = KEYWORDS.get(a.oid.dotted_string, 'OID.' + a.oid.dotted_string)
        text = a.value
        if re.search(r'[,+="\n<>#;\\]|^ | $', text):
            text = '"' + re.sub(r'(["\\])', r'\\\1', text) + '"'
        return f'{keyword}={text}'
    # python-cryptography keeps an RDN as a set; in DER, and so in names, the shorter value comes first
    rdns = [sorted(rdn, key=lambda a: (len(a.value.encode()), a.oid.dotted_string)) for rdn in name.rdns]
    return ', '.join(' + '.join(value(a) for a in rdn) for rdn in reversed(rdns))


def subject_of(cert):
    """CVR number, subject serial number and the key that people are looked up with"""
    values = {a.oid.dotted_string: a.value for a in cert.subject}
    serial = values.get('2.5.4.5', '')
    oces2 = re.fullmatch(r'CVR:(\d{8})-(RID|UID|FID):.+', serial)
    oces3 = re.fullmatch(r'UI:DK-[EO]:G:([0-9a-f-]{36})', serial)
    if oces2:
        return oces2[1], serial, serial if oces2[2] == 'RID' else None
    if oces3:
        person = oces3[1] if serial.startswith('UI:DK-E') else None
        return values.get('2.5.4.97', '').replace('NTRDK-', ''), serial, person
    raise refused('certificate is of no known kind', 'certificate')


def check_person(world, values, serial, person):
    """CVR-RID to CPR, and the authorisation; fills in what the card leaves out"""
    cpr = world.table('persons').get(person)
    if not cpr:
        raise refused(f'illegal cvrrid [{serial}]', 'cvrridcpr')
    claimed = values.setdefault('medcom:UserCivilRegistrationNumber', cpr) or cpr
    if claimed != cpr:
        raise refused(f'cvrrid-cpr mismatch [{serial},{claimed}]', 'cvrridcpr')
    values['medcom:UserCivilRegistrationNumber'] = cpr
    check_authorisation(world, values, cpr)


def check_authorisation(world, values, cpr):
    known = world.table('authorisations').get(cpr, [])
    listed = ', '.join('{%s, %s}' % (a['code'], a['role']) for a in known)
    role, code = values['medcom:UserRole'], values.get('medcom:UserAuthorizationCode')
    if re.fullmatch(r'\d{4}', role):
        known = [a for a in known if a['role'] == role]
    elif not code:
        return      # a role in words, of somebody without an authorisation
    if code:
        known = [a for a in known if a['code'] == code]
        if not known:
            raise refused(f'authorization not found (available [{listed}])', 'autorisation')
    elif not known:
        raise refused('missing authorization', 'autorisation')
    elif len(known) > 1:
        raise refused(f'multiple authorizations found ([{listed}])', 'autorisation')
    values['medcom:UserAuthorizationCode'] = known[0]['code']


def check(world, assertion):
    """all checks, in the order of the STS guide; the card's values, complete, and its certificate"""
    values, care_format = read_card(assertion)
    check_times(assertion)
    cert = check_signature(assertion)
    world.check_certificate(cert)
    cvr, serial, person = subject_of(cert)
    if care_format == 'medcom:cvrnumber' and values['medcom:CareProviderID'] != cvr:
        raise refused(f"cvr mismatch [{serial},{values['medcom:CareProviderID']}]", 'certificate')
    if values['sosi:IDCardType'] == 'user':
        check_person(world, values, serial, person)
    elif person:
        raise refused('a system card needs a certificate of an organisation or function', 'certificate')
    values['CareProviderFormat'] = care_format
    values['NameID'] = f'SubjectDN={{{rfc1779(cert.subject)}}},IssuerDN={{{rfc1779(cert.issuer)}}},' \
                       f'CertSerial={{{cert.serial_number}}}'
    # kept when the client gave it
    values.setdefault('sosi:OCESCertHash', base64.b64encode(hashlib.sha1(
        cert.public_bytes(serialization.Encoding.DER)).digest()).decode())
    return values


# ---- bootstrap tokens (BST2SOSI)

def by_id(root, wanted):
    found = [e for e in root.iter(etree.Element) if wanted in (e.get('ID'), e.get('id'), e.get(q('wsu', 'Id')))]
    return found[0] if len(found) == 1 else None


def verify_message(signature, root, bad):
    """the certificate that signed, and the ids of what it signed; every digest is checked"""
    info = only(signature, 'ds', 'SignedInfo', 'ds:SignedInfo')
    signed = set()
    try:
        cert = x509.load_der_x509_certificate(base64.b64decode(
            signature.findtext('/'.join(q('ds', p) for p in ('KeyInfo', 'X509Data', 'X509Certificate')))))
        cert.public_key().verify(base64.b64decode(signature.findtext(q('ds', 'SignatureValue'))), c14n(info),
                                 padding.PKCS1v15(), SIGNATURE_METHODS[algorithm(info, 'SignatureMethod')[0]]())
        for reference in info.findall(q('ds', 'Reference')):
            element = by_id(root, reference.get('URI')[1:])
            transforms = algorithm(reference, 'Transforms/Transform')
            wanted = base64.b64decode(reference.findtext(q('ds', 'DigestValue')))
            hash_ = DIGEST_METHODS[algorithm(reference, 'DigestMethod')[0]]
            if element is None or transforms not in ([EXC_C14N], [ENVELOPED, EXC_C14N]):
                raise bad
            listed = [p for e in reference.iter(f'{{{EXC_C14N}}}InclusiveNamespaces') for p in e.get('PrefixList').split()]
            octets = c14n(element, listed)
            if ENVELOPED in transforms:
                copy = etree.fromstring(octets)
                without(copy, only(copy, 'ds', 'Signature', 'ds:Signature'))
                octets = c14n(copy, listed)
            if hash_(octets).digest() != wanted:
                raise bad
            signed.add(reference.get('URI')[1:])
    except (InvalidSignature, ValueError, TypeError, AttributeError, KeyError, IndexError) as e:
        raise bad from e
    return cert, signed


def decrypt(encrypted, key):
    """the assertion in a saml:EncryptedAssertion: RSA-OAEP and AES-GCM"""
    values = [base64.b64decode(e.text or '') for e in encrypted.iter(q('xenc', 'CipherValue'))]
    try:
        wrapped, data = values if len(values[0]) <= 512 else reversed(values)
        pad = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        return parse(AESGCM(key.decrypt(wrapped, pad)).decrypt(data[:12], data[12:], None))
    except Exception as e:
        raise Fault('wst:InvalidRequest', 'Unable to decrypt token', 'bst') from e


CORE = 'https://data.gov.dk/model/core/'


def check_token(world, token, holder):
    """what the token says of its user: attribute -> value"""
    untrusted = refused('Token in request signed by untrusted party', 'bst')
    cert, signed = verify_message(only(token, 'ds', 'Signature', 'ds:Signature in the token'), token, untrusted)
    if signed != {token.get('ID')} or cert != world.pair('idp')[0]:
        raise untrusted
    end = only(token, 'saml', 'Conditions', 'Conditions').get('NotOnOrAfter')
    if datetime.datetime.strptime(end, '%Y-%m-%dT%H:%M:%SZ') <= utcnow():
        raise Fault('wst:ExpiredData', 'The request data is out-of-date: token has expired', 'bst')
    shown = token.findtext('.//' + q('saml', 'SubjectConfirmationData') + '//' + q('ds', 'X509Certificate'))
    if not shown or base64.b64decode(shown) != holder.public_bytes(serialization.Encoding.DER):
        raise refused('holder-of-key is not who signed the request', 'bst')
    return {a.get('Name'): a.findtext(q('saml', 'AttributeValue')) for a in token.iter(q('saml', 'Attribute'))}


def read_claims(rst):
    claims = {}
    for claim in only(rst, 'wst13', 'Claims', 'wst:Claims').findall(q('auth', 'ClaimType')):
        claims[claim.get('Uri')] = claim.findtext(q('auth', 'Value'))
    if not claims.get('medcom:ITSystemName'):
        raise malformed('ITSystemName claim missing')
    return claims


def check_bst(world, body, key):
    """all checks of an exchange at BST2SOSI: the card's values, the request's Context and MessageID"""
    envelope = parse(body)
    header = only(envelope, 'soap', 'Header', 'soap:Header')
    rst = only(only(envelope, 'soap', 'Body', 'soap:Body'), 'wst13', 'RequestSecurityToken', 'RequestSecurityToken')
    bad = Fault('wst:InvalidRequest', 'Unable to validate envelope signature', 'bst')
    security = only(header, 'wsse', 'Security', 'wsse:Security')
    signer, signed = verify_message(only(security, 'ds', 'Signature', 'ds:Signature in the header'), envelope, bad)
    if not {'body', 'messageID', 'action', 'ts'} <= signed or by_id(envelope, 'body') is not rst.getparent():
        raise bad
    world.check_certificate(signer)
    if subject_of(signer)[2]:
        raise refused('a person may not sign the request', 'certificate')
    token = only(rst, 'wst14', 'ActAs', 'ActAs')[0]
    if token.tag == q('saml', 'EncryptedAssertion'):
        token = decrypt(token, key)
    user, claims = check_token(world, token, signer), read_claims(rst)
    cpr = user[CORE + 'eid/cprNumber']
    known = world.table('authorisations').get(cpr, [])
    values = {
        'sosi:IDCardVersion': '1.0.1', 'sosi:IDCardType': 'user', 'sosi:AuthenticationLevel': '4',
        'medcom:UserCivilRegistrationNumber': cpr,
        'medcom:UserGivenName': user[CORE + 'eid/firstName'], 'medcom:UserSurName': user[CORE + 'eid/lastName'],
        'medcom:UserRole': claims.get('medcom:UserRole') or (known[0]['role'] if known else 'urn:dk:healthcare:no-role'),
        'medcom:ITSystemName': claims['medcom:ITSystemName'],
        'medcom:CareProviderID': user[CORE + 'eid/professional/cvr'], 'CareProviderFormat': 'medcom:cvrnumber',
        'medcom:CareProviderName': user[CORE + 'eid/professional/orgName'],
        'NameID': claims.get('sosi:SubjectNameID') or token.findtext('/'.join(q('saml', p) for p in ('Subject', 'NameID'))),
    }
    if claims.get('medcom:UserAuthorizationCode'):
        values['medcom:UserAuthorizationCode'] = claims['medcom:UserAuthorizationCode']
    check_authorisation(world, values, cpr)
    return values, rst.get('Context'), header.findtext(f'{{{WSA2005}}}MessageID')


# ---- writing the answer; on one line, as the real one does

LOGS = (
    ('IDCardData', ('sosi:IDCardID', 'sosi:IDCardVersion', 'sosi:IDCardType', 'sosi:AuthenticationLevel',
                    'sosi:OCESCertHash')),
    ('UserLog', ('medcom:UserCivilRegistrationNumber', 'medcom:UserGivenName', 'medcom:UserSurName',
                 'medcom:UserEmailAddress', 'medcom:UserRole', 'medcom:UserAuthorizationCode',
                 'medcom:UserOccupation')),
    ('SystemLog', ('medcom:ITSystemName', 'medcom:CareProviderID', 'medcom:CareProviderName')),
)


def write_statement(statement, names, values):
    out = f'<saml:AttributeStatement id="{statement}">'
    for n in names:
        if values.get(n):
            fmt = f" NameFormat=\"{values['CareProviderFormat']}\"" if n == 'medcom:CareProviderID' else ''
            out += f'<saml:Attribute Name="{n}"{fmt}><saml:AttributeValue>{escape(values[n])}' \
                   '</saml:AttributeValue></saml:Attribute>'
    return out + '</saml:AttributeStatement>'


def write_card(values, issuer, start, signature):
    logs = ''.join(write_statement(s, names, values) for s, names in LOGS
                   if s != 'UserLog' or values['sosi:IDCardType'] == 'user')
    return (f'<saml:Assertion IssueInstant="{iso(start)}" Version="2.0" id="IDCard"><saml:Issuer>{issuer}'
            f'</saml:Issuer><saml:Subject><saml:NameID Format="medcom:other">{escape(values["NameID"])}</saml:NameID>'
            '<saml:SubjectConfirmation><saml:ConfirmationMethod>urn:oasis:names:tc:SAML:2.0:cm:holder-of-key'
            '</saml:ConfirmationMethod><saml:SubjectConfirmationData><ds:KeyInfo><ds:KeyName>OCESSignature'
            '</ds:KeyName></ds:KeyInfo></saml:SubjectConfirmationData></saml:SubjectConfirmation></saml:Subject>'
            f'<saml:Conditions NotBefore="{iso(start)}" NotOnOrAfter="{iso(start + datetime.timedelta(hours=24))}"/>'
            f'{logs}{signature}</saml:Assertion>')


def with_namespaces(xml, *prefixes):
    """xml as an element of its own, so that it can be canonicalised"""
    declared = ''.join(f' xmlns:{p}="{NS[p]}"' for p in prefixes)
    return etree.fromstring(f'<x{declared}>{xml}</x>')[0]


def write_signature(card, signer, shown, hash_name):
    """the ds:Signature of card, made with the key of signer and showing the certificate of shown"""
    method, digest_method = ALGORITHMS[hash_name]
    digest = base64.b64encode(hashlib.new(hash_name, c14n(with_namespaces(card, 'saml', 'ds'))).digest()).decode()
    info = (f'<ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{EXC_C14N}"/><ds:SignatureMethod '
            f'Algorithm="{method}"/><ds:Reference URI="#IDCard"><ds:Transforms><ds:Transform Algorithm="{ENVELOPED}"/>'
            f'<ds:Transform Algorithm="{EXC_C14N}"/></ds:Transforms><ds:DigestMethod Algorithm="{digest_method}"/>'
            f'<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>')
    value = signer[1].sign(c14n(with_namespaces(info, 'ds')), padding.PKCS1v15(), SIGNATURE_METHODS[method]())
    der = shown[0].public_bytes(serialization.Encoding.DER)
    return (f'<ds:Signature id="OCESSignature">{info}<ds:SignatureValue>{base64.b64encode(value).decode()}'
            f'</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{base64.b64encode(der).decode()}'
            '</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>')


def envelope(body, message_id=None, header=''):
    security = f' id="{escape(message_id, {chr(34): "&quot;"})}"' if message_id else ''
    return (f'<soapenv:Envelope id="Envelope" xmlns:soapenv="{SOAP}" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
            ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
            f' xmlns:wsa="{WSA}" xmlns:sosi="http://www.sosi.dk/sosi/2006/04/sosi-1.0.xsd" xmlns:saml="{SAML}"'
            f' xmlns:wsu="{WSU}" xmlns:wsse="{WSSE}" xmlns:wst="{WST}"'
            f' xmlns:medcom="http://www.medcom.dk/dgws/2006/04/dgws-1.0.xsd" xmlns:ds="{DS}"><soapenv:Header>'
            f'<wsse:Security{security}><wsu:Timestamp><wsu:Created>{iso(utcnow())}</wsu:Created></wsu:Timestamp>'
            f'</wsse:Security>{header}</soapenv:Header><soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>')


def write_answer(token, status, issuer, second_token=''):
    tokens = f'<wst:RequestedSecurityToken>{token}</wst:RequestedSecurityToken>'
    if second_token:
        tokens += f'<wst:RequestedSecurityToken>{second_token}</wst:RequestedSecurityToken>'
    return (f'<wst:RequestSecurityTokenResponse Context="www.sosi.dk"><wst:TokenType>{SAML}:</wst:TokenType>{tokens}<wst:Status>'
            f'<wst:Code>{WST}/status/{status}</wst:Code></wst:Status><wst:Issuer><wsa:Address>{issuer}</wsa:Address></wst:Issuer>'
            '</wst:RequestSecurityTokenResponse>')


def write_fault(fault):
    return envelope(f'<soapenv:Fault><faultcode>{escape(fault.code)}</faultcode><faultstring>{escape(fault.text)}'
                    f'</faultstring><faultactor>{escape(fault.actor)}</faultactor></soapenv:Fault>')


ENDS_IN = {'hour-left': 3600, 'minute-left': 65}


class Sts:
    """an STS with its key; mode is what it does wrong"""

    def __init__(self, world, name, signer, hash_name):
        self.world, self.name, self.hash = world, name, hash_name
        self.signer, self.other = world.pair(signer), world.pair('sts-other')

    def sign(self, values, mode):
        start = utcnow() - datetime.timedelta(minutes=5)
        start += datetime.timedelta(hours={'expired-card': -25, 'future-card': 1.2}.get(mode, 0))
        if mode == 'soon-card':
            start = utcnow() + datetime.timedelta(seconds=25)
        if mode in ENDS_IN:
            start = utcnow() + datetime.timedelta(seconds=ENDS_IN[mode], hours=-24)
        if mode == 'unsigned':
            return write_card(values, self.name, start, '')
        signer = self.other if mode in ('wrong-key', 'forged') else self.signer
        shown = self.other if mode == 'wrong-key' else self.signer
        signature = write_signature(write_card(values, self.name, start, ''), signer, shown, self.hash)
        if mode == 'broken-signature':
            signature = re.sub(r'(<ds:SignatureValue>.)(.)', lambda m: m[1] + ('A' if m[2] != 'A' else 'B'), signature)
        if mode == 'tampered':
            values = {**values, 'medcom:CareProviderName': values['medcom:CareProviderName'] + '.'}
        return write_card(values, self.name, start, signature)

    def asked(self, body):
        """the values of the card that a good request asks for, with a new id, and the request's id; Fault otherwise"""
        assertion, message_id = read_request(body)
        values = check(self.world, assertion)
        values['sosi:IDCardID'] = base64.b64encode(secrets.token_bytes(16)).decode()
        return values, message_id or base64.b64encode(secrets.token_bytes(20)).decode()

    def exchange(self, body, mode):
        """the answer's XML; Fault when there is none"""
        values, message_id = self.asked(body)
        cards = self.sign(alter(values, mode), mode)
        if mode == 'two-cards':
            cards += self.sign(alter(values, 'other-person'), 'normal')
        if mode == 'no-card':
            cards = ''
        return envelope(write_answer(cards, 'invalid' if mode == 'wrong-status' else 'valid', self.name), message_id)

    def forge(self, body, shape, evil):
        values, message_id = self.asked(body)
        start = utcnow() - datetime.timedelta(minutes=5)
        parts = forge(shape, *(write_card(v, self.name, start, '') for v in (values, alter(values, evil))), self.signer, self.other)
        answers = write_answer(parts['token'], 'valid', self.name, parts.get('second_token', ''))
        if 'second' in parts:
            answers += write_answer(parts['second'], 'valid', self.name)
        return envelope(answers, message_id, parts.get('header', ''))

    def exchange_bst(self, body, mode):
        """a card for a bootstrap token, in the form of WS-Trust 1.3; without OCESCertHash, as the real ones are"""
        values, context, message_id = check_bst(self.world, body, self.signer[1])
        values['sosi:IDCardID'] = base64.b64encode(secrets.token_bytes(16)).decode()
        cards = self.sign(alter(values, mode), mode)
        if mode == 'two-cards':
            cards += self.sign(alter(values, 'other-person'), 'normal')
        if mode == 'no-card':
            cards = ''
        now = utcnow()
        wst, wsa = f'xmlns:wst="{WST13}"', f'xmlns:wsa="{WSA2005}"'
        return (f'<soapenv:Envelope xmlns:soapenv="{SOAP}" xmlns:saml="{SAML}" xmlns:ds="{DS}"><soapenv:Header>'
                f'<wsa:Action {wsa}>{WST13}/RST/Issue</wsa:Action><wsa:MessageID {wsa}>urn:uuid:{uuid.uuid4()}'
                f'</wsa:MessageID><wsa:RelatesTo {wsa}>{escape(message_id or "")}</wsa:RelatesTo></soapenv:Header>'
                f'<soapenv:Body><wst:RequestSecurityTokenResponseCollection {wst}><wst:RequestSecurityTokenResponse '
                f'Context="{escape(context or "", {chr(34): "&quot;"})}"><wst:TokenType>{SAML_TOKEN}</wst:TokenType>'
                f'<wst:RequestedSecurityToken>{cards}</wst:RequestedSecurityToken><wst:Lifetime xmlns:wsu="{WSU}">'
                f'<wsu:Created>{iso(now)}</wsu:Created><wsu:Expires>{iso(now + datetime.timedelta(hours=24))}'
                '</wsu:Expires></wst:Lifetime></wst:RequestSecurityTokenResponse>'
                '</wst:RequestSecurityTokenResponseCollection></soapenv:Body></soapenv:Envelope>')


def somebody_else(name_id):
    other = name_id
    for pattern, by in ((r'CN=[^,+}]*?(?= \+|,|})', 'CN=Frederikke Fremmed'), (r'-RID:\d+', '-RID:99999999'),
                        (r'UI:DK-E:G:[0-9a-f-]+', 'UI:DK-E:G:00000000-0000-4000-8000-000000000000')):
        other = re.sub(pattern, by, other, count=1)
    return other if other != name_id else 'Frederikke Fremmed'


def alter(values, mode):
    """the same card, or with something in it that was not asked for"""
    changes = {
        'other-person': {'medcom:UserCivilRegistrationNumber': '1111111118', 'medcom:UserGivenName': 'Frederikke',
                         'medcom:UserSurName': 'Fremmed',
                         'NameID': somebody_else(values['NameID'])},
        'other-role': {'medcom:UserRole': '5433' if values.get('medcom:UserRole') != '5433' else '7170'},
        'other-system': {'medcom:ITSystemName': values['medcom:ITSystemName'] + ' 2'},
        'other-level': {'sosi:AuthenticationLevel': '3'},
        'other-organisation': {'medcom:CareProviderID': '30808460', 'medcom:CareProviderName': 'NETS DANID A/S'},
        'other-cpr': {'medcom:UserCivilRegistrationNumber': '1111111118'},
    }
    return {**values, **changes.get(mode, {})}


# ---- the server

class Control:
    """the mode and the counters, shared by all connections"""

    def __init__(self):
        self.lock = threading.Lock()
        self.settings = {'mode': 'normal'}
        self.left = None
        self.changes = 0
        self.counts = {'exchanges': 0, 'issued': 0, 'faults': 0, 'open': 0, 'crl': {}, 'ocsp': 0}
        self.last = b''

    def set(self, settings):
        if settings.get('mode') not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}")
        with self.lock:
            self.settings, self.left = settings, settings.get('for')
            self.changes += 1

    def take(self, body):
        """the settings for one exchange"""
        with self.lock:
            self.counts['exchanges'] += 1
            self.counts['open'] += 1
            self.last = body
            settings = self.settings
            if self.left is not None:
                self.left -= 1
                if self.left <= 0:
                    self.settings, self.left = {'mode': 'normal'}, None
            return settings

    def count(self, name, n=1):
        with self.lock:
            self.counts[name] += n

    def count_crl(self, status):
        with self.lock:
            self.counts['crl'][str(status)] = self.counts['crl'].get(str(status), 0) + 1

    def show(self):
        with self.lock:
            return {**self.settings, 'left': self.left, **self.counts}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    server_version = 'TestSTS'

    def log_message(self, format, *args):   # pylint: disable=redefined-builtin
        pass

    def answer(self, status, body=b'', content_type='text/xml; charset=utf-8', headers=()):
        if isinstance(body, str):
            body = body.encode()
        self.send_response(status)
        if status != 304:
            self.send_header('Content-Type', content_type)
            self.send_header('Content-Length', str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        # head and body in one packet
        self._headers_buffer.append(b'\r\n' + (body if status != 304 else b''))
        self.flush_headers()

    def answer_json(self, value):
        self.answer(200, json.dumps(value) + '\n', 'application/json')

    def read_body(self):
        if self.headers.get('Transfer-Encoding', '').lower() == 'chunked':
            body = b''
            while size := int(self.rfile.readline().split(b';')[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body
        return self.rfile.read(int(self.headers.get('Content-Length', 0)))

    def do_POST(self):
        body = self.read_body()
        if self.path == '/control' and self.server.controlled:
            try:
                self.server.control.set(json.loads(body))
            except (ValueError, AttributeError) as e:
                return self.answer(400, f'{e}\n', 'text/plain')
            return self.answer_json(self.server.control.show())
        if self.path == '/crl/ocsp':
            return self.post_ocsp(body)
        if not self.path.startswith('/sts/services/'):
            return self.answer(404, 'not here\n', 'text/plain')
        settings = self.server.control.take(body)
        try:
            getattr(self, 'mode_' + settings['mode'].replace('-', '_'), self.exchange)(body, settings)
        finally:
            self.server.control.count('open', -1)
        return None

    def do_GET(self):
        if self.path.startswith('/crl/'):
            return self.get_crl(self.path[5:].split('?')[0])
        if self.path == '/control' and self.server.controlled:
            return self.answer_json(self.server.control.show())
        if self.path == '/last' and self.server.controlled:
            return self.answer(200, self.server.control.last)
        return self.answer(404, 'not here\n', 'text/plain')

    do_HEAD = do_GET

    def get_crl(self, name):
        mode = self.server.control.settings['mode']
        path = f'{self.server.sts.world.path}/crl/{name}'
        if mode == 'crl-silent':
            return self.hold()
        if mode == 'crl-garbage':
            return self.answer(200, '<html>maintenance</html>', 'text/html')
        if mode == 'crl-off' or not re.fullmatch(r'[a-z0-9-]+\.(crl|cer)', name) or not os.path.exists(path):
            self.server.control.count_crl(404)
            return self.answer(404, 'not here\n', 'text/plain')
        with open(path, 'rb') as f:
            data, modified = f.read(), os.fstat(f.fileno()).st_mtime
        headers = [('ETag', f'"{hashlib.sha256(data).hexdigest()[:32]}"'),
                   ('Last-Modified', email.utils.formatdate(modified, usegmt=True))]
        status = 304 if self.unchanged(headers[0][1], modified) else 200
        self.server.control.count_crl(status)
        return self.answer(status, data, 'application/pkix-crl', headers)

    def post_ocsp(self, body):
        mode = self.server.control.settings['mode']
        self.server.control.count('ocsp')
        if mode == 'ocsp-silent':
            return self.hold()
        if mode == 'ocsp-off':
            return self.answer(404, 'not here\n', 'text/plain')
        if mode == 'ocsp-garbage':
            return self.answer(200, '<html>maintenance</html>', 'text/html')
        return self.answer(200, ocsp.answer(self.server.sts.world.path, body, mode), 'application/ocsp-response')

    def unchanged(self, etag, modified):
        if self.headers.get('If-None-Match'):
            return etag in self.headers['If-None-Match']
        try:
            since = email.utils.parsedate_to_datetime(self.headers.get('If-Modified-Since', ''))
        except (TypeError, ValueError):
            return False
        return int(modified) <= since.timestamp()

    # -- exchanges, right and wrong

    def made(self, body, mode):
        sts = self.server.sts
        return (sts.exchange_bst if self.path == '/sts/services/BST2SOSI' else sts.exchange)(body, mode)

    def exchange(self, body, settings, fault_status=None):
        """the right answer, or with what the mode changes in it"""
        try:
            answer = self.made(body, settings['mode'])
        except Fault as fault:
            self.server.control.count('faults')
            return self.answer(fault_status or self.server.fault_status, write_fault(fault))
        self.server.control.count('issued')
        return self.answer(200, answer)

    def mode_forged_shape(self, body, settings):
        self.answer(200, self.server.sts.forge(body, settings['shape'], settings.get('evil', 'other-person')))

    def mode_slow(self, body, settings):
        self.hold(settings.get('ms', 3000) / 1000)
        self.exchange(body, settings)

    def mode_silent(self, _body, _settings):
        self.hold()

    def mode_garbage(self, _body, _settings):
        self.raw(b'\x15\x03\x01\x00\x02\x02\x50 this is not HTTP\r\n' * 3)

    def mode_html(self, _body, settings):
        self.answer(settings.get('status', 200), '<!DOCTYPE html><html><body><h1>Driftsmeddelelse</h1></body></html>',
                    'text/html; charset=utf-8')

    def mode_empty(self, _body, _settings):
        self.answer(200)

    def mode_fault(self, _body, settings):
        fault = Fault(settings.get('code', 'wst:RequestFailed'), settings.get('text', 'The specified request failed'),
                      'test')
        self.server.control.count('faults')
        self.answer(200 if settings['mode'] == 'fault200' else 500, write_fault(fault))

    mode_fault200 = mode_fault

    def mode_redirect(self, _body, _settings):
        self.answer(302, headers=[('Location', '/sts/services/Elsewhere')])

    def mode_reset(self, _body, _settings):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        os.close(self.connection.detach())

    def mode_cut(self, body, _settings):
        answer = self.made(body, 'normal').encode()
        self.raw(b'HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n' % len(answer) +
                 answer[:len(answer) // 2])

    def mode_stalled(self, body, settings):
        self.mode_cut(body, settings)
        self.wfile.flush()
        self.hold()

    def mode_big(self, _body, settings):
        size = settings.get('bytes', 100 << 20)
        self.answer(200, envelope('<big>' + 'x' * size + '</big>'))

    def mode_malformed(self, body, _settings):
        self.answer(200, re.sub('</wst:(Status|Lifetime)>', '', self.made(body, 'normal')))

    def mode_doctype(self, body, _settings):
        self.answer(200, '<!DOCTYPE x [<!ENTITY y "z">]>' + self.made(body, 'normal'))

    def raw(self, data):
        self.close_connection = True
        self.wfile.write(data)

    def hold(self, seconds=None):
        """wait; until the caller hangs up, the mode changes or the time is over"""
        changes = self.server.control.changes
        end = time.monotonic() + seconds if seconds is not None else None
        while end is None or time.monotonic() < end:
            wait = 0.1 if end is None else min(0.1, max(0, end - time.monotonic()))
            if select.select([self.connection], [], [], wait)[0] and not self.peek():
                break
            if end is None and self.server.control.changes != changes:
                break
        if end is None:
            self.close_connection = True

    def peek(self):
        try:
            if isinstance(self.connection, ssl.SSLSocket):
                time.sleep(0.1)
                return self.connection.pending() or True
            return self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return b''


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        """callers that go away are part of the tests"""
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


def main():
    p = argparse.ArgumentParser(description='the test STS')
    p.add_argument('--port', type=int, required=True)
    p.add_argument('--host', default='127.0.0.1')
    p.add_argument('--world', required=True, help='what testca.py made')
    p.add_argument('--hash', choices=tuple(ALGORITHMS), default='sha1')
    p.add_argument('--signer', default='sts')
    p.add_argument('--name', default='TEST-STS')
    p.add_argument('--tls', metavar='NAME', help='speak TLS with this certificate of the world')
    p.add_argument('--fault-status', type=int, choices=(200, 500), default=500)
    p.add_argument('--control', action='store_true')
    a = p.parse_args()
    server = Server((a.host, a.port), Handler)
    server.sts = Sts(World(a.world), a.name, a.signer, a.hash)
    server.control, server.controlled, server.fault_status = Control(), a.control, a.fault_status
    if a.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f'{a.world}/{a.tls}.pem', f'{a.world}/{a.tls}.key')
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(f'listening on {server.server_address[1]}', flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == '__main__':
    main()
