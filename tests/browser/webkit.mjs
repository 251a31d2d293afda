/*
 * Debian's WebKitGTK, the engine of Safari, by its own WebKitWebDriver: what the tests say in playwright's words, said in those
 * of W3C WebDriver. Here is only what the tests use. What the driver cannot do throws Unable, and the test is left out.
 *
 * Each profile is a driver and a browser of its own, on one display that Xvfb makes. What is not on 127.0.0.1 goes through a
 * proxy: it knows where sosigw.test is, and which hosts else a page has asked for.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer as createProxy, request as forward } from 'node:http';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export class Unable extends Error {}
const unable = what => () => {
	throw new Unable(what);
};

const MOST_MS = 30000;
const START_MS = 15000;	/* a driver and its browser find each other in two seconds, or now and then never */
const STARTS = 4;

/* The first value that is not undefined. */
const until = async (what, ask) => {
	for (const end = performance.now() + MOST_MS; performance.now() < end; await sleep(30)) {
		const value = await ask();
		if (value !== undefined)
			return value;
	}
	throw new Error(`${MOST_MS} ms and still not ${what}`);
};

const freePort = () => new Promise(done => {
	const server = createServer().listen(0, '127.0.0.1', () => {
		const { port } = server.address();
		server.close(() => done(port));
	});
});

const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';
const KEYS = { Tab: '\ue004', Enter: '\ue007', ArrowDown: '\ue015' };

/* What runs in the page. A locator is { css, which, text, pattern, exact, visible }: of those, the ones that hold a text, are named so, are seen. */
const IN_PAGE = `
	const seen = e => Boolean(e) && e.getClientRects().length > 0 && getComputedStyle(e).visibility === 'visible';
	const found = ({ css, which, text, pattern, exact, visible }) => {
		const all = [...document.querySelectorAll(css)].filter(e => {
			const name = (e.innerText ?? e.textContent).trim();
			return (!text || name.includes(text)) && (!pattern || (exact ? name === pattern : name.includes(pattern))) && (!visible || seen(e));
		});
		return which === undefined ? all : all.slice(which, which + 1);
	};
`;

class Locator {
	constructor(page, css, { which, hasText, name, exact, visible } = {}) {
		this.page = page;
		this.spec = { css, which, text: hasText, pattern: name, exact, visible };
	}

	nth(which) {
		return new Locator(this.page, this.spec.css, { ...this.spec, hasText: this.spec.text, name: this.spec.pattern, which });
	}

	/* of those found, the ones that are seen */
	locator(selector) {
		if (selector !== 'visible=true')
			throw new Unable(`no locator ${selector}`);
		return new Locator(this.page, this.spec.css, { ...this.spec, hasText: this.spec.text, name: this.spec.pattern, visible: true });
	}

	first() {
		return this.nth(0);
	}

	ask(expression, ...more) {
		return this.page.run(`${IN_PAGE} const all = found(args[0]); return (${expression});`, this.spec, ...more);
	}

	async there(expression = 'true', ...more) {
		return until(`there: ${JSON.stringify(this.spec)}`, async () => (await this.ask(`all.length ? { value: ${expression} } : undefined`, ...more)))
			.then(({ value }) => value);
	}

	count() {
		return this.ask('all.length');
	}

	isVisible() {
		return this.ask('seen(all[0])');
	}

	isDisabled() {
		return this.there('all[0].disabled');
	}

	innerText() {
		return this.there('all[0].innerText');
	}

	allInnerTexts() {
		return this.ask('all.map(e => e.innerText)');
	}

	getAttribute(name) {
		return this.there('all[0].getAttribute(args[1])', name);
	}

	evaluate(f) {
		return this.there(`(${f})(all[0])`);
	}

	evaluateAll(f) {
		return this.ask(`(${f})(all)`);
	}

	waitFor({ state = 'visible' } = {}) {
		return until(`${state}: ${JSON.stringify(this.spec)}`, async () => await this.ask('all.some(seen)') === (state === 'visible') || undefined);
	}

	/* Its name in the driver, once it is there. */
	async element() {
		await this.there();
		return (await this.ask('all[0]'))[ELEMENT];
	}

	async send(command, values) {
		return this.page.command('POST', `/element/${await this.element()}/${command}`, values);
	}

