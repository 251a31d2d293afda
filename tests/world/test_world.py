#!/usr/bin/python3
"""Tests of the test world itself: the CA, the STS, the service stub and the client library.

    test_world.py [PATH OF service_stub]

Each function is a sentence that should be true. The last line is "N passed, N failed".
"""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import client as c      # noqa: E402  pylint: disable=wrong-import-position

STUB = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, '../../build/plain/world/service_stub')
STS_PATH = '/sts/services/NewSecurityTokenService'
CRL = 'http://127.0.0.1:8888/crl'


class Fixture:
    """one world, one STS, one stub for all tests"""
    folder = world = sts = stub = http_sts = http_stub = records = None


F = Fixture()
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def equal(got, want, note=''):
    assert got == want, f'{note}: {got!r} is not {want!r}'


def testca(*arguments):
    r = run(os.path.join(HERE, 'testca.py'), F.folder, *arguments)
    equal(r.returncode, 0, r.stderr)


# ---- the CA

def openssl_verify(name, *options):
    with open(F.world.path('crls.pem'), 'w', encoding='ascii') as f:
        for which in ('oces2', 'oces3'):
            f.write(run('openssl', 'crl', '-inform', 'DER', '-in', F.world.path(f'crl/{which}.crl')).stdout)
    r = run('openssl', 'verify', '-x509_strict', '-CAfile', F.world.path('roots.pem'), '-untrusted',
            F.world.path('intermediates.pem'), '-CRLfile', F.world.path('crls.pem'), '-crl_check', *options,
            F.world.cert(name))
    return r.stdout + r.stderr


def text_of(name):
    return run('openssl', 'x509', '-in', F.world.cert(name), '-noout', '-text', '-nameopt', 'RFC2253,utf8,-esc_msb',
               '-certopt', 'ext_parse').stdout


@test
def every_certificate_verifies_or_fails_as_its_name_says():
    for name, want in (
            ('moces', 'OK'), ('moces2', 'OK'), ('moces-other', 'OK'), ('moces3', 'OK'), ('voces', 'OK'),
            ('voces3', 'OK'), ('foces', 'OK'), ('sts', 'OK'), ('sts-other', 'OK'), ('idp', 'OK'),
            ('moces-expired', 'certificate has expired'), ('moces-future', 'certificate is not yet valid'),
            ('moces-revoked', 'certificate revoked'), ('moces-foreign', 'certificate signature failure')):
        said = openssl_verify(name)
        assert want in said, f'{name}: {said}'


@test
def oces3_certificates_and_their_crl_are_signed_with_pss():
    for name in ('oces3-root', 'oces3-ca', 'moces3', 'voces3'):
        said = text_of(name)
        assert 'Signature Algorithm: rsassaPss' in said and 'Salt Length: 0x20' in said, name
    assert 'sha256WithRSAEncryption' in text_of('moces')
    for which in ('oces2', 'oces3'):
        r = run('openssl', 'crl', '-inform', 'DER', '-in', F.world.path(f'crl/{which}.crl'), '-noout', '-CAfile',
                F.world.cert(f'{which}-ca'))
        assert 'verify OK' in r.stderr, f'{which}: {r.stderr}'


@test
def subjects_have_the_forms_of_the_real_ones():
    for name, subject in (
            ('moces', r'serialNumber=CVR:20921897-RID:52723247\+CN=Lars Ærø Larsen,O=TRIFORK A/S // CVR:20921897,C=DK'),
            ('foces', r'serialNumber=CVR:20921897-FID:\d{8},O=TRIFORK A/S // CVR:20921897,C=DK'),
            ('voces', r'serialNumber=CVR:20921897-UID:\d{8}'),
            ('sts', r'CN=SOSI Test Federation \(funktionscertifikat\)\+serialNumber=CVR:33257872-FID:\d{8}'),
            ('moces3', 'CN=Mette Bæk,GN=Mette,SN=Bæk,serialNumber=UI:DK-E:G:[0-9a-f-]{36},O=TRIFORK A/S,'
             'organizationIdentifier=NTRDK-20921897,C=DK'),
            ('voces3', 'CN=Testsystem,serialNumber=UI:DK-O:G:[0-9a-f-]{36},O=TRIFORK A/S')):
        line = re.search('Subject: (.*)', text_of(name))[1]
        # the order within a multi-valued RDN is DER's
        swapped = re.sub(r'(CN=[^+,]*)\+(serialNumber=[^+,]*)', r'\2+\1', line)
        assert re.search(subject, line) or re.search(subject, swapped), f'{name}: {line}'


@test
def certificates_say_where_their_crl_and_ocsp_responder_are():
    for name, crl, policy in (('moces', 'oces2', '1.3.6.1.4.1.31313.2.4.6.2'), ('voces', 'oces2', '31313.2.4.6.3'),
                              ('foces', 'oces2', '31313.2.4.6.4'), ('moces3', 'oces3', '1.2.208.169.1.1.1.2.7'),
                              ('voces3', 'oces3', '1.2.208.169.1.1.1.3.7')):
        said = text_of(name)
        for want in (f'URI:{CRL}/{crl}.crl', f'OCSP - URI:{CRL}/ocsp', f'CA Issuers - URI:{CRL}/{crl}-ca.cer', policy):
            assert want in said, f'{name}: no {want}'


@test
def revoking_puts_a_certificate_on_the_crl():
    assert 'OK' in openssl_verify('voces')
    testca('revoke', 'voces')
    testca('revoke', 'voces')
    testca('crl')
    assert 'certificate revoked' in openssl_verify('voces')
    assert 'certificate revoked' in openssl_verify('moces-revoked')
    assert 'OK' in openssl_verify('foces')


@test
def making_it_again_changes_nothing():
    before = open(F.world.cert('moces'), 'rb').read()
    testca()
    equal(open(F.world.cert('moces'), 'rb').read(), before)
    r = run(os.path.join(HERE, 'testca.py'), F.folder, '--crl-url', 'http://elsewhere')
    assert r.returncode == 1 and 'made with' in r.stderr


