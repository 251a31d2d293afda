/* The whole way through the sandbox: a program orders a card and waits, the user signs in the browser, the program has the card. */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import {
	assert, assertAccessible, choose, config, inState, keyFile, keyFiles, leaks, PHONE, pictures, problemKey, recorder, secretNumbers, stateOf, test, verifyCard,
} from './harness.mjs';

/* One operation of gateway.py. */
const world = async (operation, values = {}) => {
	const answer = await (await fetch(`${config.gateway}/${operation}`, { method: 'POST', body: JSON.stringify(values) })).json();
	if (answer.error)
		throw new Error(answer.error);
	return answer;
};

const GOOD = keyFile('OpenSSL 3');
const AWAITING = 'sosigw_awaiting_signing';
const ROOTS = ['oces2-root.pem', 'oces3-root.pem'].map(name => join(config.world, name));
/* whose certificate it is */
const PEOPLE = { moces: 'lars', 'moces-4096': 'lars', moces2: 'stine', moces3: 'mette', 'moces moces2': 'lars' };
const keyOf = cert => join(cert === 'moces-4096' ? config.keyFiles : config.world, `${cert.split(' ')[0]}.key`);

/* What a reader can press or fill in, by its words or id. */
const offered = page => page.locator('a, button, input').locator('visible=true').evaluateAll(list =>
	list.filter(e => !e.closest('.skip')).map(e => e.textContent.trim() || e.id));
const title = page => page.locator('h1').innerText();
const refusal = page => page.locator('#refusal h2').innerText();
const press = page => page.click('#sign-button');
const SIGNED = /^Du er logget på til kl\. \d\d:\d\d/;

/* An order, and its page in a browser of its own. */
const ordered = async (t, { order = {}, profile = {} } = {}) => {
	const made = await world('order', order);
	const page = await t.open(made.url, profile);
	return { ...made, page };
};

const ready = async (t, options) => {
	const made = await ordered(t, options);
	await inState(made.page, 'ready');
	return made;
};

const signWith = async (page, row) => {
	await choose(page, row);
	await Promise.all([page.waitForNavigation(), press(page)]);
};

const isSigned = async ({ page, user }) => {
	assert.match(await title(page), SIGNED);
	const { card } = await world('get_card', { user });
	assert.equal(card['sosi:AuthenticationLevel'], '4');
};

const isAwaited = async ({ user }) => assert.deepEqual(await world('get_card', { user }), { fault: AWAITING });

/* What a page's browser has sent to the gateway; by its cookie, where the recorder has it. */
const requestsOf = async page => {
	if (!recorder)
		return page.context().watch.requests;
	const { name, value } = (await page.context().cookies()).find(cookie => cookie.name === '__Host-sosigw-sign');
	return recorder.requests.filter(({ headers }) => headers.cookie?.includes(`${name}=${value}`));
};

/* The answer that a page posted, as form fields. */
const postedBy = async page => {
	const sent = (await requestsOf(page)).filter(({ url, method }) => method === 'POST' && url.endsWith('/sosigw/sign/answer'));
	assert.equal(sent.length, 1, 'one answer is posted');
	return new URLSearchParams(sent[0].body.toString());
};

const everythingSent = async page => Buffer.concat((await requestsOf(page)).flatMap(({ url, headers, body }) => [Buffer.from(url), Buffer.from(JSON.stringify(headers)), body]));

let files = 0;
/* xmlsec1 on what was posted, in its place in the card that the page was about. */
const judgePosted = async (page, octets) => {
	const fields = await postedBy(page);
	assert.deepEqual([...fields.keys()].filter(name => name !== 'lang'), ['token', 'signature']);
	const signature = Buffer.from(fields.get('signature'), 'base64').toString();
	const file = join(config.scratch, `posted-${++files}.xml`);
	writeFileSync(file, octets.replace(/<\/saml:Assertion>$/, () => `${signature}</saml:Assertion>`));
	verifyCard(file, ...ROOTS);
};
const cardOctets = page => page.locator('#sign').evaluate(form => new TextDecoder().decode(Uint8Array.from(atob(form.dataset.card), c => c.charCodeAt(0))));

/* ---- every form of key file, all the way */