	async click() {
		await until(`enabled: ${JSON.stringify(this.spec)}`, async () => await this.ask('seen(all[0]) && !all[0].disabled') || undefined);
		await this.ask(`all[0].scrollIntoView({ block: 'center', behavior: 'instant' })`);	/* not below what stays in sight */
		await this.send('click', {});
	}
}

const ROLES = { link: 'a[href]', button: 'button', heading: 'h1, h2, h3, h4' };

class Page {
	constructor(context, window) {
		this.profile = context;
		this.window = window;
		this.keyboard = {
			press: key => KEYS[key] ? this.keys([KEYS[key]]) : unable(`no key ${key}`)(),
			type: text => this.keys([...text]),
		};
		this.clock = { install: unable('no clock') };
		this.route = unable('no requests changed on their way');
		this.frames = unable('no frames');
	}

	context() {
		return this.profile;
	}

	command(method, path, body) {
		return this.profile.command(method, path, body, this.window);
	}

	async run(script, ...args) {
		const { value, thrown } = await this.command('POST', '/execute/async', {
			script: `const [args, done] = arguments; (async () => { ${script} })().then(value => done({ value }), e => done({ thrown: String(e) }));`,
			args: [args],
		});
		if (thrown)
			throw new Error(thrown);
		return value ?? undefined;
	}

	evaluate(f, argument) {
		return this.run(typeof f === 'string' ? `return ${f};` : `return (${f})(args[0]);`, argument);
	}

	locator(css, options) {
		return new Locator(this, css, options);
	}

	getByRole(role, options) {
		return new Locator(this, ROLES[role], options);
	}

	goto(url) {
		return this.command('POST', '/url', { url });
	}

	goBack() {
		return this.command('POST', '/back', {});
	}

	reload() {
		return this.command('POST', '/refresh', {});
	}

	waitForTimeout(ms) {
		return sleep(ms);
	}

	waitForFunction(f, argument) {
		/* a page that is on its way out cannot answer */
		return until(`so: ${f}`, () => this.evaluate(f, argument).then(value => value || undefined, () => undefined));
	}

	waitForURL(pattern) {
		return until(`at ${pattern}`, async () => pattern.test(await this.command('GET', '/url')) || undefined)
			.then(() => this.waitForFunction(() => document.readyState === 'complete'));
	}

	async waitForNavigation() {
		const before = await this.evaluate(() => performance.timeOrigin);
		await this.waitForFunction(then => performance.timeOrigin !== then && document.readyState === 'complete', before);
	}

	/* As the recorder has it: of tests that run alone. */
	waitForRequest(pattern) {
		const { requests } = this.profile.recorder;
		const from = requests.length;
		return until(`asked for ${pattern}`, () => {
			const request = requests.slice(from).find(({ url }) => pattern.test(url));
			return request && { allHeaders: () => request.headers };
		});
	}

	click(css) {
		return this.locator(css).click();
	}

	async fill(css, text) {
		const field = this.locator(css);
		await field.send('clear', {});
		if (text)
			await field.send('value', { text });
	}

	async setInputFiles(css, file) {
		if (Array.isArray(file))
			throw new Unable('no file taken back');
		await this.locator(css).send('value', { text: file });
	}

	focus(css) {
		return this.locator(css).evaluate('e => e.focus()');
	}

	inputValue(css) {
		return this.locator(css).evaluate('e => e.value');
	}

	isChecked(css) {
		return this.locator(css).evaluate('e => e.checked');
	}

	async check(css) {
		if (!await this.isChecked(css))
			await this.click(css);
	}

	keys(list) {
		return this.command('POST', '/actions', {
			actions: [{ type: 'key', id: 'keyboard', actions: list.flatMap(value => [{ type: 'keyDown', value }, { type: 'keyUp', value }]) }],
		});
	}

	setViewportSize({ width, height }) {
		return this.command('POST', '/window/rect', { width, height });
	}

	async screenshot({ path }) {
		await this.evaluate(() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(() => drawn()))));
		writeFileSync(path, Buffer.from(await this.command('GET', '/screenshot'), 'base64'));
	}
}

class Profile {
	constructor(browser, driver, port) {
		Object.assign(this, { recorder: browser.recorder, driver, port, queue: Promise.resolve(), pages: 0, heard: { console: () => {} } });
		this.addInitScript = this.route = this.setOffline = unable('no script before the page\'s own, no requests changed');
		let rest = '';
		driver.stdout.on('data', text => {
			const lines = (rest + text).split('\n');
			rest = lines.pop();
			lines.filter(line => line.startsWith('CONSOLE')).forEach(line => this.heard.console(line));
		});
	}