@test
def the_p12_files_open_with_the_password():
    for name in ('moces', 'moces3', 'tls-client'):
        r = run('openssl', 'pkcs12', '-in', F.world.path(name + '.p12'), '-passin', 'pass:Test1234', '-nodes')
        assert 'BEGIN PRIVATE KEY' in r.stdout and r.stdout.count('BEGIN CERTIFICATE') >= 2, r.stderr


@test
def tls_certificates_are_from_a_ca_of_their_own():
    for name in ('tls', 'tls-client'):
        r = run('openssl', 'verify', '-CAfile', F.world.cert('tls-ca'), '-verify_hostname',
                'localhost' if name == 'tls' else 'client.test', F.world.cert(name))
        assert 'OK' in r.stdout, r.stderr
    assert 'error' in openssl_verify('tls')


# ---- the STS

def issue(person=c.LARS, who='moces', **card_options):
    card = c.signed_card(person, F.world.key(who), F.world.cert(who), **card_options)
    return F.http_sts.post(STS_PATH, c.sts_request(card), keep=True)


def control(**settings):
    answer = F.http_sts.post('/control', json.dumps(settings).encode())
    equal(answer.status, 200, answer.body)
    return json.loads(answer.body)


@contextlib.contextmanager
def mode(name, **settings):
    control(mode=name, **settings)
    try:
        yield
    finally:
        control(mode='normal')


def counters():
    return json.loads(F.http_sts.get('/control').body)


def sts_signed(card, name='sts'):
    return c.verify_card(card, F.world.cert(name))[0]


@test
def the_sts_gives_the_card_as_the_real_one_does():
    answer = issue()
    parsed = answer.parse()
    equal((answer.status, parsed.fault), (200, False), answer.body)
    card = c.read_card(parsed.card)
    assert sts_signed(parsed.card) and not sts_signed(parsed.card, 'sts-other')
    serial = int(run('openssl', 'x509', '-in', F.world.cert('moces'), '-noout', '-serial').stdout.split('=')[1], 16)
    equal(card['NameID'], 'SubjectDN={CN=Lars Ærø Larsen + SERIALNUMBER=CVR:20921897-RID:52723247, '
          'O=TRIFORK A/S // CVR:20921897, C=DK},IssuerDN={CN=TRUST2408 Sosigw Test CA, O=TRUST2408, C=DK},'
          f'CertSerial={{{serial}}}')
    equal((card['NameIDFormat'], card['Issuer']), ('medcom:other', 'TEST-STS'))
    start, end = (time.mktime(time.strptime(card[k], '%Y-%m-%dT%H:%M:%SZ')) for k in ('NotBefore', 'NotOnOrAfter'))
    equal(end - start, 24 * 3600.0)
    assert abs(time.mktime(time.gmtime()) - 300 - start) < 5
    assert re.fullmatch(r'[A-Za-z0-9+/]{22}==', card['sosi:IDCardID'])
    der = run('openssl', 'x509', '-in', F.world.cert('moces'), '-noout', '-fingerprint', '-sha1').stdout
    equal(c.base64.b64decode(card['sosi:OCESCertHash']).hex(), der.split('=')[1].strip().replace(':', '').lower())
    for name, want in (('medcom:UserCivilRegistrationNumber', c.LARS.cpr), ('medcom:UserRole', '7170'),
                       ('medcom:UserAuthorizationCode', 'J0184'), ('medcom:ITSystemName', c.LARS.system),
                       ('sosi:AuthenticationLevel', '4'), ('medcom:UserGivenName', 'Lars Ærø')):
        equal(card[name], want, name)
    assert b'<saml:Assertion IssueInstant=' in answer.body and b'\n' not in answer.body
    assert b'rsa-sha1' in parsed.card


@test
def the_answer_repeats_the_id_of_the_request():
    card = c.signed_card(c.LARS, F.world.key('moces'), F.world.cert('moces'))
    answer = F.http_sts.post(STS_PATH, c.sts_request(card, 'a<&"b'.replace('<', '').replace('&', '').replace('"', '')))
    assert b'<wsse:Security id="ab">' in answer.body, answer.body[:1500]
    equal(F.http_sts.get('/last').body.count(b'saml:Assertion'), 2)


@test
def the_sts_takes_every_kind_of_certificate_and_both_hashes():
    for note, person, who, hash_name in (
            ('OCES2 person', c.LARS, 'moces', 'sha256'), ('another', c.STINE, 'moces2', 'sha1'),
            ('role in words', c.SOREN, 'moces-other', 'sha1'), ('OCES3 person', c.METTE, 'moces3', 'sha1'),
            ('OCES3 system', c.LARS.but(kind='system', level='3'), 'voces3', 'sha256'),
            ('OCES2 function', c.LARS.but(kind='system', level='3'), 'foces', 'sha1')):
        answer = issue(person, who, hash_name=hash_name)
        parsed = answer.parse()
        assert not parsed.fault and sts_signed(parsed.card), f'{note}: {parsed.string}'


@test
def the_sts_fills_in_what_the_card_leaves_out():
    card = c.read_card(issue(c.LARS.but(cpr=None, code=None)).parse().card)
    equal((card['medcom:UserCivilRegistrationNumber'], card['medcom:UserAuthorizationCode']), (c.LARS.cpr, 'J0184'))


