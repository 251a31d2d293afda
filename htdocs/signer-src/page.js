/*
 * The page as the script sees it. The server has written every text, in the page's language, into #texts; the script
 * owns none. Values come in as text content, never as markup.
 */
import { Refusal } from './refusal.js';

export const byId = id => document.getElementById(id);

const language = document.documentElement.lang || undefined;

/* What would turn a line around or hide in it shows as a question mark. */
export const plain = value => String(value).replace(/[\p{Cc}\p{Cf}]/gu, '\ufffd');

export const dateTime = date => date.toLocaleString(language, { dateStyle: 'long', timeStyle: 'short', timeZone: 'Europe/Copenhagen' });
export const day = date => date.toLocaleDateString(language, { dateStyle: 'long', timeZone: 'Europe/Copenhagen' });

/* "1 sekund", "59 sekunder" */
export const seconds = n => n.toLocaleString(language, { style: 'unit', unit: 'second', unitDisplay: 'long' });

/* Finds the text with this key and puts the values where it says {name}. */
export const text = (key, values = {}) => {
	const found = document.querySelector(`#texts [data-text="${CSS.escape(key)}"]`);
	return found ? found.textContent.replace(/\{(\w+)\}/g, (whole, name) => plain(values[name] ?? '')) : null;
};

export const show = (id, visible = true) => {
	const element = byId(id);
	if (element)
		element.hidden = !visible;
};

export const setText = (id, content) => {
	const element = byId(id);
	if (element)
		element.textContent = content;
};

/* checking, ready, working, choose, blocked, late, sent */
export const state = () => document.body.dataset.state;
export const setState = next => {
	document.body.dataset.state = next;
	byId('sign-button').disabled = !['ready', 'choose'].includes(next);
};

/* What is going on: seen, and said by a screen reader when it has time. */
export const tell = (key, values) => setText('status', text(key, values) ?? '');
/* Only said: what everybody else can see elsewhere on the page. */
export const say = (key, values) => setText('announce', text(key, values) ?? '');

/* A problem takes the focus, so that nobody misses it. */
export const showProblem = (key, values) => {
	const problem = byId('problem');
	tell('');
	problem.hidden = false;
	problem.textContent = text(key, values) ?? text('failed') ?? key;
	problem.focus();
};

export const clearProblem = () => {
	const problem = byId('problem');
	problem.hidden = true;
	problem.textContent = '';
};

/* Shows why something failed: a Refusal has its text; anything else was not foreseen. */
export const showFailure = error => {
	if (!(error instanceof Refusal)) {
		console.error(error);
		showProblem('failed');
		return;
	}
	const { date, ...values } = error.values;
	showProblem(error.text, date ? { ...values, date: day(date) } : values);
};