/* Old, BER, letters that are not ASCII, and none at all: where engines could differ. */
const MAIN_FILES = ['OpenSSL 3 -legacy: RC2-40 and 3DES', 'NSS/Firefox, BER with indefinite lengths', 'Danish password, OpenSSL 3', 'no password'];

for (const row of keyFiles.filter(({ refused, cert }) => !refused && PEOPLE[cert])) {
	if (row.name === 'another person')
		continue;
	test(`signed in with: ${row.name}`, async t => {
		const made = await ready(t, { order: { like: PEOPLE[row.cert] } });
		await isAwaited(made);
		const octets = await cardOctets(made.page);
		await choose(made.page, row);
		await press(made.page);
		if (row.cert.includes(' ')) {
			await inState(made.page, 'choose');
			await press(made.page);
		}
		await made.page.waitForURL(/\/answer$/);
		await isSigned(made);
		await judgePosted(made.page, octets);
		assert.deepEqual(leaks(await everythingSent(made.page), [row], secretNumbers(keyOf(row.cert))), []);
	}, { main: MAIN_FILES.includes(row.name) });
}

/* ---- keys that the page opens and the server refuses */

for (const [name, said] of [['revoked certificate', /spærret/], ['foreign certificate', /ukendt udsteder/], ['another person', /tilhører en anden|STS har afvist/],
	['an organisation', /forkert slags/]]) {
	test(`refused by the gateway, and then the right file signs: ${name}`, async t => {
		const made = await ready(t);
		t.allow(/status of 4\d\d|status of 5\d\d/);
		await signWith(made.page, keyFile(name));
		await inState(made.page, 'ready');
		assert.match(await refusal(made.page), said);
		await isAwaited(made);
		if (name === 'revoked certificate')
			await assertAccessible(made.page, name);
		await signWith(made.page, GOOD);
		await isSigned(made);
	});
}

/* ---- what is shown, what is signed */

test('the page shows the person, and the card says the same', async t => {
	const made = await ready(t);
	const shown = Object.fromEntries(await made.page.locator('#card dd').evaluateAll(list => list.map(dd => [dd.dataset.field, dd.textContent])));
	assert.deepEqual({ ...shown, 'valid-from': '', 'valid-to': '' }, {
		'name': 'Lars Ærø Larsen', 'cpr': '050179-****', 'role': 'Læge', 'occupation': 'Overlæge', 'authorisation': 'J0184', 'email': 'lars@example.dk', 'organisation': 'TRIFORK A/S, CVR 20921897',
		'system': 'Sygdom.dk', 'level': '4 (dit medarbejdercertifikat)', 'valid-from': '', 'valid-to': '',
	});
	const octets = Buffer.from(await made.page.locator('#sign').getAttribute('data-card'), 'base64').toString();
	const danish = { dateStyle: 'long', timeStyle: 'short', timeZone: 'Europe/Copenhagen' };
	assert.equal(shown['valid-to'], new Date(/NotOnOrAfter="([^"]+)"/.exec(octets)[1]).toLocaleString('da', danish));
	await signWith(made.page, GOOD);
	const { card } = await world('get_card', { user: made.user });
	assert.equal(card['medcom:UserRole'], '7170');
	assert.equal(card['medcom:UserGivenName'], 'Lars Ærø');
}, { main: true });

test('markup in every field of an order is text on the page', async t => {
	const markup = '</dd><script>alert(1)</script><img src=x onerror=alert(2)>"\'&lt;{n}';
	const made = await ready(t, { order: { given: markup, sur: markup, role: markup, occupation: markup, system: markup, care_name: markup, code: 'A<b>1' } });
	for (const field of ['role', 'occupation', 'system'])
		assert.equal(await made.page.locator(`[data-field="${field}"]`).evaluate(e => e.textContent), markup, field);
	assert.equal(await made.page.locator('[data-field="name"]').evaluate(e => e.textContent), `${markup} ${markup}`);
	assert.equal(await made.page.locator('main script, main img').count(), 0);
	await assertAccessible(made.page, 'markup');
});