@test
def the_sts_refuses_with_the_published_faults():
    hour = c.datetime.timedelta(hours=1)
    rid = 'CVR:20921897-RID:52723247'
    for note, person, who, options, code, text, actor in (
            ('another CPR', c.LARS.but(cpr='1802602810'), 'moces', {}, 'wst:FailedAuthentication',
             f'Authentication failed: cvrrid-cpr mismatch [{rid},1802602810]', 'cvrridcpr'),
            ('somebody else signs', c.STINE, 'moces', {}, 'wst:FailedAuthentication',
             f'Authentication failed: cvrrid-cpr mismatch [{rid},1802602810]', 'cvrridcpr'),
            ('unknown code', c.LARS.but(code='XXXXX'), 'moces', {}, 'wst:FailedAuthentication',
             'Authentication failed: authorization not found (available [{J0184, 7170}])', 'autorisation'),
            ('code of another role', c.STINE.but(role='5166'), 'moces2', {}, 'wst:FailedAuthentication',
             'Authentication failed: authorization not found (available [{ZXCVB, 7170}, {KT2Z4, 5166}])',
             'autorisation'),
            ('no authorisation', c.SOREN.but(role='7170'), 'moces-other', {}, 'wst:FailedAuthentication',
             'Authentication failed: missing authorization', 'autorisation'),
            ('expired certificate', c.LARS, 'moces-expired', {}, 'wst:FailedAuthentication', None, 'certificate'),
            ('future certificate', c.LARS, 'moces-future', {}, 'wst:FailedAuthentication', None, 'certificate'),
            ('revoked certificate', c.LARS, 'moces-revoked', {}, 'wst:FailedAuthentication',
             'Authentication failed: certificate is revoked', 'certificate'),
            ('stranger with our names', c.LARS, 'moces-foreign', {}, 'wst:FailedAuthentication',
             'Authentication failed: certificate is not issued by a trusted CA', 'certificate'),
            ('another CVR', c.LARS, 'moces-other', {}, 'wst:FailedAuthentication',
             'Authentication failed: cvr mismatch [CVR:30808460-RID:45490598,20921897]', 'certificate'),
            ('old card', c.LARS, 'moces', {'start': c.utcnow() - 9 * hour}, 'wst:ExpiredData',
             'The request data is out-of-date', 'idcard'),
            ('early card', c.LARS, 'moces', {'start': c.utcnow() + hour}, 'wst:InvalidTimeRange', None, 'idcard'),
            ('long card', c.LARS, 'moces', {'hours': 25}, 'wst:InvalidTimeRange', None, 'idcard'),
            ('no role', c.LARS.but(role=None), 'moces', {}, 'wst:InvalidRequest', None, 'request'),
            ('level 2', c.LARS.but(level='2'), 'moces', {}, 'wst:InvalidRequest', None, 'request')):
        answer = issue(person, who, **options)
        got = answer.parse()
        equal((answer.status, got.code, got.actor, got.fault_code), (500, code, f'dk:sosi:sts:{actor}', None), note)
        if text:
            equal(got.string, text, note)
    persons = F.world.path('persons.json')
    kept = open(persons, encoding='utf-8').read()
    with open(persons, 'w', encoding='utf-8') as f:
        f.write('{}')
    equal(issue().parse().string, f'Authentication failed: illegal cvrrid [{rid}]')
    with open(persons, 'w', encoding='utf-8') as f:
        f.write(kept)


@test
def the_sts_refuses_requests_that_were_changed():
    card = c.signed_card(c.LARS, F.world.key('moces'), F.world.cert('moces'))
    good = c.sts_request(card).decode()
    signed = 'Unable to validate envelope signature'
    for note, changed, text in (
            ('indented', good.replace('<saml:Subject>', '<saml:Subject>\n'), signed),
            ('another name', good.replace('Larsen', 'Olsen'), signed),
            ('signature value', re.sub('(<ds:SignatureValue>.{9}).', lambda m: m[1] + '/A'[m[0][-1] == '/'], good), signed),
            ('reference', good.replace('URI="#IDCard"', 'URI=""'), signed),
            ('inclusive transform', good.replace('<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>',
                                                 ''), signed),
            ('two with the id', good.replace('<wst:TokenType', '<wst:x xmlns:wst="w" id="IDCard"/><wst:TokenType'),
             signed),
            ('no signature', re.sub('<ds:Signature .*</ds:Signature>', '', good), None),
            ('two cards', good.replace('</wst:Claims>', c.card(c.STINE) + '</wst:Claims>'), None),
            ('context', good.replace('www.sosi.dk', 'www.sosi.dk2'), None),
            ('doctype', good.replace('<soapenv:Envelope', '<!DOCTYPE x []><soapenv:Envelope', 1), None),
            ('cut', good[:-20], None), ('empty', '', None)):
        got = F.http_sts.post(STS_PATH, changed.encode()).parse()
        equal((got.code, got.fault), ('wst:InvalidRequest', True), note)
        assert text is None or got.string == text, f'{note}: {got.string}'
    # what a namespace prefix is called does not matter
    renamed = good.replace('xmlns:soapenv=', 'xmlns:s=').replace('soapenv:', 's:')
    assert not F.http_sts.post(STS_PATH, renamed.encode()).parse().fault


@test
def a_wrong_card_can_be_asked_for_and_is_wrong_in_that_only():
    for name, signed, field, want in (
            ('other-person', True, 'medcom:UserGivenName', 'Frederikke'),
            ('other-person', True, 'NameID', None),
            ('other-role', True, 'medcom:UserRole', '5433'),
            ('other-system', True, 'medcom:ITSystemName', c.LARS.system + ' 2'),
            ('other-organisation', True, 'medcom:CareProviderID', '30808460'),
            ('other-level', True, 'sosi:AuthenticationLevel', '3'),
            ('other-cpr', True, 'medcom:UserCivilRegistrationNumber', '1111111118'),
            ('wrong-key', False, None, None), ('forged', False, None, None), ('unsigned', False, None, None),
            ('broken-signature', False, None, None), ('tampered', False, None, None),
            ('expired-card', True, None, None), ('future-card', True, None, None), ('wrong-status', True, None, None)):
        with mode(name):
            answer = issue()
        parsed = answer.parse()
        equal(sts_signed(parsed.card), signed, name)
        if name == 'wrong-key':
            assert sts_signed(parsed.card, 'sts-other')
        shown = c.cert_base64(F.world.cert('sts')).encode() in answer.body
        equal(shown, name not in ('wrong-key', 'unsigned'), f'{name} shows the certificate')
        card = c.read_card(parsed.card)
        now = c.iso(c.utcnow())
        equal(card['NotBefore'] <= now < card['NotOnOrAfter'], name not in ('expired-card', 'future-card'), name)
        if field:
            assert card[field] == want or (want is None and 'RID:99999999' in card[field] and
                                           'Lars' not in card[field]), f'{name}: {card[field]}'
    with mode('two-cards'):
        equal(issue().body.count(b'<saml:Assertion'), 2)
    with mode('no-card'):
        assert issue().parse().card is None


