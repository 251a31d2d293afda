/* Small things with octets. */

export const concat = parts => {
	const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
};

export const equal = (a, b) => a.length === b.length && a.every((octet, i) => octet === b[i]);

/* What use(secret) gives; the secret is wiped then. */
export const withSecret = async (secret, use) => {
	try {
		return await use(secret);
	} finally {
		secret.fill(0);
	}
};

export const utf8 = text => new TextEncoder().encode(text);

export const fromBase64 = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));

/* Not by spreading: an array of arguments has a limit. */
export const toBase64 = octets => btoa(octets.reduce((text, octet) => text + String.fromCharCode(octet), ''));
