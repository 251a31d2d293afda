/*
 * The time that is left, the button that asks for more, and what happens when it is over. Seen every second, said at
 * 30 and at 10 seconds.
 */
import { byId, say, seconds, setText, show, tell, text } from './page.js';

const SAID_AT = [30, 10];
const PATIENCE_MS = 10000;

/* Asks the server for more time: the seconds left, or null when it gives none. Throws when there is no answer. */
const askForMore = async form => {
	const body = new URLSearchParams({ token: form.elements.token.value });
	const answer = await fetch(form.dataset.extend, { method: 'POST', body, redirect: 'error', cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) });
	const left = Number.parseInt(await answer.text(), 10);
	return answer.ok && left > 0 ? left : null;
};

const offerMore = (form, setSeconds) => {
	const button = byId('extend');
	if (!button || !form.dataset.extend)
		return;
	button.hidden = false;
	button.addEventListener('click', async () => {
		button.disabled = true;
		const left = await askForMore(form).catch(() => undefined);
		button.disabled = false;
		if (left) {
			setSeconds(left);
			tell('extended', { time: seconds(left) });
			button.focus();
			return;
		}
		tell('cannot-extend');
		/* no answer at all: it may be asked again */
		button.hidden = left === null;
	});
};

/* Counts the form's data-seconds down and calls late() once at the end, unless it was stopped by then: what is
 * returned does that. */
export const countDown = (form, late) => {
	const given = Number(form.dataset.seconds);
	if (!(given > 0))
		return () => {};
	let end, before;
	const setSeconds = n => {
		end = performance.now() + n * 1000;
		before = Infinity;
	};
	setSeconds(given);
	const tick = () => {
		const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
		const time = seconds(left);
		setText('countdown', text('seconds-left', { time }) ?? time);
		if (SAID_AT.some(n => left <= n && n < before) && before !== Infinity)
			say('seconds-left', { time });
		before = left;
		if (left === 0) {
			stop();
			late();
		}
	};
	const timer = setInterval(tick, 250);
	const stop = () => {
		clearInterval(timer);
		show('extend', false);
	};
	offerMore(form, n => {
		setSeconds(n);
		tick();
	});
	tick();
	return stop;
};
