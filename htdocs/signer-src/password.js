/*
 * One password, as the octets that different programs make of it. For plain ASCII there is one form of each kind; a
 * Danish å may have been typed as one character or as two, written as UTF-8 or Latin-1, or (OpenSSL 1.0) as the octets of
 * its UTF-8 with a zero before each.
 *
 * What can be wiped is: octets. The characters that were typed are a string, which a script can only let go of.
 */
import { utf8 } from './bytes.js';

const bmp = text => {
	const octets = new Uint8Array(2 * text.length);
	for (let i = 0; i < text.length; i++) {
		octets[2 * i] = text.charCodeAt(i) >> 8;
		octets[2 * i + 1] = text.charCodeAt(i);
	}
	return octets;
};

const latin1 = text => Uint8Array.from(text, c => c.charCodeAt(0));

/* What the user may have meant: as composed characters, as typed, decomposed; then as OpenSSL 1.0 took it. */
export const readings = typed => {
	const composed = typed.normalize('NFC');
	const octets = utf8(composed);
	const asOctets = String.fromCharCode(...octets);
	octets.fill(0);
	return [...new Set([composed, typed, typed.normalize('NFD'), asOctets])];
};

/* For the key derivation of PKCS#12: two octets a character and a zero character; no password may also be no octets. */
export const bmpForms = password => {
	const form = bmp(`${password}\0`);
	return password === '' ? [form, new Uint8Array(0)] : [form];
};

/* For PBKDF2: UTF-8; Latin-1 as of OpenSSL in a Latin-1 terminal; two octets a character as of early NSS. */
export const utf8Forms = password => {
	const highest = Math.max(0, ...[...password].map(c => c.charCodeAt(0)));
	return [utf8(password), ...highest > 127 && highest < 256 ? [latin1(password)] : [], ...bmpForms(password)];
};

/* What attempt(form) gives for the first form for which it gives anything, else null. The forms are wiped. */
export const firstThatFits = async (forms, attempt) => {
	try {
		for (const form of forms) {
			const result = await attempt(form);
			if (result)
				return result;
		}
		return null;
	} finally {
		forms.forEach(form => form.fill(0));
	}
};
