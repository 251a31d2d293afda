"""Answers of an STS that somebody has forged, or that a broken STS gives, for the mode 'forged-shape' of sts.py: each has one thing
wrong, and everything else as right as it can be, so that each check of the gateway is tried alone.

WRAPPED: signature wrapping. The genuine card is in the answer with its good signature, and a card that the STS never signed is
where a careless reader looks. FORM: the right card with a signature of another form than the profile's, made with the key
of the STS itself. CONTENT: a card signed as it should be that no STS should give. RIGHT must be accepted, or the
others prove nothing.
"""
import base64
import hashlib
import hmac
import re

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from lxml import etree

DS = 'http://www.w3.org/2000/09/xmldsig#'
MORE = 'http://www.w3.org/2001/04/xmldsig-more#'
SHA256 = 'http://www.w3.org/2001/04/xmlenc#sha256'
SAML = 'urn:oasis:names:tc:SAML:2.0:assertion'
WSU = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'
EXC = 'http://www.w3.org/2001/10/xml-exc-c14n#'
INC = 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315'
ENVELOPED = DS + 'enveloped-signature'
HASHES = {'sha1': hashes.SHA1, 'sha256': hashes.SHA256, 'md5': hashes.MD5}
END = '</saml:Assertion>'


def c14n(xml):
    outer = etree.fromstring(f'<x xmlns:saml="{SAML}" xmlns:ds="{DS}">{xml}</x>')
    return etree.tostring(outer[0], method='c14n', exclusive=True, with_comments=False)


def b64(octets):
    return base64.b64encode(octets).decode()


def algorithm(name, uri, content=''):
    return f'<ds:{name} Algorithm="{uri}">{content}</ds:{name}>'


def reference(octets, uri='#IDCard', transforms=(ENVELOPED, EXC), method=DS + 'sha1', digest='sha1'):
    """a transform is a URI, or markup"""
    steps = ''.join(t if t.startswith('<') else algorithm('Transform', t) for t in transforms)
    return (f'<ds:Reference URI="{uri}">' + (f'<ds:Transforms>{steps}</ds:Transforms>' if steps else '') +
            algorithm('DigestMethod', method) + f'<ds:DigestValue>{b64(hashlib.new(digest, octets).digest())}</ds:DigestValue>'
            '</ds:Reference>')


class Forger:
    """bare: the card that was asked for, as markup without its signature; evil: the same with something else in it"""

    def __init__(self, bare, evil, signer, other):
        self.bare, self.evil, self.signer, self.other = bare, evil, signer, other

    def info(self, references=None, c14n_method=EXC, method=DS + 'rsa-sha1', inside=''):
        return ('<ds:SignedInfo>' + algorithm('CanonicalizationMethod', c14n_method) + algorithm('SignatureMethod', method, inside) +
                (reference(c14n(self.bare)) if references is None else references) + '</ds:SignedInfo>')

    def signature(self, info=None, hash_name='sha1', by=None, key_info=None, value=None, more=''):
        by = by or self.signer
        info = info or self.info()
        value = value or by[1].sign(c14n(info), padding.PKCS1v15(), HASHES[hash_name]())
        return (f'<ds:Signature id="OCESSignature">{info}<ds:SignatureValue>{b64(value)}</ds:SignatureValue><ds:KeyInfo>' +
                (x509(by) if key_info is None else key_info) + f'</ds:KeyInfo>{more}</ds:Signature>')

    def good(self):
        return put(self.bare, self.signature())

    def resigned(self, card):
        """another card, signed as it should be"""
        return put(card, self.signature(self.info(reference(c14n(card)))))


def put(card, *parts):
    """parts at the end of a card"""
    return card.removesuffix(END) + ''.join(parts) + END


def x509(by):
    return f'<ds:X509Data><ds:X509Certificate>{b64(by[0].public_bytes(serialization.Encoding.DER))}</ds:X509Certificate></ds:X509Data>'


def key_value(by):
    n = by[1].public_key().public_numbers()
    return ('<ds:KeyValue><ds:RSAKeyValue>' + ''.join(
        f'<ds:{name}>{b64(v.to_bytes((v.bit_length() + 7) // 8, "big"))}</ds:{name}>' for name, v in (('Modulus', n.n), ('Exponent', n.e))) +
        '</ds:RSAKeyValue></ds:KeyValue>')


def renamed_id(card, to):
    return card.replace(' id="IDCard"', to, 1)


def replaced(pattern, by):
    def change(card):
        out = re.sub(pattern, by, card, count=1, flags=re.S)
        assert out != card, pattern
        return out
    return change


# ---- wrapping

def in_object(f):
    return f.signature(more=f'<ds:Object>{f.bare}</ds:Object>')


