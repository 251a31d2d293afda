#!/usr/bin/python3
"""The test CA: certificates shaped like Danish OCES2 and OCES3 ones, for tests and the sandbox.

    testca.py DIR [--crl-url URLBASE]   make everything in DIR; does nothing when it is there already
    testca.py DIR revoke NAME           put the certificate NAME on its issuer's CRL
                        --not-listed    or let the OCSP responder alone know; the next CRLs name it
    testca.py DIR crl                   make fresh CRLs
                        --ended MINUTES whose successors were due so long ago
    testca.py DIR issue NAME LIKE       another certificate for the person and the key of LIKE

DIR/NAME.pem .key .p12 (password Test1234) for each name in leaves(); roots.pem and intermediates.pem hold
the OCES CAs; tls-ca.pem is the separate CA of the TLS certificates; crl/ is what the URLBASE should serve.
persons.json and authorisations.json are what the test STS knows about people. ocsp-oces2 and ocsp-oces3 answer for the
CAs (ocsp.py), ocsp-foreign for the stranger.

python-cryptography 38 cannot sign certificates with RSASSA-PSS, as the OCES3 CAs do. So every certificate is built
with the ordinary algorithm; pss() then puts the other algorithm identifier in and signs again.
"""
import argparse
import concurrent.futures
import datetime
import fcntl
import ipaddress
import json
import os
import secrets
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

PASSWORD = b'Test1234'
DAY = datetime.timedelta(days=1)
ORGANISATION_IDENTIFIER = ObjectIdentifier('2.5.4.97')

# AlgorithmIdentifier of sha256WithRSAEncryption, and of RSASSA-PSS with SHA-256, MGF1 with SHA-256, salt 32
ALG_PKCS1 = bytes.fromhex('300d06092a864886f70d01010b0500')
ALG_PSS = bytes.fromhex('304106092a864886f70d01010a3034a00f300d06096086480165030402010500'
                        'a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120')
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)

# qcStatements as in a real OCES3 certificate: the unique identifier is semantics of https://uid.gov.dk
QC_STATEMENTS = bytes.fromhex('302d302b06082b06010505070b02301f060704008bec490102'
                              '30148612' + b'https://uid.gov.dk'.hex())

# who is behind a certificate: what the real STS looks up in its CVR-RID and UUID registers (invented people, CPR
# numbers from published test material)
PERSONS = {
    'CVR:20921897-RID:52723247': '0501792275',
    'CVR:20921897-RID:11223344': '1802602810',
    'CVR:30808460-RID:45490598': '2512484916',
    'b9f1a0de-6a3c-4f0e-9a3b-1f0c1d2e3f40': '0404404040',
}
AUTHORISATIONS = {
    '0501792275': [{'code': 'J0184', 'role': '7170'}],
    '1802602810': [{'code': 'ZXCVB', 'role': '7170'}, {'code': 'KT2Z4', 'role': '5166'}],
    '2512484916': [],
    '0404404040': [{'code': 'CBNH1', 'role': '5166'}],
}


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)


# ---- DER

