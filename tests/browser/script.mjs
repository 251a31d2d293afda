/* The script of the signing page, against pages of the fixture server: what it opens, refuses, shows, posts and keeps. */
import { writeFileSync } from 'node:fs';
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { card, Fixture, LARS, signedInfo } from './fixture.mjs';
import {
	assert, assertAccessible, choose, config, inState, keyFile, keyFiles, leaks, problem, problemKey, secretNumbers, stateOf, test, verifyCard, words,
} from './harness.mjs';

export const fixture = new Fixture();
const GOOD = keyFile('OpenSSL 3');
/* xmlsec1 takes one certificate a file */
const ROOTS = ['oces2-root.pem', 'oces3-root.pem'].map(name => join(config.world, name));
const world = name => join(config.world, name);
const scratch = name => join(config.scratch, name);

const ready = async (t, options = {}, profile = {}) => {
	const url = fixture.add(options);
	const page = await t.open(url, profile);
	await inState(page, 'ready');
	return { url, page };
};

const press = page => page.click('#sign-button');
const posted = page => page.waitForURL(/\/answer/);

const announced = (page, text) => page.locator('#status', { hasText: text }).waitFor();

const signWith = async (page, row) => {
	await choose(page, row);
	await press(page);
};

const refusedWith = async (page, key) => {
	assert.equal(await problemKey(page), key);
	assert.equal(await page.inputValue('#password'), '', 'the password is still in its field');
	assert.equal(await page.evaluate(() => document.activeElement.id), 'problem');
};

/* What was posted is a signature over this page's card by this certificate; xmlsec1 says so. */
const judge = (url, name) => {
	const { names, token, text } = fixture.answer(url);
	assert.deepEqual(names, ['token', 'signature']);
	assert.equal(token, new URL(url).searchParams.get('page'));
	const { octets, info } = fixture.page(url);
	assert(text.includes(info), 'SignedInfo stands in the answer as it came');
	const file = scratch(`card-${token}.xml`);
	writeFileSync(file, octets.replace(/<\/saml:Assertion>$/, () => `${text}</saml:Assertion>`));
	verifyCard(file, ...ROOTS);
	const pem = execFileSync('openssl', ['x509', '-in', world(`${name}.pem`), '-outform', 'DER']);
	assert(text.includes(`<ds:KeyInfo><ds:X509Data><ds:X509Certificate>${pem.toString('base64')}<`), 'the leaf comes first');
};

/* ---- opening and signing */

/* The gateway's flow signs with every form of file; here are those that tell something else. */
for (const hash of ['sha1', 'sha256']) {
	test(`a card is signed with ${hash}`, async t => {
		const { url, page } = await ready(t, { hash });
		await signWith(page, GOOD);
		await posted(page);
		judge(url, 'moces');
	}, { main: true });
}

for (const row of keyFiles.filter(({ refused }) => refused)) {
	test(`refused: ${row.name}`, async t => {
		const { url, page } = await ready(t);
		await signWith(page, row);
		await refusedWith(page, row.refused);
		assert.equal(await stateOf(page), 'ready');
		assert.equal(fixture.page(url).answers.length, 0);
	}, { main: row.refused === 'ec-key' });
}

for (const name of ['OpenSSL 3', 'OpenSSL without a MAC', 'OpenSSL 3DES without a MAC', 'Danish password, OpenSSL without a MAC', 'PBMAC1', 'no password']) {
	test(`a wrong password is told: ${name}`, async t => {
		const { url, page } = await ready(t);
		await signWith(page, { ...keyFile(name), password: 'Forkert-kodeord' });
		await refusedWith(page, 'wrong-password');
		assert.equal(fixture.page(url).answers.length, 0);
	});
}

test('after a wrong password the right one signs', async t => {
	const { url, page } = await ready(t);
	await signWith(page, { ...GOOD, password: 'x' });
	await refusedWith(page, 'wrong-password');
	await page.fill('#password', GOOD.password);
	await press(page);
	await posted(page);
	judge(url, 'moces');
}, { main: true });

