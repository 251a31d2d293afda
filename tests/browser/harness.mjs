/*
 * What the browser tests stand on: Debian's Chromium and Firefox by playwright-core, its WebKitGTK by webkit.mjs, a record of
 * everything a page sends, axe, and pictures of the pages for a person to look at.
 *
 * A test is  test('a sentence that is true', async t => ...);  t.open() gives a page of a browser profile of its own.
 * What every page must keep to is checked when a test ends, without being asked: no report of the content security policy,
 * no error on the console, no request to another host.
 */
import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { launchWebkit, Unable } from './webkit.mjs';
import { Recorder } from './recorder.mjs';

export { assert };
export const config = JSON.parse(process.env.SOSIGW_BROWSER);	/* written by run */
export const { engine } = config;
/* Chromium talks to the gateway itself, and logs what it sends. */
export const recorder = engine === 'chromium' ? null : new Recorder(config.world, config.https);
const require = createRequire(join(config.modules, 'x.js'));
const { chromium, firefox } = require('playwright-core');
const axeSource = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

/* Of these, Chromium alone has no AES-192. */
export const keyFiles = JSON.parse(readFileSync(join(config.keyFiles, 'index.json'), 'utf8'))
	.map(row => row.name === 'AES-192' && engine !== 'chromium' ? { ...row, refused: null } : row);
export const keyFile = name => {
	const found = keyFiles.find(row => row.name === name);
	assert(found, `no key file ${name}`);
	return found;
};

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

/* ---- tests */

const tests = [];
/* alone: nothing else may run beside it; main: of those that run in every browser, whichever one is asked for */
export const test = (name, run, { alone = false, main = false } = {}) => tests.push({ name, run, alone, main });

/* Watches a page: what it asks for, what it complains about. */
class Watch {
	constructor() {
		this.requests = [];
		this.reports = [];
		this.console = [];
	}

	complained(text) {
		/* in Firefox: axe's; all are among the reports, where it is told from the page's */
		if (engine !== 'firefox' || !/blocked an inline style/.test(text))
			this.console.push(text);
	}

	async follow(context) {
		if (engine === 'webkit') {
			context.on('console', line => /ERROR|WARN/.test(line) && this.console.push(line));
			return;
		}
		context.on('request', request => this.requests.push({
			url: request.url(), method: request.method(), headers: request.headers(), body: request.postDataBuffer() ?? Buffer.alloc(0),
		}));
		context.on('console', message => {
			if (['error', 'warning'].includes(message.type()))
				this.complained(message.text());
		});
		context.on('weberror', error => this.complained(String(error.error())));
		await context.exposeBinding('reportToTest', (source, text) => {
			this.reports.push(text);
		});
		await context.addInitScript(() => {
			document.addEventListener('securitypolicyviolation', e => {
				/* axe's styles: what a test has evaluated in the page is under its policy in Firefox. The page itself can evaluate nothing. */
				if (!/^style-src/.test(e.violatedDirective) || !/ > eval$/.test(decodeURI(e.sourceFile)))
					window.reportToTest(`${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber} ${e.sample}`);
			});
		});
	}
}

class Test {
	constructor(browser, name) {
		this.browser = browser;
		this.name = name;
		this.watches = [];
		this.contexts = [];
		this.allowed = [];	/* patterns of console messages that belong to the test */
		this.allowReports = /$^/;	/* violations of the policy that belong to it */
	}

	/* Leaves the test out in an engine that cannot show what it is about. */
	notIn(name, why) {
		if (engine === name)
			throw new Unable(why);
	}

	allow(pattern) {
		this.allowed.push(pattern);
	}

	/* A browser profile of its own, and its record in context.watch. */
	async profile(options = {}) {
		if (engine === 'firefox' && options.javaScriptEnabled === false)
			throw new Unable('its driver cannot turn JavaScript off');
		const context = await this.browser.newContext({ ignoreHTTPSErrors: true, viewport: DESKTOP, locale: 'da-DK', ...options });
		context.setDefaultTimeout?.(30000);
		context.watch = new Watch();
		await context.watch.follow(context);
		this.contexts.push(context);
		return context;
	}

	async open(url, options = {}) {
		const page = await (await this.profile(options)).newPage();
		await page.goto(url);
		return page;
	}