def der(tag, content):
    n = len(content)
    if n < 128:
        return bytes([tag, n]) + content
    length = n.to_bytes((n.bit_length() + 7) // 8, 'big')
    return bytes([tag, 0x80 | len(length)]) + length + content


def inside(tlv):
    """the content of a DER value"""
    return tlv[2 if tlv[1] < 128 else 2 + (tlv[1] & 0x7f):]


def pss(tbs, key):
    """sign what was to be signed with PKCS#1 again, as the OCES3 CAs sign"""
    assert tbs.count(ALG_PKCS1) == 1
    tbs = der(0x30, inside(tbs).replace(ALG_PKCS1, ALG_PSS))
    signature = key.sign(tbs, PSS, hashes.SHA256())
    return der(0x30, tbs + ALG_PSS + der(0x03, b'\0' + signature))


# ---- names: one list of RDNs, each a list of (type, value)

def name(*rdns):
    return x509.Name([x509.RelativeDistinguishedName([x509.NameAttribute(t, v) for t, v in rdn]) for rdn in rdns])


def oces2_name(cn, organisation, cvr, serial):
    return name([(NameOID.COUNTRY_NAME, 'DK')],
                [(NameOID.ORGANIZATION_NAME, f'{organisation} // CVR:{cvr}')],
                [(NameOID.COMMON_NAME, cn), (NameOID.SERIAL_NUMBER, f'CVR:{cvr}-{serial}')])


def oces3_name(cn, organisation, cvr, serial, person=None):
    rdns = [[(NameOID.COUNTRY_NAME, 'DK')],
            [(ORGANISATION_IDENTIFIER, f'NTRDK-{cvr}')],
            [(NameOID.ORGANIZATION_NAME, organisation)],
            [(NameOID.SERIAL_NUMBER, serial)]]
    if person:
        rdns += [[(NameOID.SURNAME, person[1])], [(NameOID.GIVEN_NAME, person[0])]]
    return name(*rdns, [(NameOID.COMMON_NAME, cn)])


def ca_name(oces3, cn):
    if oces3:
        return name([(NameOID.COUNTRY_NAME, 'DK')], [(NameOID.ORGANIZATION_NAME, 'Den Danske Stat')],
                    [(NameOID.ORGANIZATIONAL_UNIT_NAME, 'Test - sosigw')], [(NameOID.COMMON_NAME, cn)])
    return name([(NameOID.COUNTRY_NAME, 'DK')], [(NameOID.ORGANIZATION_NAME, 'TRUST2408')],
                [(NameOID.COMMON_NAME, cn)])


# ---- certificates

class Ca:
    """an issuing certificate and its key; oces3 says how it signs"""

    def __init__(self, cert, key, oces3):
        self.cert, self.key, self.oces3 = cert, key, oces3
        self.claimed_key = key      # whose key identifier its certificates carry

    def sign(self, builder):
        cert = builder.sign(self.key, hashes.SHA256())
        if self.oces3:
            cert = x509.load_der_x509_certificate(pss(cert.tbs_certificate_bytes, self.key))
        return cert

    def sign_crl(self, builder):
        crl = builder.sign(self.key, hashes.SHA256())
        return pss(crl.tbs_certlist_bytes, self.key) if self.oces3 else \
            crl.public_bytes(serialization.Encoding.DER)


def key_usage(*on):
    names = ('digital_signature', 'content_commitment', 'key_encipherment', 'data_encipherment', 'key_agreement',
             'key_cert_sign', 'crl_sign', 'encipher_only', 'decipher_only')
    return x509.KeyUsage(**{n: n in on for n in names})


def builder(subject, issuer, public_key, serial, start, end):
    return x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public_key,
                                   serial_number=serial, not_valid_before=start, not_valid_after=end) \
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)


def authority_key(issuer_key):
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())


def make_ca(subject, key, oces3, issuer=None):
    """a root, or with issuer what stands under it"""
    b = builder(subject, issuer.cert.subject if issuer else subject, key.public_key(), secrets.randbits(63),
                now() - 5 * 365 * DAY, now() + 10 * 365 * DAY)
    b = b.add_extension(x509.BasicConstraints(True, 0 if issuer else None), True) \
        .add_extension(key_usage('key_cert_sign', 'crl_sign'), True)
    if issuer:
        b = b.add_extension(authority_key(issuer.key), False)
    signer = issuer or Ca(None, key, oces3)
    return Ca(signer.sign(b), key, oces3)


def information_access(ocsp, issuer):
    return x509.AuthorityInformationAccess([
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp)),
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer))])


def policy(oid, *qualifiers):
    return x509.PolicyInformation(ObjectIdentifier(oid), list(qualifiers) or None)