test('without a file it asks for one', async t => {
	const { page } = await ready(t);
	await page.fill('#password', 'x');
	await press(page);
	await refusedWith(page, 'no-file');
});

test('of two people in a file the user chooses, and the file is not opened twice', async t => {
	const { url, page } = await ready(t);
	await signWith(page, keyFile('Java keytool, two people in one file'));
	await inState(page, 'choose');
	const choices = page.locator('#certificates label');
	assert.equal(await choices.count(), 2);
	assert.match(await choices.nth(0).innerText(), /Lars Ærø Larsen, TRIFORK A\/S \/\/ CVR:20921897, TRUST2408 Sosigw Test CA, til \d+\. \w+ 20\d\d/);
	assert.equal(await page.inputValue('#password'), '');
	assert.equal(await page.locator('#status').innerText(), await words(page, 'several'));
	assert(await page.locator('#certificates input').first().evaluate(e => e === document.activeElement));
	await assertAccessible(page, 'choice of certificate');
	await page.keyboard.press('ArrowDown');
	await page.keyboard.press('Enter');
	await posted(page);
	judge(url, 'moces2');
});

test('another file ends a choice', async t => {
	const { url, page } = await ready(t);
	await signWith(page, keyFile('Java keytool, two people in one file'));
	await inState(page, 'choose');
	await choose(page, keyFile('RSA 3072, OCES3'));
	assert.equal(await page.locator('#certificates').isVisible(), false);
	await press(page);
	await posted(page);
	judge(url, 'moces3');
});

test('the page lives while a key file of 600000 iterations is opened', async t => {
	const { url, page } = await ready(t);
	await page.evaluate(() => {
		window.longest = 0;
		let before = performance.now();
		const tick = () => {
			window.longest = Math.max(window.longest, performance.now() - before);
			before = performance.now();
			setTimeout(tick, 20);
		};
		tick();
	});
	await choose(page, keyFile('NSS/Firefox, 3DES'));
	const answer = posted(page).then(() => true);
	await press(page);
	await inState(page, 'working');
	assert.equal(await page.locator('#status').innerText(), await words(page, 'working'));
	let longest = 0;
	while (!await Promise.race([answer, page.waitForTimeout(100)]))
		longest = await page.evaluate(() => window.longest).catch(() => longest) ?? longest;
	assert(longest < 1000, `the page stood still for ${longest} ms`);
	await posted(page);
	judge(url, 'moces');
});

test('the certificate dates are judged by the clock of the server', async t => {
	const { page } = await ready(t, { now: Math.floor(Date.now() / 1000) + 5 * 365 * 86400 });
	await signWith(page, GOOD);
	await refusedWith(page, 'expired');
	assert.match(await problem(page), /Udløb \d+\. \w+ 20\d\d\./);
});

/* ---- what is shown is what is signed */

test('the fields of the card are shown', async t => {
	const { page } = await ready(t);
	const shown = await page.locator('#card dd').allInnerTexts();
	assert.deepEqual(shown.slice(0, 8), ['Lars Ærø Larsen', '050179-****', 'Læge', 'Overlæge', 'J0184', 'TRIFORK A/S, CVR 20921897', 'Sygdom.dk', '4, medarbejdersignatur']);
	assert.match(shown[8], /^\d+\. \w+ 20\d\d kl\. \d\d[.:]\d\d$/);
	assert.equal(shown.length, 10);
});

test('a field that the card has not is not there', async t => {
	const user = { ...LARS };
	delete user['medcom:UserOccupation'];
	const { page } = await ready(t, { octets: card({ user }) });
	assert.equal(await page.locator('[data-row="occupation"]').isVisible(), false);
	assert.equal(await page.locator('[data-row="role"]').isVisible(), true);
});