	check() {
		for (const { watch } of this.contexts) {
			assert.deepEqual(watch.reports.filter(text => !this.allowReports.test(text)), [], 'the policy was violated');
			assert.deepEqual(watch.console.filter(text => ![...this.allowed, this.allowReports].some(pattern => pattern.test(text))), [], 'errors on the console');
			for (const { url } of watch.requests)
				assert(['127.0.0.1', 'localhost', 'sosigw.test'].includes(new URL(url).hostname), `a request to ${url}`);
		}
	}

	async close() {
		await Promise.all(this.contexts.map(context => context.close()));
	}
}

/* tests that a browser's driver cannot do, and why */
export const leftOut = [];

const runOne = async (browser, { name, run }) => {
	const t = new Test(browser, name);
	const began = performance.now();
	try {
		await run(t);
		t.check();
		return true;
	} catch (e) {
		if (e instanceof Unable) {
			leftOut.push(`${name}: ${e.message}`);
			return undefined;
		}
		console.log(`--- FAILED ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)\n${e.stack.replace(/^/gm, '    ')}`);
		return false;
	} finally {
		await t.close();
		if (config.verbose)
			console.log(`${((performance.now() - began) / 1000).toFixed(1)} s  ${name}`);
	}
};

/* The arguments that the tests need of a browser; the host name is there for a page that is not in a secure context. */
const engines = {
	chromium: more => chromium.launch({ executablePath: config.program, args: ['--host-resolver-rules=MAP sosigw.test 127.0.0.1', ...more] }),
	/* Debian's own, by WebDriver BiDi: playwright's usual firefox is one that it has changed */
	firefox: () => firefox.launch({ channel: 'moz-firefox', executablePath: config.program, firefoxUserPrefs: { 'network.dns.localDomains': 'sosigw.test' } }),
	webkit: () => launchWebkit(config.program, recorder),
};
export const launch = (...more) => engines[engine](more);

/* Runs those whose name holds one of the words, `lanes` at a time; whether all is well. */
export const runTests = async (browser, lanes = 2) => {
	const chosen = tests.filter(({ name, main }) => (main || !config.main) && (config.only.length === 0 || config.only.some(word => name.includes(word))));
	const good = [];
	const queue = chosen.filter(({ alone }) => !alone);
	const lane = async () => {
		for (let next = queue.shift(); next; next = queue.shift())
			good.push(await runOne(browser, next));
	};
	await Promise.all(Array.from({ length: lanes }, lane));
	queue.push(...chosen.filter(({ alone }) => alone));
	await lane();
	return { passed: good.filter(one => one === true).length, failed: good.filter(one => one === false).length };
};

/* ---- looking at a page */

/* Violations of WCAG 2.0 to 2.2, A and AA, and of axe's best practice. */
export const axe = async page => {
	const seen = await page.evaluate(`${axeSource}; axe.run(document, { resultTypes: ['violations'] })`);
	return seen.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(node => `${node.html} ${node.any.map(c => c.message)}`).join(' | ')}`);
};

export const assertAccessible = async (page, what) => {
	if (engine === 'webkit')
		return;		/* the other two have judged the same page */
	for (const colorScheme of ['light', 'dark']) {
		await page.emulateMedia({ colorScheme });
		assert.deepEqual(await axe(page), [], `${what}, ${colorScheme}`);
	}
	await page.emulateMedia({ colorScheme: 'light' });
};

/* build/browser/ENGINE/NAME-{desktop,phone}-{light,dark}.png; build/browser/webkit/NAME.png */
export const pictures = async (page, name) => {
	mkdirSync(config.pictures, { recursive: true });
	if (engine === 'webkit') {
		await page.screenshot({ path: join(config.pictures, `${name}.png`) });
		return;
	}
	for (const [size, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
		await page.setViewportSize(viewport);
		for (const colorScheme of ['light', 'dark']) {
			await page.emulateMedia({ colorScheme });
			await page.screenshot({ path: join(config.pictures, `${name}-${size}-${colorScheme}.png`), fullPage: true });
		}
	}
	await page.emulateMedia({ colorScheme: 'light' });
	await page.setViewportSize(DESKTOP);
};

/* ---- the signing page */

export const stateOf = page => page.evaluate(() => document.body.dataset.state);
export const inState = (page, ...states) =>
	page.waitForFunction(wanted => wanted.includes(document.body.dataset.state), states).then(() => stateOf(page));
export const problem = page => page.locator('#problem').innerText();
export const words = (page, key) => page.locator(`#texts [data-text="${key}"]`).evaluate(e => e.textContent);

