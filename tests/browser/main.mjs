/* Runs the browser tests; `run` starts it. The last line is "N passed, N failed". */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert, config, engine, keyFiles, launch, leaks, leftOut, recorder, runTests, secretNumbers } from './harness.mjs';
import { prepare } from './gateway.mjs';
import { fixture } from './script.mjs';
import './service.mjs';

const NET_LOG = join(config.scratch, 'net-log.json');

/* What Chromium itself wrote down: every octet that it gave to a socket, before TLS had it, and every host it looked for. */
const readNetLog = () => {
	const { constants, events } = JSON.parse(readFileSync(NET_LOG, 'utf8'));
	const types = Object.fromEntries(Object.entries(constants.logEventTypes).map(([name, number]) => [number, name]));
	const sent = [], hosts = new Set();
	for (const { type, params } of events) {
		if (['SSL_SOCKET_BYTES_SENT', 'SOCKET_BYTES_SENT'].includes(types[type]) && params.bytes)
			sent.push(Buffer.from(params.bytes, 'base64'));
		if (types[type] === 'TCP_CONNECT_ATTEMPT' && params?.address)
			hosts.add(params.address.replace(/:\d+$/, ''));
	}
	return { sent: Buffer.concat(sent), hosts: [...hosts] };
};

/* What came to the recorder and to the fixture. */
const recorded = () => Buffer.concat([
	...recorder.requests.flatMap(({ url, headers, body }) => [Buffer.from(url), Buffer.from(JSON.stringify(headers)), body]), ...fixture.received,
]);

/* Of all the tests together: no secret left, and nothing went anywhere but to the gateway. */
const checkSent = () => {
	const { sent, hosts } = engine === 'chromium' ? readNetLog() : { sent: recorded(), hosts: ['127.0.0.1', ...browser.elsewhere ?? []] };
	assert(sent.length > 1000 && sent.includes('signature='), 'the log holds what was posted');
	assert.deepEqual(hosts, ['127.0.0.1']);
	const pems = ['moces', 'moces2', 'moces3'].map(name => join(config.world, `${name}.key`)).concat(join(config.keyFiles, 'moces-4096.key'));
	const keys = pems.filter(existsSync).flatMap(secretNumbers);
	assert.deepEqual(leaks(sent, keyFiles, keys), []);
};

await fixture.start();
await recorder?.start();
await prepare();
const browser = await launch(`--log-net-log=${NET_LOG}`, '--net-log-capture-mode=Everything');
const { passed, failed } = await runTests(browser);
await browser.close();
fixture.stop();
recorder?.stop();
let clean = 1;
try {
	checkSent();
} catch (e) {
	clean = 0;
	console.log(`--- FAILED no octet of a key file, a key or a password left the browser in all these tests\n${e.stack}`);
}
leftOut.forEach(line => console.log(`left out: ${line}`));
console.log(`${passed + clean} passed, ${failed + 1 - clean} failed`);
process.exit(failed || !clean ? 1 : 0);