test('no role is said in words, and an unknown one as it is', async t => {
	const of = async role => {
		const { page } = await ready(t, { octets: card({ user: { ...LARS, 'medcom:UserRole': role } }) });
		return page.locator('[data-field="role"]').innerText();
	};
	assert.equal(await of('urn:dk:healthcare:no-role'), 'Ingen rolle');
	assert.equal(await of('sekretær'), 'sekretær');
});

const MARKUP = '</dd><img src=x onerror=alert(1)><script>alert(2)</script>{name}&amp;"\'\u202e';
test('markup in a field is text', async t => {
	const user = Object.fromEntries(Object.keys(LARS).map(name => [name, MARKUP]));
	const system = { 'medcom:ITSystemName': MARKUP, 'medcom:CareProviderID': MARKUP, 'medcom:CareProviderName': MARKUP };
	const { url, page } = await ready(t, { octets: card({ user, system }) });
	const seen = MARKUP.replace('\u202e', '\ufffd');
	assert.equal(await page.locator('[data-field="role"]').evaluate(e => e.textContent), seen);
	assert.equal(await page.locator('[data-field="name"]').evaluate(e => e.textContent), `${seen} ${seen}`);
	assert.equal(await page.locator('#card img, #card script').count(), 0);
	await signWith(page, GOOD);
	await posted(page);
	judge(url, 'moces');
});

test('markup in a certificate and in the name of a file is text', async t => {
	const { page } = await ready(t, { remember: true });
	const bad = scratch('<img src=x>.p12');
	execFileSync('cp', [GOOD.file, bad]);
	await page.check('#remember');
	await page.setInputFiles('#keyfile', bad);
	await page.fill('#password', GOOD.password);
	await press(page);
	await posted(page);
	await page.goto(fixture.add({ remember: true }));
	await page.locator('#remembered').waitFor({ state: 'visible' });
	assert.equal(await page.locator('#remembered-name').innerText(), 'Husket: <img src=x>.p12');
});

const blocked = (name, key, make) => test(`blocked: ${name}`, async t => {
	if (name === 'a card that is no XML') {
		t.allowReports = /^style-src|inline style/;	/* Chromium writes its message about the error with a style */
		t.allow(/^XML Parsing Error/);		/* Firefox's message */
	}
	const octets = card();
	const page = await t.open(fixture.add({ octets, info: signedInfo(octets), ...make(octets) }));
	await inState(page, 'blocked');
	assert.equal(await problemKey(page), key);
	assert(await page.locator('#sign-button').isDisabled());
	assert.equal(await page.locator('#card').isVisible(), false);
});
const infoBut = (from, to) => octets => {
	const info = signedInfo(octets);
	assert(info.includes(from));
	return { info: info.replace(from, to) };
};

blocked('the card is another than the one that is signed', 'mismatch', () => ({ octets: card({ user: { ...LARS, 'medcom:UserRole': '5433' } }) }));
blocked('the reference points elsewhere', 'mismatch', infoBut('URI="#IDCard"', 'URI="#Other"'));
blocked('there is a second reference', 'mismatch', octets => {
	const info = signedInfo(octets);
	const reference = /<ds:Reference.*<\/ds:Reference>/.exec(info)[0];
	return { info: info.replace('</ds:SignedInfo>', `${reference}</ds:SignedInfo>`) };
});
blocked('a transform is another', 'mismatch', infoBut('xmldsig#enveloped-signature', 'xmldsig#base64'));
blocked('a transform is missing', 'mismatch', infoBut('<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform>', ''));
blocked('an unknown hash', 'mismatch', infoBut('xmldsig#rsa-sha1', 'xmldsig-more#rsa-md5'));
blocked('an empty SignedInfo', 'mismatch', () => ({ info: '' }));
blocked('a challenge in place of SignedInfo', 'mismatch', () => ({ info: 'I owe you 1000 kroner' }));
blocked('a card that is no XML', 'bad-card', () => {
	const octets = card().replace('</saml:Assertion>', '');
	return { octets, info: signedInfo(octets) };
});
const badCard = (name, change) => blocked(name, 'bad-card', () => {
	const octets = change(card());
	return { octets, info: signedInfo(octets) };
});
badCard('a card with two roles', octets => octets.replace(/<saml:Attribute Name="medcom:UserRole">.*?<\/saml:Attribute>/, '$&$&'));
badCard('a card with a comment', octets => octets.replace('Larsen', 'Lar<!-- -->sen'));
badCard('a card with a document type', octets => `<!DOCTYPE x [<!ENTITY e "Larsen">]>${octets.replace('Larsen', '&e;')}`);
badCard('a card with another id', octets => octets.replace('id="IDCard"', 'id="Card"'));
badCard('a card that is signed already', octets => octets.replace('</saml:Assertion>', `<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"></ds:Signature></saml:Assertion>`));
badCard('a card with two periods', octets => octets.replace(/<saml:Conditions .*?><\/saml:Conditions>/, '$&$&'));
badCard('another document', () => '<html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html>');