def in_attribute(f):
    evil = re.sub('</saml:AttributeStatement>(?!.*</saml:AttributeStatement>)', lambda m: '<saml:Attribute Name="medcom:Original">'
                  f'<saml:AttributeValue>{f.bare}</saml:AttributeValue></saml:Attribute>' + m[0], f.evil)
    return put(evil, f.signature())


WRAPPED = {
    'the evil card first': lambda f: f.evil + f.good(),
    'the evil card last': lambda f: f.good() + f.evil,
    'the good card in the evil one': lambda f: put(f.evil, f.good()),
    'the evil card in the good one': lambda f: put(f.good(), f.evil),
    'the signature moved, the original behind': lambda f: put(f.evil, f.signature()) + f.bare,
    'the signature moved, the original before': lambda f: f.bare + put(f.evil, f.signature()),
    'the signature moved into Subject': lambda f: put(f.evil.replace('</saml:Subject>', f.signature() + '</saml:Subject>'), f.bare),
    'the original in the Signature': lambda f: put(f.evil, f.signature(more=f.bare)),
    'the original in an Object': lambda f: put(f.evil, in_object(f)),
    'the original in KeyInfo': lambda f: put(f.evil, f.signature(key_info=x509(f.signer) + f.bare)),
    'the original in Advice': lambda f: put(f.evil.replace('<saml:AttributeStatement', f'<saml:Advice>{f.bare}</saml:Advice>'
                                                           '<saml:AttributeStatement', 1), f.signature()),
    'the original in an AttributeValue': in_attribute,
    'the original in Extensions': lambda f: f'<saml:Extensions>{f.bare}</saml:Extensions>' + put(f.evil, f.signature()),
    'a fresh id on the evil card': lambda f: put(renamed_id(f.evil, ' id="evil"'), in_object(f)),
    'ID in place of id': lambda f: put(renamed_id(f.evil, ' ID="IDCard"'), in_object(f)),
    'Id in place of id': lambda f: put(renamed_id(f.evil, ' Id="IDCard"'), in_object(f)),
    'xml:id in place of id': lambda f: put(renamed_id(f.evil, ' xml:id="IDCard"'), in_object(f)),
    'wsu:Id in place of id': lambda f: put(renamed_id(f.evil, f' xmlns:wsu="{WSU}" wsu:Id="IDCard"'), in_object(f)),
    'no id on the evil card': lambda f: put(renamed_id(f.evil, ''), in_object(f)),
    'id and ID': lambda f: put(renamed_id(f.evil, ' id="evil" ID="IDCard"'), in_object(f)),
    'a Response around both': lambda f: f'<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol">{f.good()}{f.evil}</samlp:Response>',
    'the original in the SOAP header': lambda f: {'header': f.bare, 'token': put(f.evil, f.signature())},
    'the original in a second answer': lambda f: {'token': put(f.evil, f.signature()), 'second': f.good()},
    'a second token': lambda f: {'token': put(f.evil, f.signature()), 'second_token': f.good()},
    'a comment that cuts a name': lambda f: put(f.evil.replace('</saml:NameID>', '<!-- -->.</saml:NameID>'), f.signature()),
}


# ---- forms of a signature

XPATH = ('<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath>not(ancestor-or-self::ds:Signature)'
         '</ds:XPath></ds:Transform>')
FILTER2 = ('<ds:Transform Algorithm="http://www.w3.org/2002/06/xmldsig-filter2"><xf:XPath xmlns:xf="http://www.w3.org/2002/06/'
           'xmldsig-filter2" Filter="subtract">//ds:Signature</xf:XPath></ds:Transform>')
XSLT = ('<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"><xsl:stylesheet version="1.0" xmlns:xsl='
        '"http://www.w3.org/1999/XSL/Transform"><xsl:template match="/"><xsl:copy-of select="."/></xsl:template></xsl:stylesheet>'
        '</ds:Transform>')
PREFIXES = (f'<ds:Transform Algorithm="{EXC}"><ec:InclusiveNamespaces xmlns:ec="{EXC}" PrefixList="saml ds"/></ds:Transform>')


def referring(uri='#IDCard', **how):
    """signed as it should be, but for its one reference"""
    return lambda f: put(f.bare, f.signature(f.info(reference(c14n(f.bare), uri, **how))))


def transformed(*transforms):
    return referring(transforms=transforms)


def two_references(f):
    one = reference(c14n(f.bare))
    return put(f.bare, f.signature(f.info(one + one)))


def manifest(f):
    listed = f'<ds:Manifest id="m">{reference(c14n(f.bare))}</ds:Manifest>'
    over = reference(c14n(listed), '#m', (EXC,)).replace('URI="#m"', f'URI="#m" Type="{DS}Manifest"')
    return put(f.bare, f.signature(f.info(over), more=f'<ds:Object>{listed}</ds:Object>'))


