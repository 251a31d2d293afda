/*
 * What signing costs in the browser, printed by `make bench`: the page to usable beside a page without script of the same
 * gateway; a key file from the press of the button to the signed answer beside `openssl pkcs12` on the same file; the
 * script's size. Rounds are interleaved; the figures are medians with their range.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { choose, config, inState, keyFile, launch } from './harness.mjs';
import { Fixture } from './fixture.mjs';

const ROUNDS = 9;
const FILES = ['OpenSSL 3', 'Windows export, TripleDES-SHA1', 'Java keytool', 'NSS/Firefox, BER with indefinite lengths', 'NSS/Firefox, 3DES'];

const spread = values => {
	const sorted = [...values].sort((a, b) => a - b);
	const show = value => value < 10 ? value.toFixed(2) : value.toFixed(0);
	return `${show(sorted[sorted.length >> 1])} (${show(sorted[0])}-${show(sorted.at(-1))})`;
};

const ratio = (ours, theirs) => spread(ours.map((value, i) => value / theirs[i]));

const order = async () => (await (await fetch(`${config.gateway}/order`, { method: 'POST', body: '{}' })).json()).url;

/* Milliseconds from the start of the navigation until the state is reached, in a browser profile without a cache. */
const usable = async (browser, url, ready) => {
	const context = await browser.newContext({ ignoreHTTPSErrors: true });
	await context.addInitScript(() => {
		new MutationObserver(() => {
			if (document.body?.dataset.state === 'ready')
				window.ready ??= performance.now();
		}).observe(document, { attributes: true, attributeFilter: ['data-state'], subtree: true });
	});
	const page = await context.newPage();
	await page.goto(url);
	const ms = await (await page.waitForFunction(ready)).jsonValue();
	await context.close();
	return ms;
};

/* From the press of the button until the answer is in the form. */
const opened = async (browser, fixture, row) => {
	const context = await browser.newContext();
	await context.addInitScript(() => {
		HTMLFormElement.prototype.submit = () => {
			window.taken = performance.now() - window.began;
		};
	});
	const page = await context.newPage();
	await page.goto(fixture.add());
	await inState(page, 'ready');
	await choose(page, row);
	await page.evaluate(() => {
		window.began = performance.now();
		document.getElementById('sign-button').click();
	});
	const ms = await (await page.waitForFunction(() => window.taken)).jsonValue();
	await context.close();
	return ms;
};

const byOpenssl = ({ file, password }) => {
	const began = performance.now();
	execFileSync('openssl', ['pkcs12', '-legacy', '-in', file, '-passin', `pass:${password}`, '-nodes', '-out', '/dev/null']);
	return performance.now() - began;
};

const fixture = new Fixture();
await fixture.start();
const browser = await launch();
const size = readFileSync(join(config.top, 'htdocs', 'signer.js'));
console.log(`\nsigning page in Chromium, ${ROUNDS} interleaved rounds: median (range)`);
console.log(`  script                                            ${size.length} bytes, gzip ${gzipSync(size, { level: 9 }).length}, brotli ${brotliCompressSync(size).length}`);

const page = [], plain = [];
for (let i = 0; i < ROUNDS; i++) {
	const url = await order();
	page.push(await usable(browser, url, () => window.ready));
	plain.push(await usable(browser, new URL('/sosigw/service/sosigw', url).href, () => performance.getEntriesByType('navigation')[0].domComplete));
}
console.log(`  page to usable, nothing cached                    ${spread(page)} ms; a page without script ${spread(plain)} ms; ratio ${ratio(page, plain)}`);

for (const name of FILES) {
	const row = keyFile(name);
	const ours = [], theirs = [];
	for (let i = 0; i < (name.includes('3DES') && name.includes('NSS') ? 3 : ROUNDS); i++) {
		ours.push(await opened(browser, fixture, row));
		theirs.push(byOpenssl(row));
	}
	console.log(`  open and sign: ${name.padEnd(42).slice(0, 42)} ${spread(ours)} ms; openssl opens it in ${spread(theirs)} ms; ratio ${ratio(ours, theirs)}`);
}
await browser.close();
fixture.stop();