test('a SignedInfo that was altered on its way blocks the page', async t => {
	const { url } = await world('order');
	const context = await t.profile();
	await context.route(/\/sign\/start/, async route => {
		const answer = await route.fetch();
		const body = (await answer.text()).replace(/data-signed-info="([^"]*)"/, (whole, base64) => {
			const info = Buffer.from(base64, 'base64').toString().replace('URI="#IDCard"', 'URI="#Evil00"');
			return `data-signed-info="${Buffer.from(info).toString('base64')}"`;
		});
		await route.fulfill({ response: answer, body });
	});
	const page = await context.newPage();
	await page.goto(url);
	await inState(page, 'blocked');
	assert.equal(await problemKey(page), 'mismatch');
	assert.deepEqual(await offered(page), ['English', 'Annullér']);
	await assertAccessible(page, 'blocked');
	await pictures(page, 'blocked');
});

/* Lets a page sign, but another value is posted in one of its form's fields. */
const postInstead = async (page, name, value) => {
	await page.evaluate(field => document.getElementById('sign').addEventListener('formdata', e => e.formData.set(...field)), [name, value]);
	await signWith(page, GOOD);
};

test('a signature over something else is refused, and the page can be used again', async t => {
	const [made, other] = [await ready(t), await ready(t)];
	t.allow(/status of 422/);
	await signWith(other.page, GOOD);
	await isSigned(other);
	await postInstead(made.page, 'signature', (await postedBy(other.page)).get('signature'));
	await inState(made.page, 'ready');
	assert.match(await refusal(made.page), /Signaturen passer ikke/);
	await isAwaited(made);
	await signWith(made.page, GOOD);
	await isSigned(made);
});

test('somebody else\'s token is refused', async t => {
	const [made, other] = [await ready(t), await ready(t)];
	t.allow(/status of 403/);
	const token = await other.page.inputValue('[name="token"]');
	await postInstead(made.page, 'token', token);
	assert.match(await title(made.page), /anden browser/);
	await isAwaited(made);
	await isAwaited(other);
	await signWith(other.page, GOOD);
	await isSigned(other);
});

test('an answer of ten megabytes is refused', async t => {
	const made = await ready(t);
	t.allow(/status of 413|ERR_CONNECTION/);
	await made.page.evaluate(() => {
		const form = document.getElementById('sign');
		form.elements.signature.value = 'A'.repeat(10 << 20);
		form.submit();
	});
	await made.page.waitForURL(/\/answer$|chrome-error/);
	assert.doesNotMatch(await made.page.locator('body').innerText(), SIGNED);
	await isAwaited(made);
});

test('an answer that is posted twice counts once', async t => {
	const made = await ready(t);
	t.allow(/status of 4\d\d/);
	await signWith(made.page, GOOD);
	await isSigned(made);
	const fields = await postedBy(made.page);
	await made.page.evaluate(pairs => {
		const form = Object.assign(document.createElement('form'), { method: 'post', action: '/sosigw/sign/answer' });
		for (const [name, value] of pairs)
			form.append(Object.assign(document.createElement('input'), { type: 'hidden', name, value }));
		document.body.append(form);
		form.submit();
	}, [...fields]);
	await made.page.waitForFunction(() => /allerede/.test(document.querySelector('h1')?.innerText));
	await assertAccessible(made.page, 'posted twice');
});

/* ---- links, tabs, browsers */

test('back after signing shows that it is done', async t => {
	const made = await ready(t);
	await signWith(made.page, GOOD);
	await isSigned(made);
	t.allow(/status of 4\d\d/);
	await made.page.goBack();
	await made.page.waitForFunction(() => /allerede/.test(document.querySelector('h1')?.innerText));
	assert.equal(await made.page.locator('#sign').count(), 0);
	await assertAccessible(made.page, 'back');
	await pictures(made.page, 'signed-already');
});

test('a page that was refused has the focus on why, and is come back to without sending a form again', async t => {
	const made = await ready(t);
	t.allow(/status of 4\d\d/);
	await signWith(made.page, keyFile('revoked certificate'));
	await inState(made.page, 'ready');
	assert.equal(await made.page.evaluate(() => document.activeElement.id), 'refusal');
	await made.page.reload();
	await inState(made.page, 'ready');
	assert.equal(await made.page.locator('#refusal').count(), 0);
	await signWith(made.page, keyFile('revoked certificate'));
	await inState(made.page, 'ready');
	await signWith(made.page, GOOD);
	await isSigned(made);
	await made.page.goBack();
	await made.page.waitForFunction(() => /allerede/.test(document.querySelector('h1')?.innerText));
});

