/*
 * Password-based encryption of PKCS#12 files: the old schemes (RFC 7292, appendix C: 3DES and RC2) and PBES2 of
 * RFC 8018 (AES, 3DES). A wrong password shows as wrong padding, and then the answer is null.
 */
import forge from 'node-forge/lib/forge.js';
import 'node-forge/lib/des.js';
import 'node-forge/lib/rc2.js';
import { algorithm, integer, members, octets, oid } from './asn1.js';
import { concat, withSecret } from './bytes.js';
import { hmacOf, pbkdf2, pkcs12Key, PURPOSE_IV, PURPOSE_KEY } from './kdf.js';
import { bmpForms, firstThatFits, utf8Forms } from './password.js';
import { Refusal } from './refusal.js';

const PBES2 = '1.2.840.113549.1.5.13';
const PBKDF2 = '1.2.840.113549.1.5.12';

/* ---- block ciphers in CBC: (key, iv, data) -> octets with their padding */

const read32 = (octets, at) => octets[at] << 24 | octets[at + 1] << 16 | octets[at + 2] << 8 | octets[at + 3];

const tripleDes = (key, iv, data) => {
	/* of two keys, the first comes again as the third */
	const whole = concat([key, key.subarray(0, 24 - key.length)]);
	let block;
	const des = new forge.des.Algorithm('3DES-ECB', function ({ cipher }) {
		block = cipher;
	});
	des.initialize({ key: whole });
	whole.fill(0);
	const plain = new Uint8Array(data.length);
	const view = new DataView(plain.buffer);
	const out = [0, 0];
	let before = [read32(iv, 0), read32(iv, 4)];
	for (let at = 0; at < data.length; at += 8) {
		const now = [read32(data, at), read32(data, at + 4)];
		block.decrypt(now, out);
		view.setInt32(at, out[0] ^ before[0]);
		view.setInt32(at + 4, out[1] ^ before[1]);
		before = now;
	}
	return plain;
};

const rc2 = bits => (key, iv, data) => {
	const cipher = forge.rc2.createDecryptionCipher(forge.util.createBuffer(key), bits);
	cipher.start(forge.util.createBuffer(iv));
	cipher.update(forge.util.createBuffer(data));
	return cipher.output.octets.subarray(0, cipher.output.end);
};

/* RFC 5652, 6.3: 1 to 8 octets, each the number of them. */
const unpad = padded => {
	const count = padded.at(-1);
	if (count < 1 || count > 8 || !padded.subarray(-count).every(octet => octet === count))
		return null;
	return padded.subarray(0, -count);
};

const blocks = decrypt => (key, iv, data) =>
	data.length > 0 && data.length % 8 === 0 && iv.length === 8 ? unpad(decrypt(key, iv, data)) : null;

const aes = async (key, iv, data) => {
	let imported;
	try {
		imported = await crypto.subtle.importKey('raw', key, 'AES-CBC', false, ['decrypt']);
	} catch {
		throw new Refusal('unsupported');	/* Chromium has no AES-192 */
	}
	try {
		return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-CBC', iv }, imported, data));
	} catch {
		return null;
	}
};

/* ---- schemes */

const OLD_SCHEMES = {
	'1.2.840.113549.1.12.1.3': { length: 24, decrypt: blocks(tripleDes) },
	'1.2.840.113549.1.12.1.4': { length: 16, decrypt: blocks(tripleDes) },
	'1.2.840.113549.1.12.1.5': { length: 16, decrypt: blocks(rc2(128)) },
	'1.2.840.113549.1.12.1.6': { length: 5, decrypt: blocks(rc2(40)) },
};
const CIPHERS = {
	'2.16.840.1.101.3.4.1.2': { length: 16, decrypt: aes },
	'2.16.840.1.101.3.4.1.22': { length: 24, decrypt: aes },
	'2.16.840.1.101.3.4.1.42': { length: 32, decrypt: aes },
	'1.2.840.113549.3.7': { length: 24, decrypt: blocks(tripleDes) },
};

const decryptOld = async ({ length, decrypt }, parameters, data, password) => {
	const [saltNode, roundsNode] = members(parameters);
	const salt = octets(saltNode);
	const rounds = integer(roundsNode);
	return firstThatFits(bmpForms(password), async form => {
		const iv = await pkcs12Key('SHA-1', PURPOSE_IV, form, salt, rounds, 8);
		return withSecret(await pkcs12Key('SHA-1', PURPOSE_KEY, form, salt, rounds, length), key => decrypt(key, iv, data));
	});
};

/* The parameters of PBKDF2 (RFC 8018, A.2). */
export const readPbkdf2 = node => {
	const { id, parameters } = algorithm(node);
	if (id !== PBKDF2)
		throw new Refusal('unsupported');
	const [salt, rounds, ...rest] = members(parameters);
	const length = rest.length > 0 && rest[0].idBlock.tagNumber === 2 ? integer(rest.shift()) : undefined;
	const hash = hmacOf(rest.length > 0 ? algorithm(rest[0]).id : '1.2.840.113549.2.7');
	return { salt: octets(salt), rounds: integer(rounds), length, hash };
};

const decryptPbes2 = async (parameters, data, password) => {
	const [derivation, encryption] = members(parameters);
	const { salt, rounds, hash } = readPbkdf2(derivation);
	const { id, parameters: ivNode } = algorithm(encryption);
	const cipher = CIPHERS[id];
	if (!cipher)
		throw new Refusal('unsupported');
	const iv = octets(ivNode);
	return firstThatFits(utf8Forms(password), async form =>
		withSecret(await pbkdf2(hash, form, salt, rounds, cipher.length), key => cipher.decrypt(key, iv, data)));
};

/* The plain octets, which the caller wipes; null: not with this password. */
export const decrypt = async (algorithmNode, data, password) => {
	const { id, parameters } = algorithm(algorithmNode);
	if (id === PBES2)
		return decryptPbes2(parameters, data, password);
	const scheme = OLD_SCHEMES[id];
	if (!scheme)
		throw new Refusal('unsupported');
	return decryptOld(scheme, parameters, data, password);
};