/* Which text the visible problem is: its key in the page's texts. */
export const problemKey = async page => {
	await page.locator('#problem').waitFor({ state: 'visible' });
	return page.evaluate(() => {
		const shown = document.getElementById('problem').textContent;
		const like = text => new RegExp(`^${text.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{\w+\}/g, '.*')}$`);
		return [...document.querySelectorAll('#texts [data-text]')].find(e => like(e.textContent).test(shown))?.dataset.text ?? shown;
	});
};

export const choose = async (page, row) => {
	await page.setInputFiles('#keyfile', row.file);
	await page.fill('#password', row.password);
};

/* ---- judges that are not ours */

/* The posted signature in its place at the end of the card, as xmlsec1 sees it. */
export const verifyCard = (file, ...trusted) =>
	execFileSync('xmlsec1', ['--verify', '--enabled-key-data', 'x509', ...trusted.flatMap(pem => ['--trusted-pem', pem]),
		...['oces2-ca', 'oces3-ca'].flatMap(name => ['--untrusted-pem', join(config.world, `${name}.pem`)]),
		'--id-attr:id', 'urn:oasis:names:tc:SAML:2.0:assertion:Assertion', file], { stdio: 'pipe' });

/* ---- what must not be sent */

/* The forms in which octets could stand in a message; base64 at each of its three alignments. */
const disguises = octets => {
	const raw = Buffer.from(octets);
	const base64 = [0, 1, 2].map(shift => Buffer.concat([Buffer.alloc(shift), raw]).toString('base64').slice(shift ? 4 : 0).replace(/=+$/, '').slice(0, -2));
	return [raw.toString('latin1'), raw.toString('hex'), raw.toString('hex').toUpperCase(), ...base64, ...base64.map(encodeURIComponent),
		...base64.map(b => b.replaceAll('+', '-').replaceAll('/', '_'))];
};

const percent = text => [...Buffer.from(text)].map(octet => `%${octet.toString(16).padStart(2, '0')}`).join('');

const START = 8;	/* no disguise is shorter */

/* What must not be found: form -> what it is, by its first characters. Files and keys are looked for in pieces of 18
 * octets, a multiple of base64's three. */
class Secrets {
	constructor() {
		this.byStart = new Map();
	}

	add(what, form) {
		const start = form.slice(0, START);
		assert.equal(start.length, START, what);
		if (!this.byStart.has(start))
			this.byStart.set(start, new Map());
		this.byStart.get(start).set(form, what);
	}

	addPieces(what, octets) {
		for (let at = 0; at + 18 <= octets.length; at += 18)
			disguises(octets.subarray(at, at + 18)).forEach(form => this.add(`${what} at ${at}`, form));
	}

	addPassword(password) {
		const utf16 = Buffer.from(password, 'utf16le');
		for (const octets of [Buffer.from(password), Buffer.from(password, 'latin1'), utf16, Buffer.from(utf16).swap16()])
			disguises(octets).forEach(form => this.add('password', form));
		const encoded = encodeURIComponent(password);
		for (const form of [encoded, encoded.replaceAll('%20', '+'), percent(password), percent(password).toUpperCase(), escape(password)])
			this.add('password', form);
	}

	foundIn(sent) {
		const text = sent.toString('latin1');
		const found = new Set();
		for (let at = 0; at + START <= text.length; at++) {
			for (const [form, what] of this.byStart.get(text.slice(at, at + START)) ?? []) {
				if (text.startsWith(form, at))
					found.add(`${what} as ${form}`);
			}
		}
		return [...found];
	}
}

/* Parts of key files, of the private keys in them, and passwords, that stand in what was sent in any disguise. A file in which
 * its certificate can be read is not looked for, as that is posted with the signature; nor what is no key file. */
export const leaks = (sent, rows, keys = []) => {
	const secrets = new Secrets();
	for (const { name, file, password, readable, refused } of rows) {
		if (!readable && !['not-a-key-file', 'file-too-big'].includes(refused))
			secrets.addPieces(`key file ${name}`, readFileSync(file));
		if (password.length >= START)
			secrets.addPassword(password);
	}
	keys.forEach(key => secrets.addPieces('private key', key));
	return secrets.foundIn(sent);
};

/* The secret numbers of an RSA key file in PEM: d, p, q and the rest. */
export const secretNumbers = pem => {
	const { createPrivateKey } = require('node:crypto');
	const jwk = createPrivateKey(readFileSync(pem)).export({ format: 'jwk' });
	return ['d', 'p', 'q', 'dp', 'dq', 'qi'].map(name => Buffer.from(jwk[name], 'base64url'));
};