test('of two tabs one signs, and the other says so', async t => {
	const made = await ready(t);
	const second = await made.page.context().newPage();
	await second.goto(made.url);
	await inState(second, 'ready');
	await signWith(made.page, GOOD);
	await isSigned(made);
	t.allow(/status of 4\d\d/);
	await choose(second, GOOD);
	await Promise.all([second.waitForNavigation(), press(second)]);
	assert.match(await title(second), /allerede/);
});

test('a link that was opened does not open in another browser', async t => {
	const made = await ready(t);
	t.allow(/status of 410/);
	const other = await t.open(made.url);
	assert.match(await title(other), /allerede åbnet/);
	await assertAccessible(other, 'used link');
	await pictures(other, 'link-used');
	await signWith(made.page, GOOD);
	await isSigned(made);
});

test('a link that nobody made is told', async t => {
	t.allow(/status of 410/);
	const { url } = await world('order');
	const page = await t.open(url.replace(/id=.*/, `id=${'A'.repeat(43)}`));
	assert.match(await title(page), /kan ikke bruges/);
	await assertAccessible(page, 'unknown link');
	await pictures(page, 'link-unknown');
});

test('cancelled is said, and the program is told', async t => {
	const made = await ready(t);
	await Promise.all([made.page.waitForNavigation(), made.page.click('#cancel button')]);
	assert.match(await title(made.page), /annulleret/);
	await assertAccessible(made.page, 'cancelled');
	await pictures(made.page, 'cancelled');
	assert.notEqual((await world('get_card', { user: made.user })).fault, AWAITING);
}, { main: true });

test('the page changes its language and stays the same', async t => {
	const made = await ready(t);
	await made.page.getByRole('link', { name: 'English' }).click();
	await inState(made.page, 'ready');
	assert.equal(await title(made.page), 'Sign your ID card');
	assert.equal(await made.page.locator('[data-field="role"]').innerText(), 'Physician');
	await assertAccessible(made.page, 'in English');
	await pictures(made.page, 'ready-english');
	await signWith(made.page, GOOD);
	assert.match(await title(made.page), /^You are signed in until \d\d:\d\d/);
});

/* ---- other sites */

