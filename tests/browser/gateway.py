"""The sandbox as the browser tests see it: a little JSON service on loopback through which they order cards and ask for them, as
a user's program does, while the browser signs.

    POST /<operation>  {argument: value, ...}  ->  the answer, or {"error": text}
"""
import http.server
import json
import os
import sys
import threading
import traceback

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'world'), os.path.join(HERE, '..', 'flow')]
import client
import flow_idp
import harness

PEOPLE = {'lars': client.LARS, 'stine': client.STINE, 'mette': client.METTE}


class Gateway:
	def __init__(self, folder):
		self.world = harness.World(folder)
		self.people = {}

	# -- what a test may ask for

	def order(self, like='lars', **changes):
		"""Orders a card for somebody new: {user, url, digest}."""
		who = self.world.user(PEOPLE[like], **changes)
		self.people[who.name_id] = who
		return self.order_again(who.name_id)

	def order_again(self, user):
		answer = self.world.post_service(client.order_card(self.people[user]))
		parsed = answer.parse()
		assert parsed.browser_url, f'{answer.status} {answer.body.decode()}'
		return {'user': user, 'url': parsed.browser_url}

	def get_card(self, user):
		"""What the waiting program is told: {fault} or {card}; the card is checked by xmlsec1 against the STS's certificate."""
		parsed = self.world.get_card(self.people[user])
		if parsed.fault:
			return {'fault': parsed.fault_code}
		good, said = client.verify_card(parsed.card, self.world.certs.cert('sts'))
		assert good, said
		return {'card': client.read_card(parsed.card)}

	def configure(self, **values):
		"""Sets these members of `times`, or of the document; what they were before."""
		document = self.world.configuration()
		before = {}
		for name, value in values.items():
			place = document['times'] if name.endswith('_seconds') else document
			before[name] = place.get(name)
			place[name] = value
		self.world.configure(document)
		return before

	def provide(self, url):
		"""The organisation has an identity provider there; what `configure` is to be given to have it as before."""
		document = self.world.configuration()
		before = {'organisations': json.loads(json.dumps(document['organisations']))}
		flow_idp.provider(self.world, url)(document)
		self.world.configure(document)
		return before

	def log_in(self, user, url):
		"""What the provider, asked by that link, has the browser post when this user has logged in; encrypted, as OIOSAML has it."""
		asked = flow_idp.Asked(url)
		return {'acs': asked.acs, 'RelayState': asked.relay,
		    'SAMLResponse': flow_idp.answer_to(self.world, asked, self.people[user], listed='xsd xs xsi',
		        after=flow_idp.encrypted(self.world))}


def serve(folder):
	"""Starts it; (URL, a function that ends it)."""
	gateway = Gateway(folder)
	lock = threading.Lock()		# the harness has no locks of its own

	class Handler(http.server.BaseHTTPRequestHandler):
		def do_POST(self):
			arguments = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
			try:
				with lock:
					answer = getattr(gateway, self.path[1:])(**arguments)
			except Exception:	# pylint: disable=broad-except
				answer = {'error': traceback.format_exc()}
			body = json.dumps(answer).encode()
			self.send_response(200)
			self.send_header('Content-Length', str(len(body)))
			self.end_headers()
			self.wfile.write(body)

		def log_message(self, *_):
			pass

	server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
	threading.Thread(target=server.serve_forever, daemon=True).start()
	return f'http://127.0.0.1:{server.server_port}', server.shutdown