BST_PATH = '/sts/services/BST2SOSI'


def exchange(person=c.LARS, **options):
    return F.http_sts.post(BST_PATH, c.bst_request(person, F.world, **options), keep=True).parse()


@test
def a_bootstrap_token_gives_a_card_as_the_real_sts_gives_it():
    encrypted = c.encrypted_token(c.bootstrap_token(c.LARS, F.world), F.world.cert('sts'))
    for note, name_id, options in (
            ('in clear', c.LARS.name_id, {}), ('encrypted', c.LARS.name_id, {'token': encrypted}),
            ('of an OCES3 system', c.LARS.name_id, {'signer': 'voces3'}),
            ('nothing but the system', c.LARS.name_id, {'claims': {'medcom:ITSystemName': c.LARS.system}}),
            ('another NameID', 'Mads_Skjern', {'claims': {**c.bst_claims(c.LARS), 'sosi:SubjectNameID': 'Mads_Skjern'}})):
        parsed = exchange(**options)
        assert not parsed.fault and sts_signed(parsed.card), f'{note}: {parsed.string}'
        card = c.read_card(parsed.card)
        equal((card['NameID'], card['NameIDFormat'], card['sosi:AuthenticationLevel']), (name_id, 'medcom:other', '4'), note)
        for name, want in (('medcom:UserCivilRegistrationNumber', c.LARS.cpr), ('medcom:UserGivenName', c.LARS.given),
                           ('medcom:UserRole', '7170'), ('medcom:UserAuthorizationCode', 'J0184'),
                           ('medcom:ITSystemName', c.LARS.system), ('medcom:CareProviderID', c.LARS.care_id)):
            equal(card[name], want, f'{note}: {name}')
        assert 'sosi:OCESCertHash' not in card


@test
def xmlsec_takes_the_signatures_of_a_bootstrap_request_for_good():
    request = c.bst_request(c.LARS, F.world)
    for cert, xml in (('foces', request), ('idp', c.bootstrap_token(c.LARS, F.world).encode())):
        with tempfile.NamedTemporaryFile(suffix='.xml') as f:
            f.write(xml)
            f.flush()
            # a message holds two signatures: the first in it is the message's own
            ids = [x for e in ('Action', 'MessageID', 'Timestamp', 'Body') for x in ('--id-attr:Id', e)]
            r = run('xmlsec1', '--verify', *ids, '--id-attr:ID', f'{c.SAML}:Assertion', '--enabled-key-data', 'key-name',
                    '--pubkey-cert-pem', F.world.cert(cert), f.name)
            equal(r.returncode, 0, f'{cert}: {r.stderr}')


@test
def the_sts_refuses_bootstrap_tokens_with_a_reason():
    token = c.bootstrap_token
    for text, person, options in (
            ('untrusted party', c.LARS, {'token': token(c.LARS, F.world, idp='voces3')}),
            ('untrusted party', c.LARS, {'token': token(c.LARS, F.world).replace(c.LARS.sur, 'Larsson')}),
            ('out-of-date', c.LARS, {'token': token(c.LARS, F.world, minutes=-1)}),
            ('holder-of-key', c.LARS, {'token': token(c.LARS, F.world, holder='voces3')}),
            ('a person may not sign', c.LARS, {'signer': 'moces'}),
            ('decrypt', c.LARS, {'token': c.encrypted_token(token(c.LARS, F.world), F.world.cert('sts-other'))}),
            ('ITSystemName', c.LARS, {'claims': {'medcom:UserRole': '7170'}}),
            ('authorization not found', c.LARS.but(code='XXXXX'), {})):
        parsed = exchange(person, **options)
        assert parsed.fault and text in parsed.string, f'{text}: {parsed.string}'
    changed = c.bst_request(c.LARS, F.world).replace(b'https://fmk', b'https://fmx')
    assert 'envelope signature' in F.http_sts.post(BST_PATH, changed).parse().string
    spaced = c.bst_request(c.LARS, F.world).replace(b'\r\n\t<wst14', b' <wst14')
    assert 'envelope signature' in F.http_sts.post(BST_PATH, spaced).parse().string


@test
def the_sts_can_be_wrong_about_bootstrap_tokens_too():
    for name, differs in (('other-system', 'medcom:ITSystemName'), ('other-level', 'sosi:AuthenticationLevel'),
                          ('other-role', 'medcom:UserRole'), ('other-organisation', 'medcom:CareProviderID'),
                          ('other-person', 'NameID'), ('other-cpr', 'medcom:UserCivilRegistrationNumber')):
        right = c.read_card(exchange().card)
        with mode(name):
            wrong = exchange().card
        assert sts_signed(wrong), name
        assert c.read_card(wrong)[differs] != right[differs], name
    with mode('forged'):
        assert not sts_signed(exchange().card)