test('a script that is not the one the page names does not run', async t => {
	t.allow(/integrity/);
	const page = await t.open(fixture.add({ integrity: `sha384-${'A'.repeat(64)}` }));
	await page.waitForTimeout(300);
	assert.equal(await stateOf(page), undefined);
	assert(await page.locator('#sign-button').isDisabled());
});

/* ---- time */

test('the time left is counted down, and said at 30 and at 10 seconds', async t => {
	const context = await t.profile();
	const page = await context.newPage();
	await page.clock.install();
	await page.goto(fixture.add({ seconds: 60 }));
	await inState(page, 'ready');
	const said = () => page.locator('#announce').innerText();
	assert.match(await page.locator('#countdown').innerText(), /^(60|59) sekunder tilbage\.$/);
	await page.clock.runFor(20000);
	assert.equal(await said(), '');
	await page.clock.runFor(11000);
	assert.match(await said(), /^(30|29) sekunder/);
	await page.clock.runFor(20000);
	assert.match(await said(), /^(10|9) sekunder/);
	assert.equal(await stateOf(page), 'ready');
	await page.setInputFiles('#keyfile', GOOD.file);
	await page.fill('#password', GOOD.password);
	await page.clock.runFor(11000);
	assert.equal(await stateOf(page), 'late');
	assert.equal(await problemKey(page), 'time-out');
	assert(await page.locator('#sign-button').isDisabled());
	assert.equal(await page.inputValue('#password'), '');
	assert.equal(await page.evaluate(() => document.getElementById('keyfile').files.length), 0);
	assert.equal(await page.locator('#extend').isVisible(), false);
	await assertAccessible(page, 'late');
});

test('the user gets more time, once and again, until there is no more', async t => {
	const context = await t.profile();
	const page = await context.newPage();
	await page.clock.install();
	const url = fixture.add({ seconds: 20 });
	await page.goto(url);
	await inState(page, 'ready');
	fixture.page(url).extend = [200, '75'];
	await page.click('#extend');
	await announced(page, 'Nu 75 sekunder.');
	assert.match(await page.locator('#countdown').innerText(), /^7[54] /);
	await page.clock.runFor(46000);
	assert.match(await page.locator('#announce').innerText(), /^(30|29) sekunder/);
	fixture.page(url).extend = [410, 'no'];
	t.allow(/410/);
	await page.click('#extend');
	await announced(page, 'Kan ikke forlænges.');
	assert.equal(await page.locator('#extend').isVisible(), false);
	assert.equal(await stateOf(page), 'ready');
	assert.equal(fixture.page(url).wishes[0], `token=${new URL(url).searchParams.get('page')}`);
});

