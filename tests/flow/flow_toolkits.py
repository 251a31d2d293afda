"""Recorded requests of clients that toolkits generated from the WSDL (tests/data/toolkits), sent again octet for octet but for what must be
another: user, secret, signature and certificate, the address of the service, and Content-Length where these differ in length."""
import base64
import glob
import os
import re
import socket

import client
from harness import TOP, cases, without_card

FOLDER = os.path.join(TOP, 'tests', 'data', 'toolkits')
KITS = [(kit, kit) for kit in sorted(os.listdir(FOLDER)) if os.path.isdir(os.path.join(FOLDER, kit))]
SERVICE = b'http://127.0.0.1:27306/service'	# as it was recorded
NAME_ID = rb'(NameID [^>]*>)[^<]+'
SIGNATURE = rb'(SignatureValue[^>]*>)[^<]+'
CERTIFICATE = rb'(X509Certificate[^>]*>)[^<]+'


class Replay:
	def __init__(self, world, kit):
		self.world, self.kit, self.user = world, kit, world.user()

	def message(self, operation, **other):
		"""Head and body; other: what SIGNATURE and CERTIFICATE become."""
		with open(os.path.join(FOLDER, self.kit, f'{operation}.http'), 'rb') as f:
			head, body = f.read().split(b'\r\n\r\n', 1)
		secret = self.world.secret('epj-a')
		basic = base64.b64encode(f'epj-a:{secret}'.encode()).decode()
		head, n = re.subn(rb'(?i)(\r\n(?:SOSIGW-Secret|Authorization): (?:(Basic) )?)x+', lambda m: m[1] + (basic if m[2] else secret).encode(), head)
		assert n == 1, head
		for pattern, text in ((NAME_ID, self.user.name_id), *other.values()):
			body, n = re.subn(pattern, lambda m, text=text: m[1] + text.encode(), body)
			assert n == 1, (pattern, body)
		body = body.replace(SERVICE, self.world.service('service').encode())
		return re.sub(rb'(?i)(\r\nContent-Length: )\d+', rb'\g<1>%d' % len(body), head) + b'\r\n\r\n', body

	def send(self, operation, **other):
		head, body = self.message(operation, **other)
		with self.world.http(None).connect() as s:
			s.settimeout(20)
			s.sendall(head)
			if b'Expect: 100-continue' in head:
				assert s.recv(len(b'HTTP/1.1 100 Continue\r\n\r\n'), socket.MSG_WAITALL).startswith(b'HTTP/1.1 100 ')
			s.sendall(body)
			status, headers, text, length, digest, complete = client._Connection(s).read('POST', False)	# pylint: disable=protected-access
		return client.Answer(status, headers, text, length, digest, 0, complete, True)

	def sign_in(self):
		ordered = self.send('requestIdCardDigestForSigning').parse()
		assert ordered.digest and ordered.browser_url.startswith('https://'), ordered.string
		certs = self.world.certs
		answer = self.send('signIdCard', value=(SIGNATURE, client.sign(ordered.digest, certs.key('moces'))),
		    certificate=(CERTIFICATE, client.cert_base64(certs.cert('moces'))))
		assert answer.status == 200 and answer.parse().ok, answer.body

	def has_card(self):
		answer = self.send('getValidIdCard')
		if answer.status == 500:
			self.world.refused(answer, 'sosigw_no_valid_idcard_in_cache')
			return False
		card = client.read_card(answer.parse().card)
		assert card['medcom:UserGivenName'] == self.user.given and card['signed'], card
		return True


@cases(*KITS)
def a_generated_client_signs_in_and_out(world, kit):
	r = Replay(world, kit)
	assert not r.has_card()
	r.sign_in()
	assert r.has_card()
	answer = r.send('logoutWithResponse')
	assert answer.status == 200 and b'>ok</' in answer.body, answer.body
	assert not r.has_card()
	r.sign_in()
	answer = r.send('logout')
	assert (answer.status, answer.body) == (202, b''), answer
	assert not r.has_card()


@cases(*[(name, *name.split('/')) for name in sorted(os.path.relpath(p, FOLDER)[:-5] for p in glob.glob(os.path.join(FOLDER, '*', 'call*.http')))])
def a_call_of_a_generated_client_arrives_with_the_kept_card(world, kit, operation):
	r = Replay(world, kit)
	world.refused(r.send(operation), 'sosigw_no_valid_idcard_in_cache')
	r.sign_in()
	before = world.stub_count()
	answer = r.send(operation)
	assert answer.status == 200 and b'Receipt' in answer.body, answer.body
	got = world.forwarded(before)
	assert got['verdict'] == 'ok' and without_card(got['body']) == without_card(r.message(operation)[1])
	assert f'\r\nSOAPAction: "{"http://nsi.dk/nts/invoke"}"'.lower().encode() in got['head'].lower(), got['head']