@test
def the_sts_can_be_rude_in_every_way():
    http = c.Http(F.sts.url, timeout=2)
    request = c.sts_request(c.signed_card(c.LARS, F.world.key('moces'), F.world.cert('moces')))

    def ask(**settings):
        with mode(**settings):
            began = time.monotonic()
            try:
                answer = http.post(STS_PATH, request)
            except (OSError, c.http.client.HTTPException) as e:
                return type(e).__name__, time.monotonic() - began, None
            return answer.status, time.monotonic() - began, answer

    equal(ask(name='reset')[0], 'ConnectionResetError')
    equal(ask(name='garbage')[0], 'BadStatusLine')
    equal(ask(name='silent')[0], 'TimeoutError')
    equal(ask(name='redirect')[0], 302)
    status, took, answer = ask(name='slow', ms=300)
    assert status == 200 and 0.3 <= took < 1.5 and answer.parse().card
    status, _, answer = ask(name='html', status=503)
    assert status == 503 and answer.headers['Content-Type'].startswith('text/html')
    status, _, answer = ask(name='empty')
    equal((status, answer.body), (200, b''))
    status, _, answer = ask(name='fault', text='æøå <&>')
    equal((status, answer.parse().code, answer.parse().string), (500, 'wst:RequestFailed', 'æøå <&>'))
    status, _, answer = ask(name='fault200')
    equal((status, answer.parse().fault), (200, True))
    status, _, answer = ask(name='cut')
    equal((status, answer.complete), (200, False))
    status, _, answer = ask(name='big', bytes=3000000)
    assert answer.length > 3000000
    for name in ('malformed', 'doctype'):
        assert b'saml:Assertion' in ask(name=name)[2].body


@test
def misbehaviour_lasts_as_many_requests_as_said():
    before = counters()['exchanges']
    with mode('fault', **{'for': 2}):
        equal([issue().parse().fault for _ in range(3)], [True, True, False])
    after = counters()
    equal((after['exchanges'] - before, after['mode'], after['open']), (3, 'normal', 0))
    equal(F.http_sts.post('/control', b'{"mode": "nonsense"}').status, 400)


@test
def crls_come_with_an_etag_and_can_fail():
    for which in ('oces2', 'oces3'):
        answer = F.http_sts.get(f'/crl/{which}.crl')
        equal(answer.body, open(F.world.path(f'crl/{which}.crl'), 'rb').read())
        etag, modified = answer.headers['ETag'], answer.headers['Last-Modified']
        for headers, want in (({'If-None-Match': etag}, 304), ({'If-Modified-Since': modified}, 304),
                              ({'If-None-Match': '"x"'}, 200), ({'If-Modified-Since': 'yesterday'}, 200)):
            equal(F.http_sts.get(f'/crl/{which}.crl', headers=headers).status, want, headers)
    with mode('crl-off'):
        equal(F.http_sts.get('/crl/oces2.crl').status, 404)
        assert not issue().parse().fault
    for path in ('/crl/../moces.key', '/crl/moces.key', '/crl/', '/moces.key'):
        equal(F.http_sts.get(path).status, 404, path)


def ask_ocsp(name, which):
    """what openssl makes of the responder's answer"""
    r = run('openssl', 'ocsp', '-issuer', F.world.path(f'{which}-ca.pem'), '-cert', F.world.cert(name), '-url',
            F.sts.url + '/crl/ocsp', '-CAfile', F.world.path('roots.pem'), '-verify_other',
            F.world.path('intermediates.pem'), '-no_nonce')
    return r.stdout + r.stderr


@test
def the_ocsp_responder_answers_for_both_cas():
    testca('issue', 'voces-quietly', 'voces')
    testca('revoke', 'voces-quietly', '--not-listed')
    for name, which, want in (('moces', 'oces2', 'good'), ('voces3', 'oces3', 'good'),
                              ('moces-revoked', 'oces2', 'revoked'), ('voces-quietly', 'oces2', 'revoked')):
        said = ask_ocsp(name, which)
        assert f'.pem: {want}' in said and 'Response verify OK' in said, f'{name}: {said}'
    assert 'certificate revoked' not in openssl_verify('voces-quietly')
    testca('crl')
    assert 'certificate revoked' in openssl_verify('voces-quietly')


@test
def the_ocsp_responder_can_be_wrong():
    for name, want in (('ocsp-off', 'Error querying OCSP responder'), ('ocsp-garbage', 'Error'),
                       ('ocsp-old', 'status expired'), ('ocsp-unknown', 'unknown'), ('ocsp-try-later', 'trylater'),
                       ('ocsp-wrong-signer', 'Response Verify Failure')):
        with mode(name):
            said = ask_ocsp('moces', 'oces2')
            assert want in said, f'{name}: {said}'
            assert not issue().parse().fault


@test
def lists_can_be_too_old():
    testca('crl', '--ended', '90')
    assert 'CRL has expired' in openssl_verify('moces')
    testca('crl')
    assert 'OK' in openssl_verify('moces')


@test
def the_sts_signs_with_sha256_by_switch():
    with c.Process(os.path.join(HERE, 'sts.py'), '--port', '0', '--world', F.folder, '--hash', 'sha256', '--tls', 'tls',
                   '--fault-status', '200') as sts:
        http = c.Http(f'https://localhost:{sts.port}', ca=F.world.cert('tls-ca'))
        card = c.signed_card(c.LARS, F.world.key('moces'), F.world.cert('moces'))
        answer = http.post(STS_PATH, c.sts_request(card), chunked=True)
        got = answer.parse().card
        assert sts_signed(got) and b'rsa-sha256' in got and b'sha1' not in got
        equal(http.post(STS_PATH, b'<x/>').status, 200)
        equal(http.get('/control').status, 404)


# ---- the service stub

def sts_card():
    """a card of the STS with its namespaces, ready for any header"""
    return issue().parse().card.decode()


def message(assertion=None, **options):
    options.setdefault('to', 'http://localhost/service')
    return c.proxy(c.LARS, assertion=assertion if assertion is not None else sts_card(), **options)


def records(last=64):
    return json.loads(F.http_stub.get(f'/requests?last={last}').body)


def recorded(n, kind='body'):
    with open(os.path.join(F.records, f'{n}.{kind}'), 'rb') as f:
        return f.read()


def receipt(answer):
    return dict(re.findall(r'<r:(\w+)>([^<]*)</r:', answer.body.decode()))