test('when the network fails, more time can be asked for again', async t => {
	const { page } = await ready(t);
	t.allow(/ERR_/);
	await page.context().setOffline(true);
	await page.click('#extend');
	await announced(page, 'Kan ikke forlænges.');
	assert.equal(await page.locator('#extend').isVisible(), true);
	await page.context().setOffline(false);
	await page.click('#extend');
	await announced(page, 'Nu 60 sekunder.');
});

test('time that runs out while a file is opened posts nothing', async t => {
	const context = await t.profile();
	await context.addInitScript(() => {
		const arrayBuffer = Blob.prototype.arrayBuffer;
		const gate = new Promise(open => {
			window.openGate = open;
		});
		Blob.prototype.arrayBuffer = async function () {
			await gate;
			return arrayBuffer.call(this);
		};
	});
	const page = await context.newPage();
	await page.clock.install();
	const url = fixture.add({ seconds: 20 });
	await page.goto(url);
	await inState(page, 'ready');
	await signWith(page, GOOD);
	await inState(page, 'working');
	await page.clock.runFor(21000);
	assert.equal(await stateOf(page), 'late');
	await page.evaluate(() => window.openGate());
	await page.waitForTimeout(500);
	assert.equal(await stateOf(page), 'late');
	assert.equal(await problemKey(page), 'time-out');
	assert.equal(fixture.page(url).answers.length, 0);
});

/* ---- what leaves, what stays */

test('no octet of file, key or password is sent, signed or refused', async t => {
	const row = keyFile('Danish password, OpenSSL 3');
	const from = fixture.received.length;
	const { page } = await ready(t, { remember: true });
	await page.check('#remember');
	await signWith(page, { ...row, password: `${row.password}x` });
	await refusedWith(page, 'wrong-password');
	await choose(page, row);
	await page.click('#extend');
	await announced(page, 'Nu 60 sekunder.');
	await press(page);
	await posted(page);
	const sent = Buffer.concat(fixture.received.slice(from));
	assert(sent.includes('signature='), 'the record holds what was posted');
	const keys = secretNumbers(world('moces.key'));
	assert.deepEqual(leaks(sent, [row], keys), []);
	/* and the search finds what it looks for */
	for (const text of [row.password, encodeURIComponent(row.password), keys[0].toString('base64'), keys[1].toString('hex'), keys[2].toString('base64url'), keys[3].toString('latin1')])
		assert.notDeepEqual(leaks(Buffer.concat([sent, Buffer.from(text, text === keys[3].toString('latin1') ? 'latin1' : 'utf8')]), [row], keys), []);
});

test('nothing is kept unless the user asks', async t => {
	const { page } = await ready(t, { remember: true });
	await signWith(page, GOOD);
	await posted(page);
	await page.goto(fixture.add({ remember: true }));
	await inState(page, 'ready');
	await page.locator('#remember-line').waitFor({ state: 'visible' });
	assert.equal(await page.locator('#remembered').isVisible(), false);
	assert.equal(await page.isChecked('#remember'), false);
	assert.deepEqual(await page.evaluate(async () => [localStorage.length, sessionStorage.length, document.cookie, (await caches.keys()).length]), [0, 0, '', 0]);
});

test('where the administrator does not allow it, keeping is not offered', async t => {
	const { page } = await ready(t);
	assert.equal(await page.locator('#remember-line').isVisible(), false);
	assert.deepEqual(await page.evaluate(async () => (await indexedDB.databases()).length), 0);
});