def make_leaf(ca, key, subject, url, policy_oid, start, end, email):
    """an OCES certificate of a person, an organisation or a function"""
    crl = 'oces3' if ca.oces3 else 'oces2'
    points = [x509.DistributionPoint([x509.UniformResourceIdentifier(f'{url}/{crl}.crl')], None, None, None)]
    usage = ['digital_signature', 'content_commitment', 'key_encipherment']
    policies = [policy(policy_oid, 'http://www.trust2408.com/repository')]
    if ca.oces3:
        policies = [policy('0.4.0.2042.1.1'), policy(policy_oid)]
    else:
        usage += ['data_encipherment', 'key_agreement']
        # real OCES2 certificates name a partial CRL as well; readers are to ignore it
        points.append(x509.DistributionPoint([x509.DirectoryName(x509.Name(
            list(ca.cert.subject) + [x509.NameAttribute(NameOID.COMMON_NAME, 'CRL96')]))], None, None, None))
    b = builder(subject, ca.cert.subject, key.public_key(), secrets.randbits(159 if ca.oces3 else 31), start, end) \
        .add_extension(key_usage(*usage), True) \
        .add_extension(information_access(f'{url}/ocsp', f'{url}/{crl}-ca.cer'), False) \
        .add_extension(x509.CertificatePolicies(policies), False) \
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), False) \
        .add_extension(x509.CRLDistributionPoints(points), False) \
        .add_extension(authority_key(ca.claimed_key), False) \
        .add_extension(x509.BasicConstraints(False, None), ca.oces3)
    if ca.oces3:
        b = b.add_extension(x509.UnrecognizedExtension(ObjectIdentifier('1.3.6.1.5.5.7.1.3'), QC_STATEMENTS), False)
    return ca.sign(b)


def make_responder(ca, key):
    """a delegate that answers OCSP requests for its CA"""
    b = builder(name([(NameOID.COUNTRY_NAME, 'DK')], [(NameOID.COMMON_NAME, 'Sosigw Test OCSP Responder')]),
                ca.cert.subject, key.public_key(), secrets.randbits(63), now() - DAY, now() + 730 * DAY) \
        .add_extension(key_usage('digital_signature'), True) \
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False) \
        .add_extension(x509.OCSPNoCheck(), False) \
        .add_extension(authority_key(ca.claimed_key), False)
    return ca.sign(b)


def make_tls(ca, key, cn, usage, names):
    start = now() - DAY
    b = builder(name([(NameOID.COUNTRY_NAME, 'DK')], [(NameOID.COMMON_NAME, cn)]), ca.cert.subject,
                key.public_key(), secrets.randbits(63), start, start + 731 * DAY)
    b = b.add_extension(x509.BasicConstraints(False, None), True) \
        .add_extension(key_usage('digital_signature', 'key_agreement'), True) \
        .add_extension(x509.ExtendedKeyUsage([usage]), False) \
        .add_extension(x509.SubjectAlternativeName(names), False) \
        .add_extension(authority_key(ca.key), False)
    return ca.sign(b)


# ---- what is in the world

MOCES2, VOCES2, FOCES2 = ('1.3.6.1.4.1.31313.2.4.6.%s' % n for n in ('2.5', '3.4', '4.2'))
MOCES3, VOCES3 = '1.2.208.169.1.1.1.2.7', '1.2.208.169.1.1.1.3.7'