@test
def the_service_takes_a_message_with_one_card_of_the_sts_and_records_it():
    for note, sent in (('seal', message()), ('wcf', message(form='wcf')),
                       ('declared twice', message().replace(b'<soapenv:Header>', b'<soapenv:Header xmlns:saml="urn:x">')),
                       ('odd body', message(body='<a><![CDATA[</x>&]]><!-- c --> \t<b xmlns=""  c = "d"/></a>'))):
        answer = F.http_stub.post('/service', sent, action='""', headers={'X-Odd': 'ÆØÅ'.encode().decode('latin-1')})
        equal(answer.status, 200, f'{note}: {answer.body}')
        got = receipt(answer)
        card = c.read_card(c.card_in(sent))
        equal((got['IDCardID'], got['NameID'], got['Length'], got['Sha256']),
              (card['sosi:IDCardID'], card['NameID'], str(len(sent)), hashlib.sha256(sent).hexdigest()), note)
        n = got['Request']
        equal(recorded(n), sent, note)
        assert recorded(n, 'head').startswith(b'POST /service HTTP/1.1\r\n') and b'\r\nSOAPAction: ""\r\n' in \
            recorded(n, 'head')
        assert c.verify_card(c.card_in(recorded(n)), F.world.cert('sts'))[0]
        line = records(1)['last'][0]
        equal((line['n'], line['path'], line['verdict'], line['complete'], line['card'], line['length']),
              (int(n), '/service', 'ok', True, card['sosi:IDCardID'], len(sent)), note)


@test
def the_service_refuses_all_else():
    card = sts_card()
    good = message(card)
    own = c.signed_card(c.LARS, F.world.key('moces'), F.world.cert('moces'))
    wrapped = good.replace(b'</wsse:Security>', b'<x id="IDCard"/></wsse:Security>')

    def misissued(name):
        with mode(name):
            return message()
    for note, sent, code in (
            ('nothing', b'', 'syntax_error'), ('not XML', b'hello', 'syntax_error'),
            ('no header', c.envelope('', '<x/>', 'seal').replace('<soapenv:Header></soapenv:Header>', '').encode(),
             'syntax_error'),
            ('doctype', good.replace(b'<soapenv:Envelope', b'<!DOCTYPE x []><soapenv:Envelope', 1), 'syntax_error'),
            ('cut body', good[:-10], 'syntax_error'),
            ('no Security', re.sub(b'<wsse:Security.*</wsse:Security>', b'', good), 'missing_required_header'),
            ('two Security', good.replace(b'<soapenv:Header>', b'<soapenv:Header>' + c.security('', 'seal').encode()),
             'missing_required_header'),
            ('no card', message(''), 'invalid_idcard'), ('two cards', message(card + card), 'invalid_idcard'),
            ('a card elsewhere', message(card, extra=f'<x>{card}</x>'), 'invalid_idcard'),
            ('the id twice', wrapped, 'invalid_idcard'),
            ('unsigned', message(c.card(c.LARS)), 'security_level_failed'),
            ('signed by the user', message(own), 'invalid_certificate'),
            ('another STS', misissued('wrong-key'), 'invalid_certificate'),
            ('forged', misissued('forged'), 'invalid_signature'),
            ('changed', misissued('tampered'), 'invalid_signature'),
            ('white space in the card', message(card.replace('<saml:Subject>', '<saml:Subject> ')),
             'invalid_signature'),
            ('old', misissued('expired-card'), 'expired_idcard'),
            ('early', misissued('future-card'), 'expired_idcard')):
        answer = F.http_stub.post('/service', sent)
        got = answer.parse()
        equal((answer.status, got.code, got.fault_code), (500, 'Server', code), note)
        equal(records(1)['last'][0]['verdict'], code, note)


@test
def a_multipart_message_is_judged_by_its_root_part():
    mtom = (b'--b\r\nContent-Type: application/xop+xml\r\nContent-ID: <root>\r\n\r\n' + message() +
            b'\r\n--b\r\nContent-Type: image/png\r\n\r\n\x89PNG\x00<soapenv:Header>\r\n--b--\r\n')
    headers = {'Content-Type': 'multipart/related; type="application/xop+xml"; boundary=b'}
    equal(F.http_stub.post('/service', mtom, headers=headers).status, 200)


@test
def a_big_message_is_judged_by_its_header():
    size = 20 << 20
    length, parts = c.big_proxy(c.LARS, 'http://x', size)
    parts = list(parts)
    parts[0] = message(body='<x:blob xmlns:x="urn:big">@@</x:blob>').split(b'@@')[0]
    length = sum(map(len, parts))
    for options in ({'length': length}, {'chunked': True}, {'chunked': True, 'expect': True}):
        answer = F.http_stub.post('/service', iter(parts), **options)
        got = receipt(answer)
        equal((got['Length'], got['Sha256']), (str(length), hashlib.sha256(b''.join(parts)).hexdigest()), options)
        equal(recorded(got['Request']), b''.join(parts))


@test
def the_sink_counts_and_hashes_and_keeps_little_of_much():
    size = 70 << 20
    parts = list(c.filler(size))
    got = receipt(F.http_stub.post('/sink', iter(parts), length=size))
    equal((got['Length'], got['Sha256']), (str(size), hashlib.sha256(b''.join(parts)).hexdigest()))
    equal(len(recorded(got['Request'])), 1 << 20)
    got = receipt(F.http_stub.post('/sink?nohash,norecord', iter(parts), chunked=True))
    equal((got['Length'], got['Sha256']), (str(size), ''))
    equal(receipt(F.http_stub.post('/sink', iter([b'a', b'', b'b' * 70000]), chunked=True))['Length'], '70001')


@test
def a_big_answer_has_the_size_asked_for():
    for path, size in (('/big/1000', 1000), ('/big/30000001', 30000001), ('/big/5000000?chunked', 5000000)):
        answer = F.http_stub.post(path, message(), hash_only=True)
        equal((answer.status, answer.length, answer.sha256, answer.complete), (200, size, c.big_sha256(size), True), path)