/* A page of another site with this body. */
const elsewhere = async body => {
	const server = createServer((request, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end(`<!DOCTYPE html><link rel="icon" href="data:,"><title>x</title>${body}`));
	await new Promise(done => server.listen(0, '127.0.0.1', done));
	return { url: `http://sosigw.test:${server.address().port}/`, stop: () => server.close() };
};

test('the page is not shown in a frame', async t => {
	t.notIn('webkit', 'its console does not tell of frame-ancestors');
	const { url } = await world('order');
	t.allow(/frame|cross-site context/i);
	t.allowReports = /frame-ancestors/;
	const site = await elsewhere(`<iframe src="${url}"></iframe>`);
	const page = await t.open(site.url);
	const { watch } = page.context();
	for (let i = 0; i < 100 && !watch.console.some(text => /frame-ancestors/.test(text)); i++)
		await page.waitForTimeout(100);
	assert(watch.console.some(text => /frame-ancestors/.test(text)), 'the browser says that the policy forbids it');
	assert.equal(await page.frames().at(-1).locator('#sign').count(), 0);
	site.stop();
});

test('another site cannot post an answer, even with the token', async t => {
	const made = await ready(t);
	const token = await made.page.inputValue('[name="token"]');
	t.allow(/status of 4\d\d/);
	const action = new URL('/sosigw/sign/cancel', made.url);
	const site = await elsewhere(`<form method="post" action="${action}"><input name="token" value="${token}"><button id="go">go</button></form>`);
	const page = await made.page.context().newPage();
	await page.goto(site.url);
	await Promise.all([page.waitForNavigation(), page.click('#go')]);
	assert.match(await title(page), /fremmed side/);
	await assertAccessible(page, 'from another site');
	site.stop();
	await isAwaited(made);
	await signWith(made.page, GOOD);
	await isSigned(made);
});

/* ---- browsers and people */

test('without JavaScript the page says what is wrong, and cancelling works', async t => {
	const { page } = await ordered(t, { profile: { javaScriptEnabled: false } });
	assert(await page.locator('noscript').isVisible());
	assert(await page.locator('#sign-button').isDisabled());
	assert(!await page.locator('#sign, #countdown, .stuck').locator('visible=true').count(), 'nothing asks for a key that could not be used');
	await pictures(page, 'no-javascript');
	await Promise.all([page.waitForNavigation(), page.click('#cancel button')]);
	assert.match(await title(page), /annulleret/);
});

test('a script that does not come is told, and its absence alone', async t => {
	const { url } = await world('order');
	t.allow(/ERR_FAILED|NS_ERROR|Loading failed/);
	const context = await t.profile();
	await context.route(/signer\.js/, route => route.abort());
	const page = await context.newPage();
	await page.goto(url);
	await page.locator('.stuck').waitFor({ state: 'visible' });
	assert.match(await page.locator('.stuck').innerText(), /^Siden er ikke blevet klar\./);
	await assertAccessible(page, 'without its script');
	await pictures(page, 'stuck');
	const { page: good } = await ready(t);
	assert.equal(await good.locator('.stuck').evaluate(e => getComputedStyle(e).display), 'none');
});

test('a page that did not come by TLS cannot sign and says so', async t => {
	const { url } = await world('order');
	t.allow(/Cross-Origin-Opener-Policy|Secure|invalid prefix/);
	const page = await t.open(`http://sosigw.test:${config.httpPort}${new URL(url).pathname}${new URL(url).search}`);
	await inState(page, 'blocked');
	assert.equal(await problemKey(page), 'insecure');
});

test('the keyboard alone signs', async t => {
	const made = await ready(t);
	const order = [];
	for (let i = 0; i < 8; i++) {
		await made.page.keyboard.press('Tab');
		order.push(await made.page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
	}
	assert.deepEqual(order, ['Til indholdet', 'English', 'extend', 'keyfile', 'password', 'remember', 'sign-button', 'Annullér']);
	await made.page.setInputFiles('#keyfile', GOOD.file);
	await made.page.focus('#password');
	await made.page.keyboard.type(GOOD.password);
	await Promise.all([made.page.waitForNavigation(), made.page.keyboard.press('Enter')]);
	await isSigned(made);
});

/* whether the middle of the element is seen where it is, and not something that lies over it */
const isInSight = locator => locator.evaluate(e => {
	const { x, y, width, height } = e.getBoundingClientRect();
	const seen = document.elementFromPoint(x + width / 2, y + height / 2);
	return seen !== null && (e.contains(seen) || seen.contains(e));
});

for (const [what, viewport] of [['on a phone', PHONE], ['at four times the size', { width: 320, height: 256 }]]) {
	test(`words without a space do not widen the page, and what has the focus is in sight, ${what}`, async t => {
		const long = 'Overlægekonsulent'.repeat(9);
		const { page } = await ready(t, { profile: { viewport }, order: { sur: long, role: long, occupation: long, system: long, care_name: long } });
		const wider = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
		assert.equal(await wider(), 0);
		await choose(page, keyFile('Java keytool, two people in one file'));
		await press(page);
		await inState(page, 'choose');
		assert.equal(await wider(), 0);
		await page.focus('.skip');
		for (let i = 0; i < 8; i++) {
			await page.keyboard.press('Tab');
			assert(await isInSight(page.locator(':focus')), await page.evaluate(() => document.activeElement.outerHTML));
			assert(viewport !== PHONE || i === 0 || await isInSight(page.locator('#countdown')), 'the time is in sight too');
		}
		await page.keyboard.press('End');
		await page.screenshot({ path: join(config.pictures, `end-${viewport.width}.png`) });
	});
}

test('more time is given', async t => {
	const made = await ready(t);
	await made.page.waitForTimeout(2000);
	await made.page.click('#extend');
	await made.page.locator('#status', { hasText: 'forlænget' }).waitFor();
	assert.match(await made.page.locator('#countdown').innerText(), /^(60|59) sekunder tilbage$/);
	await signWith(made.page, GOOD);
	await isSigned(made);
}, { main: true });

/* ---- every page as a person sees it */

test('the pages are accessible and can be looked at', async t => {
	const made = await ready(t);
	await assertAccessible(made.page, 'ready');
	await pictures(made.page, 'ready');
	await choose(made.page, { ...GOOD, password: 'x' });
	await press(made.page);
	assert.equal(await problemKey(made.page), 'wrong-password');
	await assertAccessible(made.page, 'wrong password');
	await pictures(made.page, 'wrong-password');
	await choose(made.page, keyFile('Java keytool, two people in one file'));
	await press(made.page);
	await inState(made.page, 'choose');
	await assertAccessible(made.page, 'choose');
	await pictures(made.page, 'choose');
	await made.page.check('#remember');
	await signWith(made.page, GOOD);
	await isSigned(made);
	await assertAccessible(made.page, 'signed');
	await pictures(made.page, 'signed');
	const again = await world('order');
	await made.page.goto(again.url);
	await made.page.locator('#remembered').waitFor({ state: 'visible' });
	await assertAccessible(made.page, 'remembered');
	await pictures(made.page, 'remembered');
	t.allow(/status of 422/);
	await signWith(made.page, keyFile('revoked certificate'));
	await inState(made.page, 'ready');
	await pictures(made.page, 'refused');
});

/* ---- with another configuration: these run by themselves */

const configured = (name, settings, run, main = false) => test(name, async t => {
	const before = await world('configure', settings);
	await new Promise(done => setTimeout(done, 500));
	try {
		await run(t);
	} finally {
		await world('configure', before);
		await new Promise(done => setTimeout(done, 500));
	}
}, { alone: true, main });

configured('when the time is over the page says so, and an answer that comes then is refused', { answer_url_seconds: 3 }, async t => {
	const made = await ready(t);
	t.allow(/status of 410/);
	await inState(made.page, 'late');
	assert.equal(await problemKey(made.page), 'time-out');
	assert.deepEqual(await offered(made.page), ['English', 'Annullér']);
	await assertAccessible(made.page, 'late');
	await pictures(made.page, 'late');
	await made.page.waitForTimeout(1500);
	await made.page.evaluate(() => document.getElementById('sign').submit());
	await made.page.waitForURL(/\/answer$/);
	assert.equal(await title(made.page), 'Tiden er udløbet');
	await assertAccessible(made.page, 'answer too late');
	await pictures(made.page, 'answer-late');
}, true);

configured('a link that is opened too late is told', { signing_url_seconds: 1 }, async t => {
	const { url } = await world('order');
	t.allow(/status of 410/);
	await new Promise(done => setTimeout(done, 2500));
	const page = await t.open(url);
	assert.match(await title(page), /udløbet/);
	await assertAccessible(page, 'late link');
	await pictures(page, 'link-late');
});

configured('time is put off up to a limit', { answer_url_seconds: 5, answer_url_max_seconds: 6 }, async t => {
	const made = await ready(t);
	t.allow(/status of 4\d\d/);
	await made.page.waitForTimeout(1500);
	await made.page.click('#extend');
	await made.page.locator('#status', { hasText: 'forlænget' }).waitFor();
	await made.page.click('#extend');
	await made.page.locator('#status', { hasText: 'kan ikke forlænges' }).waitFor();
	assert.equal(await made.page.locator('#extend').isVisible(), false);
	assert.equal(await stateOf(made.page), 'ready');
});

configured('keeping the file is not offered where it is not allowed', { browser_remember_key_file: false }, async t => {
	const { page } = await ready(t);
	assert.equal(await page.locator('#remember').count(), 0);
});

/* ---- logging in at an identity provider: another site, whose page posts its answer to the gateway as providers do */

const provider = async () => {
	const site = createServer(async (request, response) => {
		const url = `${site.url}${request.url.slice(1)}`;
		const { acs, ...fields } = site.visitor && request.url.startsWith('/sso?') ? await world('log_in', { user: site.visitor, url }) : {};
		const inputs = Object.entries(fields).map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`).join('');
		response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!DOCTYPE html><link rel="icon" href="data:,"><title>provider</title>' +
			(acs ? `<form method="post" action="${site.change(acs)}">${inputs}<button>send</button></form><script>document.forms[0].submit()</script>` : ''));
	});
	site.change = acs => acs;
	await new Promise(done => site.listen(0, '127.0.0.1', done));
	site.url = `http://sosigw.test:${site.address().port}/`;
	return site;
};

const withProvider = (name, run, main = false) => test(name, async t => {
	const site = await provider();
	const before = await world('provide', { url: `${site.url}sso` });
	await new Promise(done => setTimeout(done, 500));
	try {
		await run(t, site);
	} finally {
		await world('configure', before);
		await new Promise(done => setTimeout(done, 500));
		site.close();
	}
}, { alone: true, main });

/* What a request had with it, once it is sent: Chromium adds the cookies last. */
const sentWith = async request => {
	const headers = await (await request).allHeaders();
	return { cookie: headers.cookie ?? '', from: headers['sec-fetch-site'] };
};
const logInLink = page => page.locator('section[aria-labelledby="elsewhere"] a');

for (const [locale, words] of [['da-DK', { link: /^Log ind med/, on: 'Ét skridt endnu', button: 'Fortsæt', done: SIGNED }],
	['en-GB', { link: /^Log in with/, on: 'One more step', button: 'Continue', done: /^You are signed in until \d\d:\d\d/ }]]) {
	withProvider(`who logs in at an identity provider has the card, and the cookie goes with our own page alone (${locale})`, async (t, site) => {
		const { page, ...made } = await ready(t, { profile: { locale } });
		site.visitor = made.user;
		if (locale !== 'da-DK') {	/* the address that the program was given has the gateway's language */
			await page.getByRole('link', { name: 'English' }).click();
			await inState(page, 'ready');
		}
		await page.locator(`html[lang="${locale.slice(0, 2)}"]`).waitFor();
		assert.match(await logInLink(page).innerText(), words.link);
		await assertAccessible(page, `a page with a provider, ${locale}`);
		await pictures(page, `provider-${locale}`);
		const [cookie] = (await page.context().cookies()).filter(({ name }) => name === '__Host-sosigw-sign');
		assert.deepEqual([cookie.sameSite, cookie.httpOnly, cookie.secure, cookie.path], ['Strict', true, true, '/']);
		const acs = page.waitForRequest(/\/sign\/acs$/);
		await logInLink(page).click();
		assert.deepEqual(await sentWith(acs), { cookie: '', from: 'cross-site' });
		await page.getByRole('button', { name: words.button }).waitFor();
		assert.equal(await title(page), words.on);
		assert.equal(await page.evaluate(() => document.activeElement.type), 'submit');
		await assertAccessible(page, `going on, ${locale}`);
		await pictures(page, `going-on-${locale}`);
		await isAwaited(made);
		const login = page.waitForRequest(/\/sign\/login$/);
		await Promise.all([page.waitForURL(/\/sign\/login$/), page.keyboard.press('Enter')]);
		assert.deepEqual(await sentWith(login), { cookie: `${cookie.name}=${cookie.value}`, from: 'same-origin' });
		assert.match(await title(page), words.done);
		assert.equal((await world('get_card', { user: made.user })).card['sosi:AuthenticationLevel'], '4');
		await assertAccessible(page, `logged in, ${locale}`);
	}, locale === 'da-DK');
}

withProvider('a provider cannot log anybody in without our own page in between', async (t, site) => {
	const made = await ready(t);
	t.allow(/status of 403/);
	site.visitor = made.user;
	site.change = acs => acs.replace(/acs$/, 'login');
	const login = made.page.waitForRequest(/\/sign\/login$/);
	await logInLink(made.page).click();
	assert.deepEqual(await sentWith(login), { cookie: '', from: 'cross-site' });
	await made.page.waitForURL(/\/sign\/login$/);
	assert.match(await title(made.page), /fremmed side/);
	await assertAccessible(made.page, 'from a provider');
	await isAwaited(made);
});

export const prepare = () => world('configure', { browser_remember_key_file: true, language: 'da', browser_base: recorder?.url ?? config.https });