def hmac_signed(method, inside='', bits=160):
    """the certificate, which everybody knows, is the key"""
    def make(f):
        info = f.info(method=method, inside=inside)
        key = f.signer[0].public_bytes(serialization.Encoding.PEM)
        return put(f.bare, f.signature(info, value=hmac.new(key, c14n(info), hashlib.sha1).digest()[:bits // 8]))
    return make


def with_method(method, hash_name='sha1'):
    return lambda f: put(f.bare, f.signature(f.info(method=method), hash_name))


def changed_signature(pattern, by):
    """the finished signature with something else in it"""
    return lambda f: put(f.bare, replaced(pattern, by)(f.signature()))


def by_other(key_info):
    return lambda f: put(f.bare, f.signature(by=f.other, key_info=key_info(f)))


FORM = {
    'no reference': lambda f: put(f.bare, f.signature(f.info(''))),
    'an empty reference': referring(''),
    'two references': two_references,
    'a reference to something else': lambda f: put(f.bare, f.signature(f.info(reference(c14n('<ds:Object id="o">x</ds:Object>'), '#o', (EXC,))),
                                                                       more='<ds:Object id="o">x</ds:Object>')),
    'an XPointer': referring("#xpointer(id('IDCard'))"),
    'an XPointer to the root': referring('#xpointer(/)'),
    'a reference by http': referring('http://127.0.0.1:1/card'),
    'a reference to a file': referring('file:///etc/hostname'),
    'a Manifest': manifest,
    'an XPath transform': transformed(ENVELOPED, XPATH, EXC),
    'XPath in place of enveloped-signature': transformed(XPATH, EXC),
    'an XPath filter': transformed(FILTER2, EXC),
    'XSLT': transformed(ENVELOPED, XSLT),
    'base64': transformed(ENVELOPED, DS + 'base64'),
    'three transforms': transformed(ENVELOPED, EXC, EXC),
    'enveloped-signature twice': transformed(ENVELOPED, ENVELOPED),
    'transforms in the other order': transformed(EXC, ENVELOPED),
    'no transform': transformed(),
    'enveloped-signature alone': transformed(ENVELOPED),
    'prefixes to be kept': transformed(ENVELOPED, PREFIXES),
    'an unknown transform': transformed(ENVELOPED, 'urn:unknown'),
    'SignedInfo twice': changed_signature('(<ds:SignedInfo>.*</ds:SignedInfo>)', r'\1\1'),
    'a comment in DigestValue': changed_signature('<ds:DigestValue>', '<ds:DigestValue><!--x-->'),
    'a comment in SignatureValue': changed_signature('<ds:SignatureValue>', '<ds:SignatureValue><!--x-->'),
    'SignatureValue twice': changed_signature('(<ds:SignatureValue>.*</ds:SignatureValue>)', r'\1\1'),
    'an empty SignatureValue': changed_signature('<ds:SignatureValue>.*</ds:SignatureValue>', '<ds:SignatureValue/>'),
    'the Signature twice': lambda f: put(f.bare, f.signature() * 2),
    'a Signature in the Signature': lambda f: put(f.bare, f.signature(more=f.signature())),
    'the Signature beside the card': lambda f: f.bare + f.signature(),
    'an Object': lambda f: put(f.bare, f.signature(more='<ds:Object/>')),
    'HMAC with the certificate as key': hmac_signed(DS + 'hmac-sha1'),
    'HMAC of eight bits': hmac_signed(DS + 'hmac-sha1', '<ds:HMACOutputLength>8</ds:HMACOutputLength>', 8),
    'no algorithm': with_method(''),
    'an unknown algorithm': with_method('urn:unknown'),
    'RSA with MD5': with_method(MORE + 'rsa-md5', 'md5'),
    'an MD5 digest': referring(method=MORE + 'md5', digest='md5'),
    'another hash than it says': with_method(MORE + 'rsa-sha256', 'sha1'),
    'another key, in KeyValue': by_other(lambda f: key_value(f.other)),
    'another key, named': by_other(lambda f: '<ds:KeyName>sts</ds:KeyName>'),
    'another key, its certificate first': by_other(lambda f: x509(f.other) + x509(f.signer)),
    'another key, its certificate last': by_other(lambda f: x509(f.signer) + x509(f.other)),
    'another key, to be fetched': by_other(lambda f: '<ds:RetrievalMethod URI="http://127.0.0.1:1/key"/>'),
    # nothing uses it, so the signature would fit; but there is no canonical form of it
    'a relative namespace': lambda f: f.good().replace('<saml:Issuer>', '<saml:Issuer xmlns:r="relative">', 1),
}


# ---- contents

def content(pattern, by):
    return lambda f: f.resigned(replaced(pattern, by)(f.bare))


def ending(text):
    return content('NotOnOrAfter="[^"]*"', f'NotOnOrAfter="{text}"')


NO_DATES = ('', ' ', 'now', '2099-01-01', '2099-13-01T00:00:00Z', '2099-02-30T00:00:00Z', '2099-01-01T25:00:00Z', '2099-01-01T00:60:00Z',
            '2099-01-01T00:00:00X', '2099-01-01 00:00:00Z', '99-01-01T00:00:00Z', '+2099-01-01T00:00:00Z', '-2099-01-01T00:00:00Z',
            '2099-1-1T0:0:0Z', '２０９９-01-01T00:00:00Z', '2099-01-01T00:00:00.Z', '2099-01-01T00:00:00+99:99', '2099-01-01T00:00:00Z2',
            '9' * 5000 + '-01-01T00:00:00Z', '4102444800')
LEVEL = '<saml:Attribute Name="sosi:AuthenticationLevel"><saml:AttributeValue>4</saml:AttributeValue></saml:Attribute>'

CONTENT = {
    'no Conditions': content('<saml:Conditions[^>]*/>', ''),
    'Conditions twice': content('(<saml:Conditions[^>]*/>)', r'\1\1'),
    'ends before it begins': content('NotBefore="([^"]*)" NotOnOrAfter="([^"]*)"', r'NotBefore="\2" NotOnOrAfter="\1"'),
    'no beginning': content('NotBefore="[^"]*" ', ''),
    'no end': content(' NotOnOrAfter="[^"]*"', ''),
    'good for a year': ending('2099-01-01T00:00:00Z'),
    'no level': content(re.escape(LEVEL), ''),
    'level 3': content(re.escape(LEVEL), LEVEL.replace('>4<', '>3<')),
    'level 1': content(re.escape(LEVEL), LEVEL.replace('>4<', '>1<')),
    'level 04': content(re.escape(LEVEL), LEVEL.replace('>4<', '>04<')),
    'two levels': content(re.escape(LEVEL), LEVEL + LEVEL.replace('>4<', '>1<')),
    'no IDCardID': content('<saml:Attribute Name="sosi:IDCardID">.*?</saml:Attribute>', ''),
    'an empty IDCardID': content('(Name="sosi:IDCardID"><saml:AttributeValue>)[^<]*', r'\1'),
    'the id of a system': content('(Name="sosi:IDCardType"><saml:AttributeValue>)user', r'\1system'),
    'another given name': content('(Name="medcom:UserGivenName"><saml:AttributeValue>)[^<]*', r'\1Frederikke'),
    'another surname': content('(Name="medcom:UserSurName"><saml:AttributeValue>)[^<]*', r'\1Fremmed'),
    'another certificate': content('(Name="sosi:OCESCertHash"><saml:AttributeValue>)[^<]*', r'\1AAAAAAAAAAAAAAAAAAAAAAAAAAA='),
    'no NameID': content('<saml:NameID.*?</saml:NameID>', ''),
    'an empty NameID': content('(<saml:NameID[^>]*>)[^<]*', r'\1'),
    'two NameIDs': content('(<saml:NameID.*?</saml:NameID>)', r'\1\1'),
    'another id': content(' id="IDCard"', ' id="Other"'),
    'an assertion in it': lambda f: f.resigned(put(f.bare, renamed_id(f.bare, ' id="inner"'))),
    'SAML 1': content('Version="2.0"', 'Version="1.1"'),
}

RIGHT = {
    'as it should be': Forger.good,
    'the certificate of another in KeyInfo': lambda f: put(f.bare, f.signature(key_info=x509(f.other))),
    'SHA-256 over a SHA-1 digest': with_method(MORE + 'rsa-sha256', 'sha256'),
    'SHA-1 over a SHA-256 digest': lambda f: put(f.bare, f.signature(f.info(reference(c14n(f.bare), method=SHA256, digest='sha256')))),
    'SHA-256': lambda f: put(f.bare, f.signature(f.info(reference(c14n(f.bare), method=SHA256, digest='sha256'), method=MORE + 'rsa-sha256'),
                                                 'sha256')),
}

SHAPES = {**WRAPPED, **FORM, **CONTENT, **{f'ends {t[:12]!r}': ending(t) for t in NO_DATES}, **RIGHT}


def forge(shape, bare, evil, signer, other):
    """parts of an answer: token, and perhaps header, second and second_token"""
    made = SHAPES[shape](Forger(bare, evil, signer, other))
    return made if isinstance(made, dict) else {'token': made}