def leaves():
    """name -> (CA, subject, policy, first day, last day), days counted from now"""
    lars = oces2_name('Lars Ærø Larsen', 'TRIFORK A/S', '20921897', 'RID:52723247')
    good = (-1, 730)
    table = {
        'moces': ('oces2', lars, MOCES2, *good),
        'moces-expired': ('oces2', lars, MOCES2, -731, -1),
        'moces-future': ('oces2', lars, MOCES2, 30, 760),
        'moces-revoked': ('oces2', lars, MOCES2, *good),
        'moces-e3': ('oces2', lars, MOCES2, *good),    # a key whose exponent is 3
        'moces-foreign': ('foreign', lars, MOCES2, *good),
        'moces2': ('oces2', oces2_name('Stine Svendsen', 'TRIFORK A/S', '20921897', 'RID:11223344'), MOCES2, *good),
        'moces-other': ('oces2', oces2_name('Søren Åkjær', 'NETS DANID A/S', '30808460', 'RID:45490598'),
                        MOCES2, *good),
        'moces3': ('oces3', oces3_name('Mette Bæk', 'TRIFORK A/S', '20921897',
                   'UI:DK-E:G:b9f1a0de-6a3c-4f0e-9a3b-1f0c1d2e3f40', ('Mette', 'Bæk')), MOCES3, *good),
        'voces': ('oces2', oces2_name('TRIFORK A/S', 'TRIFORK A/S', '20921897', 'UID:25351738'), VOCES2, *good),
        'voces3': ('oces3', oces3_name('Testsystem', 'TRIFORK A/S', '20921897',
                   'UI:DK-O:G:70fbb594-ab44-4e0f-ba75-5bb7eaec6d91'), VOCES3, *good),
        'foces': ('oces2', oces2_name('Testsystem (funktionscertifikat)', 'TRIFORK A/S', '20921897',
                  'FID:94731315'), FOCES2, *good),
        'sts': ('oces2', oces2_name('SOSI Test Federation (funktionscertifikat)', 'Sundhedsdatastyrelsen',
                '33257872', 'FID:18911861'), FOCES2, *good),
        'idp': ('oces2', oces2_name('TEST trusted IdP (funktionscertifikat)', 'Sundhedsdatastyrelsen', '33257872',
                'FID:22249732'), FOCES2, *good),
        'sts-other': ('oces2', oces2_name('SOSI Other Federation (funktionscertifikat)', 'NETS DANID A/S',
                      '30808460', 'FID:94731316'), FOCES2, *good),
    }
    return table


CAS = ('oces2-root', 'oces2-ca', 'oces3-root', 'oces3-ca')
RESPONDERS = {'ocsp-oces2': 'oces2-ca', 'ocsp-oces3': 'oces3-ca', 'ocsp-foreign': 'foreign-ca'}


def make_keys(table):
    """all RSA keys at once: making them is nearly all the time this takes, and it runs outside Python's lock"""
    sizes = {ca: 3072 for ca in CAS}
    sizes.update({n: 2048 for n in ('foreign-root', 'foreign-ca', *RESPONDERS)})
    sizes.update({leaf: 3072 if row[0] == 'oces3' else 2048 for leaf, row in table.items()})
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {n: pool.submit(rsa.generate_private_key, 3 if n == 'moces-e3' else 65537, size) for n, size in sizes.items()}
        return {n: job.result() for n, job in jobs.items()}


def make_cas(keys):
    def pair(prefix, oces3, root_cn, ca_cn):
        root = make_ca(ca_name(oces3, root_cn), keys[f'{prefix}-root'], oces3)
        return root, make_ca(ca_name(oces3, ca_cn), keys[f'{prefix}-ca'], oces3, root)

    oces2 = 'TRUST2408 Sosigw Test Primary CA', 'TRUST2408 Sosigw Test CA'
    cas = {}
    cas['oces2-root'], cas['oces2-ca'] = pair('oces2', False, *oces2)
    cas['oces3-root'], cas['oces3-ca'] = pair('oces3', True, 'Den Danske Stat OCES rod-CA',
                                              'Den Danske Stat OCES udstedende-CA 1')
    # a stranger with our names and key identifiers: only the signature tells them apart
    cas['foreign-root'], cas['foreign-ca'] = pair('foreign', False, *oces2)
    cas['foreign-ca'].claimed_key = keys['oces2-ca']
    return cas


# ---- files

def write(path, data, mode=0o644):
    """whole or not at all: others may be reading"""
    tmp = f'{path}.tmp{os.getpid()}'
    with os.fdopen(os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), 'wb') as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    os.rename(tmp, path)


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def write_pair(d, leaf, cert, key, chain=()):
    write(f'{d}/{leaf}.key', key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()), 0o600)
    write(f'{d}/{leaf}.pem', pem(cert))
    if chain:
        write(f'{d}/{leaf}.p12', pkcs12.serialize_key_and_certificates(
            leaf.encode(), key, cert, list(chain), serialization.BestAvailableEncryption(PASSWORD)), 0o600)


