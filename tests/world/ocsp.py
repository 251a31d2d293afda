"""The test CA's OCSP responder, which sts.py serves: answers from ca.json, right ones and wrong ones.

A delegate signs for its CA (ocsp-oces2, ocsp-oces3 of testca.py); for OCES3 with RSASSA-PSS, which python-cryptography
38 cannot: its answer is taken apart and signed again.
"""
import datetime
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from testca import ALG_PSS, PSS, der, now

MODES = {
    'ocsp-off': '404 for OCSP; exchanges as normal', 'ocsp-silent': 'OCSP answers never come',
    'ocsp-garbage': 'something else for OCSP', 'ocsp-old': 'OCSP answers of yesterday',
    'ocsp-unknown': 'the responder knows no certificate', 'ocsp-try-later': 'the responder is too busy',
    'ocsp-wrong-signer': "OCSP answers signed by a stranger's delegate",
    'ocsp-no-nonce': 'OCSP answers without nonce', 'ocsp-other-nonce': "OCSP answers with somebody else's nonce",
}
OID_BASIC = bytes.fromhex('06092b0601050507300101')


def read_pair(world, name):
    with open(f'{world}/{name}.pem', 'rb') as f:
        cert = x509.load_pem_x509_certificate(f.read())
    with open(f'{world}/{name}.key', 'rb') as f:
        return cert, serialization.load_pem_private_key(f.read(), None)


def read_cert(world, name):
    with open(f'{world}/{name}.pem', 'rb') as f:
        return x509.load_pem_x509_certificate(f.read())


def sign(builder, cert, key, pss):
    """the whole answer, DER"""
    plain = builder.sign(key, hashes.SHA256())
    if not pss:
        return plain.public_bytes(serialization.Encoding.DER)
    tbs = plain.tbs_response_bytes
    signature = der(0x03, b'\0' + key.sign(tbs, PSS, hashes.SHA256()))
    certs = der(0xa0, der(0x30, cert.public_bytes(serialization.Encoding.DER)))
    basic = der(0x30, tbs + ALG_PSS + signature + certs)
    return der(0x30, der(0x0a, b'\0') + der(0xa0, der(0x30, OID_BASIC + der(0x04, basic))))


def add_nonce(builder, request, mode):
    try:
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value
    except x509.ExtensionNotFound:
        return builder
    if mode == 'ocsp-other-nonce':
        nonce = x509.OCSPNonce(b'somebody else')
    return builder if mode == 'ocsp-no-nonce' else builder.add_extension(nonce, False)


def unsuccessful(status):
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(serialization.Encoding.DER)


def answer(world, body, mode):
    """the answer to a request, as the test CA in the folder `world` knows it"""
    if mode == 'ocsp-try-later':
        return unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    try:
        request = ocsp.load_der_ocsp_request(body)
    except ValueError:
        return unsuccessful(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
    with open(f'{world}/ca.json', encoding='utf-8') as f:
        state = json.load(f)
    serial = str(request.serial_number)
    name = next((n for n, leaf in state['leaves'].items() if leaf['serial'] == serial), None)
    if not name:
        return unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    which = state['leaves'][name]['ca']
    revoked = next((datetime.datetime.fromisoformat(r['when']) for r in state['revoked'] if r['serial'] == serial), None)
    status = ocsp.OCSPCertStatus.UNKNOWN if mode == 'ocsp-unknown' else \
        ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD
    start = now() - datetime.timedelta(days=2 if mode == 'ocsp-old' else 0)
    cert, key = read_pair(world, 'ocsp-foreign' if mode == 'ocsp-wrong-signer' else f'ocsp-{which}')
    builder = ocsp.OCSPResponseBuilder().add_response(
        read_cert(world, name), read_cert(world, f'{which}-ca'), request.hash_algorithm, status, start,
        start + datetime.timedelta(hours=12), revoked if status == ocsp.OCSPCertStatus.REVOKED else None, None)
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, cert).certificates([cert])
    return sign(add_nonce(builder, request, mode), cert, key, which == 'oces3')
