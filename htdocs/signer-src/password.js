/*
 * One password, as the octets that different programs make of it. For plain ASCII there is one form of each kind; a
 * Danish å may have been typed as one character or as two, written as UTF-8 or Latin-1, or (OpenSSL 1.0) as the octets of
 * its UTF-8 with a zero before each.
 */
import { concat, utf8 } from './bytes.js';

const bmp = text => {
	const octets = new Uint8Array(2 * text.length);
	for (let i = 0; i < text.length; i++) {
		octets[2 * i] = text.charCodeAt(i) >> 8;
		octets[2 * i + 1] = text.charCodeAt(i);
	}
	return octets;
};

const latin1 = text => Uint8Array.from(text, c => c.charCodeAt(0));

const different = forms => forms.filter((form, i) => forms.findIndex(other => String(other) === String(form)) === i);

/* What the user may have meant: as composed characters, as typed, decomposed; then as OpenSSL 1.0 took it. */
export const readings = typed => {
	const composed = typed.normalize('NFC');
	return different([composed, typed, typed.normalize('NFD'), String.fromCharCode(...utf8(composed))]);
};

/* For the key derivation of PKCS#12: two octets a character and a zero character; no password may also be no octets. */
export const bmpForms = password => {
	const form = concat([bmp(password), [0, 0]]);
	return password === '' ? [form, new Uint8Array(0)] : [form];
};

/* For PBKDF2: UTF-8; Latin-1 as of OpenSSL in a Latin-1 terminal; two octets a character as of early NSS. */
export const utf8Forms = password => {
	const fits = [...password].every(c => c.charCodeAt(0) < 256);
	return different([utf8(password), ...fits ? [latin1(password)] : [], ...bmpForms(password)]);
};