@test
def answers_can_be_slow_cut_stuck_or_nonsense():
    http = c.Http(F.stub.url, timeout=1)

    def ask(path):
        try:
            return http.post(path, message())
        except (OSError, c.http.client.HTTPException) as e:
            return type(e).__name__

    slow = ask('/slow/300')
    assert slow.status == 200 and 0.3 <= slow.seconds < 0.9
    for path in ('/cut/50000', '/cut-chunked/50000', '/hang-body/500'):
        got = ask(path)
        equal((got.status, got.complete), (200, False), path)
        assert got.length >= 500, path
    equal(ask('/hang'), 'TimeoutError')
    assert ask('/close-early') in ('RemoteDisconnected', 'ConnectionResetError')
    equal(ask('/garbage'), 'BadStatusLine')
    got = ask('/redirect')
    equal((got.status, got.headers['Location']), (302, f'{F.stub.url}/sink'))
    got = ask('/fault')
    equal((got.status, got.parse().code, got.parse().fault_code), (500, 'Server', 'processing_problem'))
    equal(ask('/fault/expired_idcard').parse().string, 'ID card is not valid in time')
    for status in (200, 204, 404, 503):
        equal(ask(f'/status/{status}').status, status)
    equal(ask('/headers').headers['Status'], '418 teapot')
    equal(ask('/nothing-here').status, 404)
    equal(records(1)['last'][0]['path'], '/nothing-here')


@test
def an_early_answer_comes_before_the_body_is_sent():
    def forever():
        while True:
            yield b'x' * 65536
    answer = F.http_stub.post('/early', forever(), chunked=True)
    equal(answer.parse().fault_code, 'not_authorized')
    answer = F.http_stub.post('/early', b'x' * 1000, expect=True)
    equal((answer.status, answer.sent_body), (500, False))
    equal(F.http_stub.post('/sink', b'x' * 1000, expect=True).sent_body, True)


@test
def slow_reading_holds_the_sender_back():
    began = time.monotonic()
    got = receipt(F.http_stub.post('/slow-read/500000', b'x' * 400000))
    assert got['Length'] == '400000' and time.monotonic() - began > 0.4


def wait_for(what):
    end = time.monotonic() + 5
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    assert what()


@test
def a_request_that_breaks_off_is_recorded_as_incomplete():
    http = c.Http(F.stub.url)
    for note, sent in (('length', b'POST /sink HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf'),
                       ('chunk', b'POST /sink HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n'),
                       ('bad chunk', b'POST /sink HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n')):
        before = records()['count']
        equal(http.raw(sent, shut=True), b'', note)
        wait_for(lambda b=before: records()['count'] > b and records()['open'] == 0)
        line = records(1)['last'][0]
        equal((line['complete'], line['length'], line['verdict']), (False, 4, 'unchecked'), note)
        equal(recorded(line['n']), b'half', note)


@test
def connections_are_kept_and_pipelined():
    http = c.Http(F.stub.url)
    for _ in range(3):
        equal(http.post('/sink', b'abc', keep=True).status, 200)
        assert http.kept
    http.close()
    two = b'POST /bench HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc' * 2
    equal(http.raw(two, wait=0.5).count(b'HTTP/1.1 200 OK'), 2)
    equal(http.raw(b'GET /bench HTTP/1.0\r\n\r\n').count(b'\r\n\r\n'), 1)
    answer = http.post('/bench', b'x' * 4096)
    equal((answer.status, answer.length), (200, 4096))


@test
def many_callers_are_served_at_once():
    before = records()['count']
    sent = message()

    def call(_):
        return c.Http(F.stub.url).post('/slow/300', sent).status
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        equal(set(pool.map(call, range(80))), {200})
    assert time.monotonic() - began < 3
    got = records()
    equal(got['count'] - before, 80)
    with open(os.path.join(F.records, 'log.jsonl'), encoding='utf-8') as f:
        lines = [json.loads(line) for line in f]
    equal(len(lines), got['count'])
    equal({line['verdict'] for line in lines[-80:]}, {'ok'})


@test
def tls_endpoints_can_ask_for_a_client_certificate():
    w = F.world
    with tempfile.TemporaryDirectory() as d, c.Process(
            STUB, '--port', '0', '--sts-cert', w.cert('sts'), '--record', d, '--tls-port', '0', '--tls-cert',
            w.cert('tls'), '--tls-key', w.key('tls'), '--tls-client-ca', w.cert('tls-ca')) as stub:
        base = f'https://localhost:{stub.tls_port}'
        http = c.Http(base, ca=w.cert('tls-ca'), cert=w.cert('tls-client'), key=w.key('tls-client'))
        equal(http.post('/service', message()).status, 200)
        size = 3000000
        equal(http.post(f'/big/{size}', message(), hash_only=True).sha256, c.big_sha256(size))
        with open(os.path.join(d, 'log.jsonl'), encoding='utf-8') as f:
            assert 'sosigw test client' in json.loads(f.readline())['tls']
        try:
            status = c.Http(base, ca=w.cert('tls-ca')).post('/service', message()).status
        except OSError:
            status = None
        equal(status, None)


@test
def records_go_on_after_a_restart_and_can_be_cleared():
    with tempfile.TemporaryDirectory() as d:
        command = (STUB, '--port', '0', '--sts-cert', F.world.cert('sts'), '--record', d)
        with c.Process(*command) as stub:
            equal(receipt(c.Http(stub.url).post('/sink', b'a'))['Request'], '1')
        with c.Process(*command) as stub:
            http = c.Http(stub.url)
            equal(receipt(http.post('/sink', b'b'))['Request'], '2')
            equal(sorted(os.listdir(d)), ['1.body', '1.head', '2.body', '2.head', 'log.jsonl'])
            http.post('/reset', b'')
            equal(os.listdir(d), ['log.jsonl'])
            equal(receipt(http.post('/sink', b'c'))['Request'], '1')


