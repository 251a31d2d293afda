"""Who may call, and what may be called."""
import signal

import client
from harness import cases, until

DENIED = 'sosigw_access_denied'


@cases(('secret in the header', 'epj-a', {}), ('address alone', 'addr-a', {}), ('TLS certificate', 'tls-a', {}), ('over TLS', 'epj-a', {'tls': True}))
def a_known_client_is_served(world, who, options):
	lars = world.user()
	world.order_and_sign(lars)
	answer = world.http(who, **options).post(client.PROXY, world.proxy_request(lars))
	assert answer.status == 200, answer.body
	row, = world.audit(user=lars.name_id, kind='proxy')
	assert row['client'] == who, row


def basic_authentication_is_a_way_to_send_the_secret(world):
	http = world.http(None, basic=('epj-a', world.secret('epj-a')))
	world.refused(http.post(client.SERVICE, client.get_valid_id_card(world.user())), 'sosigw_no_valid_idcard_in_cache')


@cases(('no secret', None, {}), ('wrong secret', None, {'secret': 'x' * 43}), ('secret of another network', 'far-a', {}),
    ('the address client elsewhere', None, {'source': '127.0.0.9'}),
    ('a secret under another name', None, {'basic': ('epj-b', 'x')}))
def a_stranger_is_refused(world, who, options):
	with world.nothing_forwarded():
		world.refused(world.http(who, **options).post(client.PROXY, world.proxy_request(world.user())), DENIED)
		world.refused(world.http(who, **options).post(client.SERVICE, client.order_card(world.user())), DENIED)


def headers_cannot_forge_a_certificate(world):
	with open(world.certs.cert('tls-client'), encoding='ascii') as f:
		pem = f.read().replace('\n', ' ')
	forged = {'SSL-CLIENT-VERIFY': 'SUCCESS', 'SSL-CLIENT-CERT': pem, 'SSL_CLIENT_VERIFY': 'SUCCESS', 'SSL_CLIENT_CERT': pem}
	for tls in (False, True):
		answer = world.http(None, tls=tls).post(client.SERVICE, client.order_card(world.user()), headers=forged)
		world.refused(answer, DENIED)


def a_front_proxy_tells_the_clients_address_and_nobody_else_does(world):
	forwarded = {'X-Forwarded-For': '127.0.0.2'}
	message = client.get_valid_id_card(world.user())
	through = world.http(None, source='127.0.0.3').post(client.SERVICE, message, headers=forwarded)
	world.refused(through, 'sosigw_no_valid_idcard_in_cache')
	world.refused(world.http(None).post(client.SERVICE, message, headers=forwarded), DENIED)


@cases(('not listed', lambda stub: stub + '/elsewhere'), ('upper case', lambda stub: stub.upper() + '/service'),
    ('trailing slash', lambda stub: stub + '/service/'), ('dot segment', lambda stub: stub + '/x/../service'),
    ('user information', lambda stub: stub.replace('//', '//a@') + '/service'), ('trailing dot', lambda stub: stub.replace('0.1:', '0.1.:') + '/service'),
    ('fragment', lambda stub: stub + '/service#x'), ('another port', lambda stub: stub + '1/service'))
def only_the_very_url_on_the_list_is_called(world, spell):
	lars = world.user()
	world.order_and_sign(lars)
	with world.nothing_forwarded():
		world.refused(world.post_proxy(world.proxy_request(lars, spell(world.sandbox['stub']))), DENIED)
	row, = world.audit(user=lars.name_id, kind='proxy')
	assert row['status'] == 'refused' and row['endpoint'] == spell(world.sandbox['stub']), row


def a_new_configuration_is_live_at_once(world):
	lars = world.user()
	world.order_and_sign(lars)
	request = world.proxy_request(lars, world.service('service?new'))
	world.refused(world.post_proxy(request), DENIED)

	def add(document):
		document['services'].append({**document['services'][0], 'id': 'new', 'url': world.service('service?new')})

	with world.configured(add):
		for _ in range(4):	# both workers
			assert world.post_proxy(request).status == 200
	world.refused(world.post_proxy(request), DENIED)


def many_wrong_secrets_are_audited_in_sum_and_stop_nobody(world):
	"""No client is locked out or held up by what others at its address do; and no refusal is missing from the audit."""
	address = '127.0.0.78'
	message = client.get_valid_id_card(world.user())

	def here(document):
		epj, = (c for c in document['clients'] if c['id'] == 'epj-a')
		epj['addresses'].append(address)

	def wrong(n):
		http = world.http(None, secret='x' * 43, source=address)
		for _ in range(n):
			world.refused(http.post(client.SERVICE, message), DENIED)

	def told():
		rows = [r for r in world.audit(address=address) if r['reason'] == 'CLIENT_UNKNOWN']
		sums = [int(r['operation'].split()[0]) for r in rows if 'more refusals' in (r['operation'] or '')]
		return len(rows) - len(sums), sum(sums)

	with world.configured(here):
		for _ in range(10):
			wrong(15)
			world.refused(world.http('epj-a', source=address).post(client.SERVICE, message), 'sosigw_no_valid_idcard_in_cache')
		single, _ = told()
		assert 0 < single <= 40, f'{single} refusals by themselves from two workers'
		for worker in ('card-1', 'card-2'):
			world.kill(worker, signal.SIGTERM)	# a worker that ends tells what it has counted
		assert until(lambda: sum(told()) == 150, 20, 0.3), f'told by themselves and in sums: {told()}, of 150'
		served = lambda: world.http('epj-a', source=address).post(client.SERVICE, message).status == 500
		assert until(lambda: all(served() for _ in range(4)), 20, 0.3), 'the workers do not come back'