test('the encrypted file is kept when asked for, asks for the password each time, and is forgotten', async t => {
	const { page } = await ready(t, { remember: true });
	await page.check('#remember');
	await signWith(page, GOOD);
	await posted(page);

	const again = fixture.add({ remember: true });
	await page.goto(again);
	await page.locator('#remembered').waitFor({ state: 'visible' });
	await assertAccessible(page, 'file remembered');
	const stored = await page.evaluate(() => new Promise(done => {
		indexedDB.open('sosigw').onsuccess = e => {
			e.target.result.transaction('keyfile').objectStore('keyfile').getAll().onsuccess = found =>
				done(found.target.result.map(({ name, octets }) => ({ name, octets: [...octets] })));
			e.target.result.close();
		};
	}));
	const { readFileSync } = await import('node:fs');
	assert.deepEqual(stored.map(({ octets }) => Buffer.from(octets)), [readFileSync(GOOD.file)]);
	await press(page);
	await refusedWith(page, 'wrong-password');
	await page.fill('#password', GOOD.password);
	await press(page);
	await posted(page);
	judge(again, 'moces');

	await page.goto(fixture.add({ remember: true }));
	await page.click('#forget');
	await announced(page, 'Filen er glemt.');
	assert.equal(await page.locator('#remembered').isVisible(), false);
	await page.goto(fixture.add({ remember: true }));
	await inState(page, 'ready');
	await page.fill('#password', GOOD.password);
	await press(page);
	await refusedWith(page, 'no-file');
}, { main: true });

test('a file may be kept after a choice, and a kept file may have several certificates', async t => {
	const row = keyFile('Java keytool, two people in one file');
	const { page } = await ready(t, { remember: true });
	await signWith(page, row);
	await inState(page, 'choose');
	await page.check('#remember');
	await press(page);
	await posted(page);
	const again = fixture.add({ remember: true });
	await page.goto(again);
	await page.locator('#remembered').waitFor({ state: 'visible' });
	for (let i = 0; i < 2; i++) {
		await page.fill('#password', row.password);
		await press(page);
		await inState(page, 'choose');
		/* another file and back: it is opened anew */
		if (i === 0) {
			await page.setInputFiles('#keyfile', GOOD.file);
			await page.setInputFiles('#keyfile', []);
		}
	}
	await press(page);
	await posted(page);
	judge(again, 'moces');
});

for (const name of ['the key in clear', 'no password']) {
	test(`a file that no password protects is not kept: ${name}`, async t => {
		const { page } = await ready(t, { remember: true });
		await page.check('#remember');
		await signWith(page, keyFile(name));
		await posted(page);
		await page.goto(fixture.add({ remember: true }));
		await inState(page, 'ready');
		await page.waitForTimeout(200);
		assert.equal(await page.locator('#remembered').isVisible(), false);
	});
}

test('the octets of the key are wiped and the key cannot be exported', async t => {
	const context = await t.profile();
	await context.addInitScript(() => {
		window.imported = [];
		if (!crypto.subtle)
			return;
		const importKey = crypto.subtle.importKey.bind(crypto.subtle);
		crypto.subtle.importKey = async (format, data, ...rest) => {
			const key = await importKey(format, data, ...rest);
			if (format === 'pkcs8')
				window.imported.push({ data, key });
			return key;
		};
		/* stop before the page is left */
		HTMLFormElement.prototype.submit = () => {
			window.submitted = true;
		};
	});
	for (const name of ['OpenSSL 3', 'OpenSSL 3DES', 'OpenSSL RC2-128']) {
		const page = await context.newPage();
		await page.goto(fixture.add());
		await inState(page, 'ready');
		await signWith(page, keyFile(name));
		await page.waitForFunction(() => window.submitted);
		const seen = await page.evaluate(async () => {
			const [{ data, key }] = window.imported;
			return {
				count: window.imported.length, length: data.length, zero: data.every(octet => octet === 0), extractable: key.extractable,
				exported: await crypto.subtle.exportKey('pkcs8', key).then(() => 'yes', e => e.name),
				/* but for padding */
				whole: new Uint8Array(data.buffer).every(octet => octet <= 8),
			};
		});
		assert(seen.length > 1000, name);
		assert.deepEqual({ ...seen, length: 0 }, { count: 1, length: 0, zero: true, extractable: false, exported: 'InvalidAccessError', whole: true }, name);
	}
});