# ---- the client library

@test
def every_form_of_every_message_is_well_formed_and_names_its_user():
    makers = {
        'order': lambda p, form: c.order_card(p, form), 'get': lambda p, form: c.get_valid_id_card(p, form),
        'sign': lambda p, form: c.sign_id_card(p, 'AAAA', F.world.cert('moces'), form),
        'logout': lambda p, form: c.logout(p, form), 'logout2': lambda p, form: c.logout_with_response(p, form),
        'proxy': lambda p, form: c.proxy(p, 'http://x/?a=1&b=2', form=form),
    }
    for person in (c.LARS, c.SOREN, c.LARS.but(name_id='<&"\'>', name_id_format='medcom:other')):
        for form in c.FORMS:
            for note, make in makers.items():
                card = c.read_card(c.card_in(make(person, form)))
                equal((card['NameID'], card['medcom:UserGivenName'], card['signed']),
                      (person.name_id, person.given, False), f'{form} {note}')


@test
def the_messages_have_the_marks_of_their_clients():
    wcf, fmk, seal = (c.proxy(c.LARS, 'http://x/', form=f).decode() for f in ('wcf', 'fmk', 'seal'))
    assert '<h:Security ' in wcf and '<Assertion IssueInstant=' in wcf and 'a:To s:mustUnderstand="1"' in wcf
    assert 'schemas.xmlsoap.org/ws/2004/08/addressing' in wcf and not wcf.startswith('<?xml')
    assert '<To xmlns="http://www.w3.org/2005/08/addressing">http://x/</To>' in fmk and '##' not in fmk
    assert '2011-06-23T12:04:35Z' in fmk and '<saml:SubjectConfirmation>' not in fmk
    assert '<wsse:Security xmlns:wsse=' in seal and '2005/08/addressing' in seal
    assert b'DrugMedication' in c.fmk('create', c.LARS, 'http://x/') and b'DumpData' in c.fmk('restore', c.LARS, 'x')
    assert b'2014.06.01' in c.logout_with_response(c.LARS, 'fmk')
    assert b'UsernameToken' in c.proxy(c.LARS.but(level='2'), 'x') and b'SubjectConf' not in c.card(
        c.LARS.but(level='1')).encode()


@test
def answers_of_the_gateway_are_read():
    gw, ds = f'xmlns:ns2="{c.GW}"', f'xmlns:ds="{c.DS}"'
    ordered = (f'<ns2:requestIdCardDigestForSigningResponse {gw} {ds}><ds:DigestValue>YWJj\nZGVm</ds:DigestValue>'
               '<ns2:BrowserUrl>http://x/?a=1&amp;b=2</ns2:BrowserUrl></ns2:requestIdCardDigestForSigningResponse>')
    got = c.Parsed(c.envelope('', ordered, 'seal').encode())
    equal((got.digest, got.browser_url, got.implicit, got.fault), (b'abcdef', 'http://x/?a=1&b=2', False, False))
    fault = (f'<soapenv:Fault><faultcode>Server</faultcode><faultstring>Nej</faultstring><detail><m:FaultCode '
             f'xmlns:m="{c.MEDCOM}">sosigw_no_valid_idcard_in_cache</m:FaultCode></detail></soapenv:Fault>')
    got = c.Parsed(c.envelope(f'<ns2:implicitLoginHeader {gw}>{ordered}</ns2:implicitLoginHeader>', fault,
                              'seal').encode())
    equal((got.implicit, got.digest, got.code, got.string, got.fault_code),
          (True, b'abcdef', 'Server', 'Nej', 'sosigw_no_valid_idcard_in_cache'))
    assert c.Parsed(c.envelope('', f'<ns2:signIdCardResponse {gw}>ok</ns2:signIdCardResponse>', 'seal').encode()).ok
    renamed = re.sub('saml:Assertion(?= |>)', 'ns2:getValidIdCardResponse', sts_card()).replace(' ', f' {gw} ', 1)
    assert sts_signed(c.Parsed(c.envelope('', renamed, 'seal').encode()).card)


@test
def a_signature_of_the_client_is_what_openssl_takes_for_one():
    with tempfile.TemporaryDirectory() as d:
        for hash_name in ('sha1', 'sha256'):
            with open(f'{d}/s', 'wb') as f:
                f.write(c.base64.b64decode(c.sign(b'octets', F.world.key('moces'), hash_name)))
            with open(f'{d}/o', 'wb') as f:
                f.write(b'octets')
            with open(f'{d}/k', 'w', encoding='ascii') as f:
                f.write(run('openssl', 'x509', '-in', F.world.cert('moces'), '-noout', '-pubkey').stdout)
            r = run('openssl', 'dgst', f'-{hash_name}', '-verify', f'{d}/k', '-signature', f'{d}/s', f'{d}/o')
            equal(r.returncode, 0, r.stderr)


# ---- running

def start(folder):
    F.folder, F.world = os.path.join(folder, 'world'), c.World(os.path.join(folder, 'world'))
    F.records = os.path.join(folder, 'records')
    testca('--crl-url', CRL)
    F.sts = c.Process(os.path.join(HERE, 'sts.py'), '--port', '0', '--world', F.folder, '--control')
    F.stub = c.Process(STUB, '--port', '0', '--sts-cert', F.world.cert('sts'), '--record', F.records)
    F.http_sts, F.http_stub = c.Http(F.sts.url), c.Http(F.stub.url)


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        start(folder)
        for check in TESTS:
            began = time.monotonic()
            try:
                check()
                passed += 1
                result = 'ok  '
            except Exception:   # pylint: disable=broad-except
                traceback.print_exc()
                failed += 1
                result = 'FAIL'
            print(f'{result} {check.__name__.replace("_", " ")} ({(time.monotonic() - began) * 1000:.0f} ms)', flush=True)
        F.sts.stop()
        F.stub.stop()
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
