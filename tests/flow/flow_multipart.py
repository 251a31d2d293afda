"""A multipart that two receivers could read as two messages is refused, each way of writing one in its own row. Such a
message would be judged by one envelope and be answered by the service for another."""
import client
from harness import ASSERTION, cases

from flow_contract import MTOM, SYNTAX

ID = b'Content-ID: <root@x>\r\n'
TYPE = b'Content-Type: application/xop+xml; charset=UTF-8; type="text/xml"\r\n'
NO_START = MTOM.replace('start="<root@x>"; ', '')


def part(headers, root):
	return b'--MIME_1\r\n' + headers + b'\r\n' + root + b'\r\n'


def whole(*parts):
	return b''.join(parts) + b'--MIME_1--\r\n'


def hidden(root):
	"""A part that only those see to whom LF alone ends a line."""
	return b'x\n--MIME_1\n' + ID.replace(b'\r', b'') + b'\n' + root + b'\n\r\n'


MESSAGES = (
	('the second part is start', lambda good, evil: whole(part(TYPE, good), part(TYPE + ID, evil))),
	('no part is start', lambda good, evil: whole(part(TYPE, good))),
	('two parts are start', lambda good, evil: whole(part(TYPE + ID, good), part(TYPE + ID, evil))),
	('the root has two Content-IDs', lambda good, evil: whole(part(TYPE + ID + b'Content-ID: <a@x>\r\n', good))),
	('a preamble', lambda good, evil: b'This is MIME.\r\n' + whole(part(TYPE + ID, good))),
	('a part hidden in the preamble', lambda good, evil: hidden(evil) + whole(part(TYPE + ID, good))),
	('a part hidden in it, and the root without id', lambda good, evil: hidden(evil) + whole(part(TYPE, good))),
	('a part hidden behind a CR', lambda good, evil: whole(part(TYPE + ID, good), part(b'', b'x\r--MIME_1\r' + ID[:-1] + b'\r' + evil))),
	('blanks behind the delimiter', lambda good, evil: whole(part(TYPE + ID, good).replace(b'_1\r', b'_1 \r'))),
	('another charset', lambda good, evil: whole(part(TYPE.replace(b'UTF-8', b'UTF-7') + ID, good))),
	('another charset, blank before the colon', lambda good, evil: whole(part(b'Content-Type : text/xml; charset=UTF-7\r\n' + ID, good))),
	('another encoding, blank before the colon', lambda good, evil: whole(part(ID + b'Content-Transfer-Encoding : quoted-printable\r\n', good))),
	('another encoding, behind LF', lambda good, evil: whole(part(ID + b'X: y\nContent-Transfer-Encoding: quoted-printable\r\n', good))),
	('another encoding, behind CR', lambda good, evil: whole(part(ID + b'X: y\rContent-Transfer-Encoding: quoted-printable\r\n', good))),
	('another encoding, folded', lambda good, evil: whole(part(ID + b'X: y\r\n Content-Transfer-Encoding: quoted-printable\r\n', good))),
	('a part hidden in the head', lambda good, evil: whole(part(TYPE + ID, good.replace(b'<soapenv:Header>', b'<soapenv:Header><x xmlns="urn:x"><![CDATA[\r\n' +
	    part(TYPE + ID, evil) + b']]></x>')))))


@cases(*MESSAGES)
def a_message_of_two_readings_is_refused(world, make):
	lars = world.user()
	world.order_and_sign(lars)
	good = world.proxy_request(lars, world.service('sink'))
	message = make(good, good.replace(b'<soapenv:Body>', b'<soapenv:Body><evil/>'))
	with world.nothing_forwarded():
		world.refused(world.post_proxy(message, headers={'Content-Type': MTOM}), SYNTAX)


@cases(('boundary in RFC 2231', MTOM + "; boundary*=utf-8''other"), ('boundary in pieces', MTOM + '; boundary*0=other'),
    ('charset in RFC 2231', MTOM + "; charset*=utf-8''utf-7"), ('a backslash in it', MTOM.replace('MIME_1', 'MIME\\_1')),
    ('a backslash in start', MTOM.replace('root@x', 'ro\\ot@x')), ('an empty start', MTOM.replace('<root@x>', '')),
    ('a comment', MTOM.replace('"MIME_1"', 'MIME_1(other)')), ('two boundaries', MTOM + '; boundary=other'))
def a_type_of_two_readings_is_refused(world, content_type):
	lars = world.user()
	world.order_and_sign(lars)
	message = whole(part(TYPE + ID, world.proxy_request(lars, world.service('sink'))))
	with world.nothing_forwarded():
		world.refused(world.post_proxy(message, headers={'Content-Type': content_type}), SYNTAX)


@cases(('CXF', b'\r\n', TYPE + b'Content-Transfer-Encoding: binary\r\n' + ID, MTOM), ('Axis2', b'', TYPE + b'Content-Transfer-Encoding: 8bit\r\n' + ID, MTOM),
    ('WCF', b'\r\n', ID + b'Content-Transfer-Encoding: 8bit\r\nContent-Type: application/xop+xml;charset=utf-8;type="text/xml"\r\n', MTOM),
    ('Metro', b'', b'Content-Id:  <root@x>\r\nContent-type: application/xop+xml;charset=utf-8;type="text/xml"\r\ncontent-transfer-encoding:binary\r\n', MTOM),
    ('a folded type', b'', b'Content-Type: application/xop+xml;\r\n\tcharset=utf-8;\r\n\ttype="text/xml"\r\n' + ID, MTOM),
    ('bare', b'\r\n\r\n', b'', NO_START))
def the_forms_of_real_clients_pass(world, before, headers, content_type):
	lars = world.user()
	world.order_and_sign(lars)
	message = before + whole(part(headers, world.proxy_request(lars, world.service('sink'))), part(b'Content-ID: <a@x>\r\n', b'\r--MIME\r\n\n'))
	seen = world.stub_count()
	answer = world.post_proxy(message, headers={'Content-Type': content_type})
	assert answer.status == 200, answer.body
	card = ASSERTION.search(world.forwarded(seen)['body'])[0]
	good, said = client.verify_card(card, world.certs.path('sts.pem'))
	assert good, said
