/*
 * Keys from passwords: the PKCS#12 way (RFC 7292, appendix B) and PBKDF2.
 *
 * The first is a loop of our own over @noble/hashes, as WebCrypto has nothing for it: hundreds of thousands of rounds
 * in some files, so it lets the page live every few hundredths of a second. (A worker would be another script than the
 * one that the page's integrity attribute names.)
 */
import { hmac } from '@noble/hashes/hmac.js';
import { sha1 } from '@noble/hashes/legacy.js';
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { concat, withSecret } from './bytes.js';
import { Refusal } from './refusal.js';
import { hashOfHash } from './sha1-steps.js';

const SLICE_MS = 30;
/* More rounds than any program writes, and a quarter of a minute's work. */
const MOST_ROUNDS = 10e6;

const HASHES = { 'SHA-1': sha1, 'SHA-224': sha224, 'SHA-256': sha256, 'SHA-384': sha384, 'SHA-512': sha512 };

const HASH_OIDS = {
	'1.3.14.3.2.26': 'SHA-1',
	'2.16.840.1.101.3.4.2.4': 'SHA-224',
	'2.16.840.1.101.3.4.2.1': 'SHA-256',
	'2.16.840.1.101.3.4.2.2': 'SHA-384',
	'2.16.840.1.101.3.4.2.3': 'SHA-512',
};
const HMAC_OIDS = {
	'1.2.840.113549.2.7': 'SHA-1',
	'1.2.840.113549.2.8': 'SHA-224',
	'1.2.840.113549.2.9': 'SHA-256',
	'1.2.840.113549.2.10': 'SHA-384',
	'1.2.840.113549.2.11': 'SHA-512',
};

const known = name => {
	if (!name)
		throw new Refusal('unsupported');
	return name;
};

export const hashOf = oid => known(HASH_OIDS[oid]);
export const hmacOf = oid => known(HMAC_OIDS[oid]);

export const mac = (hash, key, octets) => hmac(HASHES[hash], key, octets);

const checkRounds = rounds => {
	if (!(rounds >= 1 && rounds <= MOST_ROUNDS))
		throw new Refusal('unsupported');
};

/* Lets the page draw and answer. setTimeout would be held back to once a second in a tab that is not in front. */
const { port1, port2 } = new MessageChannel();
const breathe = () => new Promise(done => {
	port1.onmessage = done;
	port2.postMessage(0);
});

/* Takes a step so many times, in slices. */
const repeat = async (times, step) => {
	let sliceEnd = performance.now() + SLICE_MS;
	for (let i = 1; i <= times; i++) {
		step();
		if (i % 512 === 0 && performance.now() > sliceEnd) {
			await breathe();
			sliceEnd = performance.now() + SLICE_MS;
		}
	}
};

/* The kind of hash that files with hundreds of thousands of rounds ask for again and again: for key, initialisation
 * vector and MAC of each of their parts. */
const repeatedSha1 = async (first, rounds) => {
	const value = sha1(first);
	const view = new DataView(value.buffer, value.byteOffset);
	const words = Int32Array.from({ length: 5 }, (_, i) => view.getInt32(4 * i));
	await repeat(rounds - 1, () => hashOfHash(words));
	words.forEach((word, i) => view.setInt32(4 * i, word));
	words.fill(0);
	return value;
};

/*
 * H^rounds(first). Each value is hashed as one block, padded once and for all, with the steps that the hash object itself
 * takes: half the time of its update() and digest(). They are internal to @noble/hashes; the key files of the tests tell
 * when a new version has changed them.
 */
const repeatedHash = async (hash, first, rounds) => {
	if (hash === sha1)
		return repeatedSha1(first, rounds);
	const state = hash.create();
	const start = state.get();
	const block = new DataView(new ArrayBuffer(hash.blockLen));
	const value = new Uint8Array(block.buffer, 0, hash.outputLen);
	value.set(hash(first));
	block.setUint8(hash.outputLen, 0x80);
	block.setUint32(hash.blockLen - 4, 8 * hash.outputLen);
	await repeat(rounds - 1, () => {
		state.set(...start);
		state.process(block, 0);
		const words = state.get();
		for (let at = 0; at < hash.outputLen; at += 4)
			block.setUint32(at, words[at / 4]);
	});
	return value;
};

/* Octets over and over, up to the next whole block. */
const fillBlocks = (octets, block) => {
	const filled = new Uint8Array(block * Math.ceil(octets.length / block));
	for (let i = 0; i < filled.length; i++)
		filled[i] = octets[i % octets.length];
	return filled;
};

/* block += addend + 1, as one big-endian number */
const addOneMore = (block, addend) => {
	let carry = 1;
	for (let i = block.length - 1; i >= 0; i--) {
		carry += block[i] + addend[i];
		block[i] = carry;
		carry >>= 8;
	}
};

export const PURPOSE_KEY = 1, PURPOSE_IV = 2, PURPOSE_MAC = 3;

/* RFC 7292, B.2. `password` is the BMPString with its ending zero. */
export const pkcs12Key = async (hashName, purpose, password, salt, rounds, length) => {
	checkRounds(rounds);
	const hash = HASHES[hashName];
	const block = hash.blockLen;
	const diversifier = new Uint8Array(block).fill(purpose);
	const repeated = await withSecret(fillBlocks(password, block), filled => concat([diversifier, fillBlocks(salt, block), filled]));
	const key = new Uint8Array(length);
	await withSecret(repeated, async first => {
		for (let at = 0; at < length; at += hash.outputLen) {
			const value = await repeatedHash(hash, first, rounds);
			key.set(value.subarray(0, length - at), at);
			const addend = fillBlocks(value, block).subarray(0, block);
			value.fill(0);
			for (let i = block; i < first.length; i += block)
				addOneMore(first.subarray(i, i + block), addend);
			addend.fill(0);
		}
	});
	return key;
};

export const pbkdf2 = async (hash, password, salt, rounds, length) => {
	checkRounds(rounds);
	if (hash === 'SHA-224')
		throw new Refusal('unsupported');	/* WebCrypto has it not, and nobody was seen to use it */
	/* WebKitGTK refuses an empty password; HMAC fills its key up with zeros, so one zero is the same. */
	const key = password.length > 0 ? password : new Uint8Array(1);
	const base = await crypto.subtle.importKey('raw', key, 'PBKDF2', false, ['deriveBits']);
	const parameters = { name: 'PBKDF2', hash, salt, iterations: rounds };
	return new Uint8Array(await crypto.subtle.deriveBits(parameters, base, 8 * length));
};