def read_ca(d, which, what='ca'):
    with open(f'{d}/{which}-{what}.pem', 'rb') as f:
        cert = x509.load_pem_x509_certificate(f.read())
    with open(f'{d}/{which}-{what}.key', 'rb') as f:
        key = serialization.load_pem_private_key(f.read(), None)
    return Ca(cert, key, which == 'oces3')


def read_state(d):
    try:
        with open(f'{d}/ca.json', encoding='utf-8') as f:
            return json.load(f)
    except FileNotFoundError:
        return None


def write_json(path, value):
    write(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + '\n')


def write_root_crl(d, which, number, end, names_ca):
    """the list of a root names its CA, or nobody"""
    root, ca = read_ca(d, which, 'root'), read_ca(d, which)
    b = x509.CertificateRevocationListBuilder(root.cert.subject, min(now(), now() + end) - datetime.timedelta(minutes=5), now() + end)
    if names_ca:
        b = b.add_revoked_certificate(x509.RevokedCertificateBuilder(ca.cert.serial_number, now()).build())
    b = b.add_extension(x509.CRLNumber(number), False).add_extension(authority_key(root.key), False)
    write(f'{d}/crl/{which}-root.crl', root.sign_crl(b))


def write_crls(d, state, end=7 * DAY, without=None):
    state['crl_number'] += 1
    for which in ('oces2', 'oces3'):
        write_root_crl(d, which, state['crl_number'], end, which == without)
    for which in ('oces2', 'oces3'):
        ca = read_ca(d, which)
        b = x509.CertificateRevocationListBuilder(
            ca.cert.subject, min(now(), now() + end) - datetime.timedelta(minutes=5), now() + end)
        for entry in state['revoked']:
            if entry['ca'] == which:
                b = b.add_revoked_certificate(x509.RevokedCertificateBuilder(
                    int(entry['serial']), datetime.datetime.fromisoformat(entry['when'])).build())
        b = b.add_extension(x509.CRLNumber(state['crl_number']), False) \
            .add_extension(authority_key(ca.key), False)
        write(f'{d}/crl/{which}.crl', ca.sign_crl(b))
    write_json(f'{d}/ca.json', state)


# ---- commands

def revoke(d, state, leaf, listed=True):
    entry = state['leaves'].get(leaf)
    if not entry:
        sys.exit(f'testca: there is no certificate {leaf}')
    if entry['ca'] not in ('oces2', 'oces3'):
        sys.exit(f'testca: {leaf} is not from a CA that has a CRL')
    if all(r['serial'] != entry['serial'] for r in state['revoked']):
        state['revoked'].append({**entry, 'when': now().isoformat()})
    if listed:
        write_crls(d, state)
    else:
        write_json(f'{d}/ca.json', state)


def issue(d, state, leaf, like):
    if like not in state['leaves'] or os.path.exists(f'{d}/{leaf}.pem'):
        sys.exit(f'testca: there is no certificate {like}, or there is a {leaf} already')
    with open(f'{d}/{like}.key', 'rb') as f:
        key = serialization.load_pem_private_key(f.read(), None)
    which, subject, oid, _, _ = leaves()[like]
    cert = make_leaf(read_ca(d, which), key, subject, state['crl_url'], oid, now() - DAY, now() + 730 * DAY,
                     f'{leaf}@example.dk')
    write_pair(d, leaf, cert, key)
    state['leaves'][leaf] = {'ca': which, 'serial': str(cert.serial_number)}
    write_json(f'{d}/ca.json', state)


