/*
 * The signing page: shows what is signed, opens the user's key file in the page, signs, and posts the signature. The key
 * file, the key and the password stay here; what is posted is the hidden fields `token` and `signature` alone.
 *
 * The same file serves the administrator's log-on (#logon), which signs a challenge instead of a card.
 */
import { readOrder } from './card.js';
import { countDown } from './countdown.js';
import { fillCard } from './fields.js';
import { KeyFile } from './keyfile.js';
import { byId, clearProblem, setState, showFailure, showProblem, state, tell } from './page.js';
import { toBase64, utf8 } from './bytes.js';
import { Refusal } from './refusal.js';
import { signCard, signLogon } from './signature.js';

/* The server's clock: that of a PC may be wrong by years. */
const clock = form => {
	const began = performance.now();
	const start = form.dataset.now ? Number(form.dataset.now) * 1000 : Date.now();
	return () => new Date(start + performance.now() - began);
};

/* What a form is for: { hash, signature(pair) -> the text to post }. */
const cardToSign = async form => {
	const { hash, octets, fields } = await readOrder(form.dataset.card, form.dataset.signedInfo);
	fillCard(fields);
	return { hash, signature: pair => signCard(pair, octets) };
};

const challengeToSign = (form, now) => {
	const { challenge, logonto } = form.dataset;
	const hash = { sha1: 'SHA-1', sha256: 'SHA-256' }[form.dataset.hash];
	if (!hash || !challenge || !logonto)
		throw new Refusal('bad-card');
	const time = () => now().toISOString().replace(/\.\d+/, '');
	return { hash, signature: pair => signLogon(pair, hash, { challenge, logonto, time: time() }) };
};

const checkBrowser = () => {
	if (!globalThis.isSecureContext)
		throw new Refusal('insecure');
	if (!globalThis.crypto?.subtle)
		throw new Refusal('no-webcrypto');
};

const post = (form, keyFile, signature) => {
	setState('sent');
	tell('sending');
	keyFile.clear();
	form.elements.signature.value = toBase64(utf8(signature));
	form.submit();
};

const handle = (form, task, keyFile, now, stopCounting) => async event => {
	event.preventDefault();
	if (!['ready', 'choose'].includes(state()))
		return;
	clearProblem();
	tell('working');
	setState('working');
	try {
		const pair = await keyFile.take(task.hash, now());
		const signature = pair && await task.signature(pair);
		if (state() !== 'working')
			return;		/* the time ran out meanwhile */
		if (!signature) {
			tell('several');
			setState('choose');
			return;
		}
		stopCounting();
		post(form, keyFile, signature);
	} catch (e) {
		if (state() !== 'working')
			return;
		keyFile.forgetChoice();
		setState('ready');
		showFailure(e);
	}
};

const begin = async form => {
	setState('checking');
	try {
		checkBrowser();
		const now = clock(form);
		const task = await (form.id === 'sign' ? cardToSign(form) : challengeToSign(form, now));
		const keyFile = new KeyFile('remember' in form.dataset);
		const stopCounting = countDown(form, () => {
			setState('late');
			keyFile.clear();
			showProblem('time-out');
		});
		form.addEventListener('submit', handle(form, task, keyFile, now, stopCounting));
		setState('ready');
	} catch (e) {
		setState('blocked');
		showFailure(e);
	}
};

/* Back to a page that the browser kept as it was: its answer has been given, and the server knows what to show. */
addEventListener('pageshow', event => {
	if (event.persisted)
		location.reload();
});

const form = byId('sign') ?? byId('logon');
/* A page that came as the answer to a form gets its own address, so that nobody who reloads it or comes back to it is asked
 * whether to send the form again. */
if (form?.dataset.again)
	history.replaceState(null, '', form.dataset.again);
if (form)
	begin(form);
