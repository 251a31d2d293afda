"""A browser without a screen, for tests of the signing page and for the demo: it keeps the page's cookie, sends the headers
that browsers send, and signs as the page's script does.

    b = browser.Browser('https://localhost:8443', ca=w.path('tls-ca.pem'))
    page = b.open(ordered.browser_url)
    page = b.sign(page, w, 'moces')
    page.title                                          # "You are signed in until 17:05"
"""
import base64
import hashlib
import http.cookies
import re
import urllib.parse

from lxml import html

import client

COOKIE = '__Host-sosigw-sign'
START, ANSWER, EXTEND, CANCEL = (f'/sosigw/sign/{name}' for name in ('start', 'answer', 'extend', 'cancel'))


class Page:
    """what came back: .status, .headers, .text; of a page .title (its heading), .said (all it shows); of the page to sign on
    .token, .card, .signed_info (octets), .seconds"""

    def __init__(self, answer):
        self.status, self.headers = answer.status, answer.headers
        self.text = answer.body.decode()
        self.title = self.said = self.form = self.token = self.card = self.signed_info = self.seconds = None
        if self.headers.get_content_type() == 'text/html' and self.text:
            self.root = html.fromstring(self.text)
            self.title = ''.join(self.root.xpath('//h1[1]//text()'))
            for unseen in self.root.xpath('//*[@hidden] | //noscript'):
                unseen.drop_tree()
            self.said = ' '.join(' '.join(self.root.xpath('(//main | //body[not(.//main)])//text()')).split())
            self._read_form(html.fromstring(self.text))

    def _read_form(self, root):
        form = root.xpath('//form[@id="sign"]')
        if not form:
            return
        self.form = form[0]
        self.token = self.form.xpath('input[@name="token"]/@value')[0]
        self.card = base64.b64decode(self.form.get('data-card'))
        self.signed_info = base64.b64decode(self.form.get('data-signed-info'))
        self.seconds = int(self.form.get('data-seconds'))

    def __str__(self):
        return f'{self.status} {self.title!r}: {(self.said or self.text)[:600]}'


class Browser:
    """cookie: what it sends, once it was given one. The address that the links name need not be the one it connects to."""

    def __init__(self, base, ca=None, **options):
        self.http = client.Http(base, ca=ca, **options)
        self.origin = base
        self.cookie = None

    def request(self, method, path, body=None, headers=None):
        headers = {k: v for k, v in {'Accept': 'text/html', 'Cookie': f'{COOKIE}={self.cookie}' if self.cookie else None,
                                     **(headers or {})}.items() if v is not None}
        page = Page(self.http.request(method, path, body, headers=headers))
        for line in page.headers.get_all('Set-Cookie', []):
            self.cookie = http.cookies.SimpleCookie(line)[COOKIE].value
        return page

    def get(self, path, headers=None, method='GET'):
        return self.request(method, path, None, {'Sec-Fetch-Site': 'none', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document',
                                                 **(headers or {})})

    def open(self, url, **options):
        """a link that a program has shown, or a path"""
        parts = urllib.parse.urlsplit(url)
        return self.get(parts.path + ('?' + parts.query if parts.query else ''), **options)

    def post(self, path, fields, headers=None):
        """a form; its page tells no referrer, and so no origin either"""
        body = urllib.parse.urlencode(fields).encode() if not isinstance(fields, bytes) else fields
        return self.request('POST', path, body, {'Content-Type': 'application/x-www-form-urlencoded', 'Origin': 'null',
                                                 'Sec-Fetch-Site': 'same-origin', **(headers or {})})

    def answer(self, page, signature, **options):
        return self.post(ANSWER, {'token': page.token, 'signature': signature}, **options)

    def sign(self, page, world, who='moces', **options):
        return self.answer(page, signature(page.signed_info, world, who), **options)

    def extend(self, page, **options):
        """as the script does, by fetch: that tells its origin"""
        headers = {'Origin': self.origin, 'Accept': '*/*', **options.pop('headers', {})}
        return self.post(EXTEND, {'token': page.token}, headers=headers, **options)

    def cancel(self, page, **options):
        return self.post(CANCEL, {'token': page.token}, **options)


def hash_of(signed_info):
    """sha1 or sha256, as SignedInfo says"""
    return re.search(rb'SignatureMethod Algorithm="[^"]*#rsa-(sha\d+)"', signed_info)[1].decode()


def structure(signed_info, value, *certificates):
    """the ds:Signature that the page's script makes; value and certificates in base64"""
    data = ''.join(f'<ds:X509Data><ds:X509Certificate>{c}</ds:X509Certificate></ds:X509Data>' for c in certificates)
    return (f'<ds:Signature xmlns:ds="{client.DS}" Id="OCESSignature">{signed_info.decode()}<ds:SignatureValue>{value}'
            f'</ds:SignatureValue><ds:KeyInfo>{data}</ds:KeyInfo></ds:Signature>')


def signature(signed_info, world, who='moces'):
    """what the page posts: base64 of the structure"""
    value = client.sign(signed_info, world.key(who), hash_of(signed_info))
    return base64.b64encode(structure(signed_info, value, client.cert_base64(world.cert(who))).encode()).decode()


def hashed(octets, signed_info):
    """with the hash that SignedInfo names"""
    return hashlib.new(hash_of(signed_info), octets).digest()


def sha384(octets):
    return base64.b64encode(hashlib.sha384(octets).digest()).decode()