def make_tls_world(d):
    def key():
        return ec.generate_private_key(ec.SECP256R1())

    ca = make_ca(name([(NameOID.COUNTRY_NAME, 'DK')], [(NameOID.COMMON_NAME, 'Sosigw Test TLS CA')]), key(), False)
    write_pair(d, 'tls-ca', ca.cert, ca.key)
    local = [x509.DNSName('localhost'), x509.IPAddress(ipaddress.ip_address('127.0.0.1')),
             x509.IPAddress(ipaddress.ip_address('::1'))]
    for leaf, usage, names in (('tls', ExtendedKeyUsageOID.SERVER_AUTH, local),
                               ('tls-client', ExtendedKeyUsageOID.CLIENT_AUTH, [x509.DNSName('client.test')])):
        k = key()
        cert = make_tls(ca, k, 'localhost' if leaf == 'tls' else 'sosigw test client', usage, names)
        write_pair(d, leaf, cert, k, [ca.cert])


def make(d, url):
    table = leaves()
    keys = make_keys(table)
    cas = make_cas(keys)
    state = {'format': 1, 'crl_url': url, 'crl_number': 0, 'leaves': {}, 'revoked': []}
    for ca in CAS:
        write_pair(d, ca, cas[ca].cert, cas[ca].key)
    for leaf, (which, subject, oid, first, last) in table.items():
        ca, root = cas[f'{which}-ca'], cas[f'{which}-root']
        cert = make_leaf(ca, keys[leaf], subject, url, oid, now() + first * DAY, now() + last * DAY,
                         f'{leaf}@example.dk')
        write_pair(d, leaf, cert, keys[leaf], [ca.cert, root.cert])
        state['leaves'][leaf] = {'ca': which, 'serial': str(cert.serial_number)}
    for responder, ca in RESPONDERS.items():
        write_pair(d, responder, make_responder(cas[ca], keys[responder]), keys[responder])
    write(f'{d}/roots.pem', pem(cas['oces2-root'].cert) + pem(cas['oces3-root'].cert))
    write(f'{d}/intermediates.pem', pem(cas['oces2-ca'].cert) + pem(cas['oces3-ca'].cert))
    for which in ('oces2', 'oces3'):
        write(f'{d}/crl/{which}-ca.cer', cas[f'{which}-ca'].cert.public_bytes(serialization.Encoding.DER))
    make_tls_world(d)
    write_json(f'{d}/persons.json', PERSONS)
    write_json(f'{d}/authorisations.json', AUTHORISATIONS)
    # last, for the state is what says that all is there
    revoke(d, state, 'moces-revoked')


def main():
    p = argparse.ArgumentParser(description='make or change the test CA in DIR')
    p.add_argument('dir')
    p.add_argument('command', nargs='?', choices=('make', 'revoke', 'crl', 'issue'), default='make')
    p.add_argument('name', nargs='?')
    p.add_argument('like', nargs='?')
    p.add_argument('--not-listed', action='store_true')
    p.add_argument('--ended', type=int, metavar='MINUTES')
    p.add_argument('--revoked-ca', choices=('oces2', 'oces3'), help='named by its root this time')
    p.add_argument('--crl-url', default=None, help='where DIR/crl is served; default http://127.0.0.1:8888/crl')
    a = p.parse_args()
    if (a.command in ('revoke', 'issue')) != (a.name is not None) or (a.command == 'issue') != (a.like is not None):
        p.error('revoke needs a name, issue two, and nothing else has any')
    os.makedirs(f'{a.dir}/crl', exist_ok=True)
    with open(f'{a.dir}/.lock', 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = read_state(a.dir)
        url = a.crl_url and a.crl_url.rstrip('/')
        if a.command == 'make' and not state:
            make(a.dir, url or 'http://127.0.0.1:8888/crl')
        elif not state:
            sys.exit(f'testca: {a.dir} holds no test CA')
        elif a.command == 'revoke':
            revoke(a.dir, state, a.name, not a.not_listed)
        elif a.command == 'issue':
            issue(a.dir, state, a.name, a.like)
        elif a.command == 'crl':
            write_crls(a.dir, state, 7 * DAY if a.ended is None else -datetime.timedelta(minutes=a.ended), a.revoked_ca)
        elif url and url != state['crl_url']:
            sys.exit(f"testca: {a.dir} was made with --crl-url {state['crl_url']}; remove it first")


if __name__ == '__main__':
    main()