/* Keeps every buffer that scripts make from here on, and what WebCrypto and TextEncoder hand out. */
const keepBuffers = () => {
	const kept = window.buffers = [];
	const keep = value => {
		kept.push(value instanceof ArrayBuffer ? value : value.buffer);
		return value;
	};
	for (const name of ['ArrayBuffer', 'Uint8Array', 'Int32Array', 'Uint32Array'])
		window[name] = new Proxy(window[name], { construct: (...args) => keep(Reflect.construct(...args)) });
	const encode = TextEncoder.prototype.encode;
	TextEncoder.prototype.encode = function (text) {
		return keep(encode.call(this, text));
	};
	window.derived = [];
	for (const name of crypto.subtle ? ['decrypt', 'deriveBits'] : []) {
		const original = crypto.subtle[name].bind(crypto.subtle);
		crypto.subtle[name] = async (...args) => {
			const result = keep(await original(...args));
			if (name === 'deriveBits')
				window.derived.push(result);
			return result;
		};
	}
	/* stop before the page is left */
	HTMLFormElement.prototype.submit = () => {
		window.submitted = true;
	};
};

/* Which of these octets (strings of hex) stand in a buffer that the page has made. */
const foundInBuffers = (page, wanted) => page.evaluate(secrets => {
	const hex = octets => [...octets].map(octet => octet.toString(16).padStart(2, '0')).join('');
	const texts = [...new Set(window.buffers)].filter(buffer => buffer.byteLength < 1 << 20).map(buffer => hex(new Uint8Array(buffer)));
	return Object.keys(secrets).filter(name => secrets[name].some(secret => texts.some(text => text.includes(secret))));
}, wanted);

const secretsOf = ({ password }, keys) => {
	const utf16 = Buffer.from(password, 'utf16le').swap16();
	return {
		password: [Buffer.from(password), Buffer.from(password, 'latin1'), utf16].map(octets => octets.toString('hex')),
		key: keys.map(number => number.subarray(1, 17).toString('hex')),
	};
};

for (const name of ['OpenSSL 3', 'OpenSSL 3DES', 'OpenSSL 3DES with two keys', 'OpenSSL RC2-128', 'OpenSSL 3DES without a MAC', 'Danish password, OpenSSL 3 -legacy',
	'Danish password, OpenSSL without a MAC', 'PBMAC1', 'NSS/Firefox, BER with indefinite lengths', 'Java keytool', 'Java keytool, two people in one file']) {
	test(`of password and key no octet is left in the page's memory: ${name}`, async t => {
		const row = keyFile(name);
		const secrets = secretsOf(row, secretNumbers(world('moces.key')));
		const context = await t.profile();
		await context.addInitScript(keepBuffers);
		const page = await context.newPage();
		await page.goto(fixture.add());
		await inState(page, 'ready');
		await signWith(page, { ...row, password: `${row.password}x` });
		await refusedWith(page, 'wrong-password');
		assert.deepEqual(await foundInBuffers(page, secrets), [], 'after a wrong password');
		await signWith(page, row);
		if (row.cert.includes(' ')) {
			await inState(page, 'choose');
			await press(page);
		}
		await page.waitForFunction(() => window.submitted);
		assert.deepEqual(await foundInBuffers(page, secrets), []);
		assert(await page.evaluate(() => window.derived.every(buffer => new Uint8Array(buffer).every(octet => octet === 0))), 'a derived key');
		/* and the search finds what is there */
		await page.evaluate(hex => {
			Uint8Array.from(hex.match(/../g), octet => parseInt(octet, 16));
		}, `00${secrets.key[0]}`);
		assert.deepEqual(await foundInBuffers(page, secrets), ['key']);
	});
}

/* ---- browsers, people */

test('without a secure context the page says what is wrong', async t => {
	const url = new URL(fixture.add());
	const page = await t.open(`http://sosigw.test:${url.port}${url.pathname}${url.search}`);
	t.allow(/Cross-Origin-Opener-Policy/);
	await inState(page, 'blocked');
	assert.equal(await problemKey(page), 'insecure');
	assert(await page.locator('#sign-button').isDisabled());
	await assertAccessible(page, 'insecure context');
});