	async start(proxy) {
		await until('listening', () => this.send('GET', '/status').then(() => true, () => undefined));
		const args = ['--automation', '--enable-write-console-messages-to-stdout=true'];
		const { sessionId } = await this.send('POST', '/session', {
			capabilities: { alwaysMatch: { 'acceptInsecureCerts': true, proxy, 'webkitgtk:browserOptions': { args } } },
		}, START_MS);
		this.session = `/session/${sessionId}`;
		await this.send('POST', `${this.session}/timeouts`, { script: MOST_MS, pageLoad: MOST_MS });
		this.window = await this.send('GET', `${this.session}/window`);
	}

	async send(method, path, body, most = 2 * MOST_MS) {
		const answer = await fetch(`http://127.0.0.1:${this.port}${path}`, {
			method, body: body && JSON.stringify(body), signal: AbortSignal.timeout(most),
		});
		const { value } = await answer.json();
		if (!answer.ok)
			throw new Error(`${path}: ${value.error}: ${value.message}`);
		return value;
	}

	/* In a window; one after another. */
	command(method, path, body, window) {
		const result = this.queue.then(async () => {
			if (window !== this.window) {
				await this.send('POST', `${this.session}/window`, { handle: window });
				this.window = window;
			}
			return this.send(method, this.session + path, body);
		});
		this.queue = result.catch(() => {});
		return result;
	}

	on(what, hear) {
		this.heard[what] = hear;
	}

	async newPage() {
		if (this.pages++ === 0)
			return new Page(this, this.window);
		const { handle } = await this.send('POST', `${this.session}/window/new`, { type: 'tab' });
		return new Page(this, handle);
	}

	cookies() {
		return this.command('GET', '/cookie', undefined, this.window);
	}

	async close() {
		await this.queue;
		await this.send('DELETE', this.session).catch(() => {});
		this.driver.kill();
	}
}

class Browser {
	constructor(program, recorder) {
		Object.assign(this, { program, recorder, elsewhere: [] });
	}

	async startProxy() {
		this.server = createProxy((request, response) => {
			const { hostname, port } = new URL(request.url);
			if (hostname !== 'sosigw.test') {
				this.elsewhere.push(request.url);
				response.writeHead(502).end();
				return;
			}
			const { method, rawHeaders: headers } = request;
			request.pipe(forward({ hostname: '127.0.0.1', port, method, path: request.url.replace(/^http:\/\/[^/]*/, ''), headers }, answer => {
				response.writeHead(answer.statusCode, answer.rawHeaders);
				answer.pipe(response);
			}));
		});
		this.server.on('connect', ({ url }, socket) => {
			this.elsewhere.push(url);
			socket.destroy();
		});
		await new Promise(done => this.server.listen(0, '127.0.0.1', done));
		const address = `127.0.0.1:${this.server.address().port}`;
		this.proxy = { proxyType: 'manual', httpProxy: address, sslProxy: address, noProxy: ['127.0.0.1'] };
	}

	async start() {
		await this.startProxy();
		this.display = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1400x1000x24', '-nolisten', 'tcp'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
		const [number] = await new Promise((done, fail) => {
			this.display.stdio[3].once('data', text => done(String(text).trim().split('\n')));
			this.display.once('error', fail).once('exit', () => fail(new Error('Xvfb has ended')));
		});
		this.environment = { ...process.env, DISPLAY: `:${number}`, NO_AT_BRIDGE: '1' };
		return this;
	}

	async newContext({ javaScriptEnabled = true, locale } = {}) {
		if (!javaScriptEnabled)
			throw new Unable('nothing can be asked of a page without JavaScript');
		if (locale !== 'da-DK')
			throw new Unable('its language cannot be set');
		for (let tries = 1; ; tries++) {
			const port = await freePort();
			const driver = spawn(this.program, [`--port=${port}`], { env: this.environment, stdio: ['ignore', 'pipe', 'ignore'] });
			const profile = new Profile(this, driver, port);
			try {
				await profile.start(this.proxy);
				return profile;
			} catch (e) {
				driver.kill('SIGKILL');
				if (tries === STARTS)
					throw e;
			}
		}
	}

	async close() {
		this.display.kill();
		this.server.closeAllConnections();
		this.server.close();
	}
}

export const launchWebkit = (program, recorder) => new Browser(program, recorder).start();