test('without WebCrypto the page says what is wrong', async t => {
	const context = await t.profile();
	await context.addInitScript(() => Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined }));
	const page = await context.newPage();
	await page.goto(fixture.add());
	await inState(page, 'blocked');
	assert.equal(await problemKey(page), 'no-webcrypto');
});

test('the keyboard alone is enough', async t => {
	const { url, page } = await ready(t);
	const order = [];
	for (let i = 0; i < 4; i++) {
		await page.keyboard.press('Tab');
		order.push(await page.evaluate(() => document.activeElement.id));
	}
	assert.deepEqual(order, ['extend', 'keyfile', 'password', 'sign-button']);
	await page.setInputFiles('#keyfile', GOOD.file);	/* the system's own window for files cannot be typed in here */
	await page.focus('#password');
	await page.keyboard.type(GOOD.password);
	await page.keyboard.press('Enter');
	await posted(page);
	judge(url, 'moces');
});

test('the page is accessible while ready, refused and blocked', async t => {
	const { page } = await ready(t);
	await assertAccessible(page, 'ready');
	await signWith(page, { ...GOOD, password: 'x' });
	await refusedWith(page, 'wrong-password');
	await assertAccessible(page, 'wrong password');
	await page.goto(fixture.add({ info: 'x' }));
	await inState(page, 'blocked');
	await assertAccessible(page, 'blocked');
});

test('pressing twice posts once', async t => {
	const { url, page } = await ready(t);
	await choose(page, GOOD);
	await page.evaluate(() => {
		const form = document.getElementById('sign');
		form.requestSubmit();
		form.requestSubmit();
	});
	await posted(page);
	judge(url, 'moces');
});

/* ---- log-on */

for (const hash of ['sha1', 'sha256']) {
	test(`a log-on challenge is signed in the form of OpenSign, with ${hash}`, async t => {
		const challenge = 'c0ffee<&>"é';
		const url = fixture.add({ logon: { challenge, logonto: 'gw.example.dk', hash } });
		const page = await t.open(url);
		await inState(page, 'ready');
		await signWith(page, GOOD);
		await posted(page);
		const { names, text } = fixture.answer(url);
		assert.deepEqual(names, ['token', 'signature']);
		const file = scratch(`logon-${hash}.xml`);
		const verify = () => execFileSync('xmlsec1', ['--verify', '--enabled-key-data', 'x509', '--trusted-pem', ROOTS[0], '--id-attr:Id', 'Object', file], { stdio: 'pipe' });
		writeFileSync(file, text);
		verify();
		assert(text.includes('<openoces:Name>challenge</openoces:Name><openoces:Value Encoding="xml" VisibleToSigner="yes">c0ffee&lt;&amp;&gt;"é<'));
		assert(text.includes('<openoces:Name>action</openoces:Name><openoces:Value Encoding="xml" VisibleToSigner="yes">logon<'));
		writeFileSync(file, text.replace('c0ffee', 'c0ffef'));
		assert.throws(verify);
		/* the server's own reader: from the posted field itself, as it came */
		const read = (expected, host, input = fixture.posted(url)) => {
			const program = join(config.build, 'browser', 'read_logon');
			return spawnSync(program, [ROOTS[0], world('oces2-ca.pem'), expected, host], { input, encoding: 'utf8' }).stdout;
		};
		assert.equal(read(challenge, 'gw.example.dk'), 'Lars Ærø Larsen, CVR 20921897\n');
		assert.match(read('c0ffef<&>"é', 'gw.example.dk'), /^SIGNATURE: challenge/);
		assert.match(read(challenge, 'gw.example.com'), /^SIGNATURE: logonto/);
		assert.match(read(challenge, 'gw.example.dk', text.replace('c0ffee', 'c0ffef')), /^SIGNATURE: digest/);
	}, { main: true });
}
