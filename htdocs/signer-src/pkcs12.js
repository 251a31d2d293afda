/*
 * Opens a PKCS#12 file (RFC 7292): what keys and certificates are in it.
 *
 * The MAC, when there is one, says whether the password is right; without one the padding of the first encrypted part
 * does. Which certificate belongs to which key is not read from the file's own hints (localKeyID): certificates.js tries it.
 */
import { algorithm, encoded, integer, isContext, members, octets, oid, parse } from './asn1.js';
import { decrypt, readPbkdf2 } from './ciphers.js';
import { equal, withSecret } from './bytes.js';
import { hashOf, hmacOf, mac, pbkdf2, pkcs12Key, PURPOSE_MAC } from './kdf.js';
import { bmpForms, firstThatFits, readings, utf8Forms } from './password.js';
import { Refusal } from './refusal.js';

const DATA = '1.2.840.113549.1.7.1';
const ENCRYPTED_DATA = '1.2.840.113549.1.7.6';
const PBMAC1 = '1.2.840.113549.1.5.14';
const KEY_BAG = '1.2.840.113549.1.12.10.1.1';
const SHROUDED_KEY_BAG = '1.2.840.113549.1.12.10.1.2';
const CERTIFICATE_BAG = '1.2.840.113549.1.12.10.1.3';
const CONTENTS_BAG = '1.2.840.113549.1.12.10.1.6';
const X509 = '1.2.840.113549.1.9.22.1';
const HASH_LENGTHS = { 'SHA-1': 20, 'SHA-224': 28, 'SHA-256': 32, 'SHA-384': 48, 'SHA-512': 64 };

const wrongPassword = () => new Refusal('wrong-password');

/* Explicitly tagged content: the one node inside [0]. */
const explicit = node => {
	if (!isContext(node, 0))
		throw new Refusal('not-a-key-file');
	return members(node)[0];
};

const contentInfo = node => {
	const [type, content] = members(node);
	return { type: oid(type), content: explicit(content) };
};

/* ---- MAC */

/* { hash, forms, derive }: how a password becomes the key of the MAC */
const macKeys = (macAlgorithm, salt, rounds) => {
	if (macAlgorithm.id !== PBMAC1) {
		const hash = hashOf(macAlgorithm.id);
		return { hash, forms: bmpForms, derive: form => pkcs12Key(hash, PURPOSE_MAC, form, salt, rounds, HASH_LENGTHS[hash]) };
	}
	/* RFC 9579 */
	const [derivation, scheme] = members(macAlgorithm.parameters);
	const hash = hmacOf(algorithm(scheme).id);
	const from = readPbkdf2(derivation);
	return { hash, forms: utf8Forms, derive: form => pbkdf2(from.hash, form, from.salt, from.rounds, from.length ?? HASH_LENGTHS[hash]) };
};

/* The reading of the password with which the MAC is right. */
const checkMac = async (node, content, typed) => {
	const [digestInfo, saltNode, roundsNode] = members(node);
	const [algorithmNode, digest] = members(digestInfo);
	const { hash, forms, derive } = macKeys(algorithm(algorithmNode), octets(saltNode), roundsNode ? integer(roundsNode) : 1);
	const fits = key => equal(mac(hash, key, content), octets(digest));
	for (const password of readings(typed)) {
		if (await firstThatFits(forms(password), async form => withSecret(await derive(form), fits)))
			return password;
	}
	throw wrongPassword();
};

/* ---- bags */

class Opening {
	/* passwords: those that may be right; it is narrowed to the first that opens something */
	constructor(passwords) {
		this.passwords = passwords;
		this.keys = [];
		this.certificates = [];
		this.protected = true;
	}

	async decrypt(algorithmNode, data) {
		for (const password of this.passwords) {
			const plain = await decrypt(algorithmNode, data, password);
			if (plain) {
				this.passwords = [password];
				return plain;
			}
		}
		throw wrongPassword();
	}

	async contents(octetsOfContents, decrypted) {
		let bags;
		try {
			bags = members(parse(octetsOfContents));
		} catch (e) {
			/* a wrong password can, one time in 256, leave a padding that looks right */
			throw decrypted ? wrongPassword() : e;
		}
		for (const bag of bags)
			await this.bag(bag, decrypted);
	}

	async bag(node, decrypted) {
		const [type, content] = members(node);
		switch (oid(type)) {
		case KEY_BAG:
			this.protected &&= decrypted;
			this.keys.push(Uint8Array.from(encoded(explicit(content))));
			break;
		case SHROUDED_KEY_BAG: {
			const [algorithmNode, data] = members(explicit(content));
			this.keys.push(await this.decrypt(algorithmNode, octets(data)));
			break;
		}
		case CERTIFICATE_BAG: {
			const [kind, certificate] = members(explicit(content));
			if (oid(kind) === X509)
				this.certificates.push(Uint8Array.from(octets(explicit(certificate))));
			break;
		}
		case CONTENTS_BAG:
			await this.contents(encoded(explicit(content)), decrypted);
		}
	}

	async safe(node) {
		const { type, content } = contentInfo(node);
		if (type === DATA)
			return this.contents(octets(content), false);
		if (type !== ENCRYPTED_DATA)
			throw new Refusal('unsupported');
		const [, encryptedContent] = members(content);
		const [, algorithmNode, data] = members(encryptedContent);
		/* what is taken from it is copied */
		await withSecret(await this.decrypt(algorithmNode, octets(data)), plain => this.contents(plain, true));
	}
}

/* { keys: PKCS#8 octets, which the caller wipes; certificates: DER octets; protected: whether the file's keys are
 * encrypted under a password }. Throws a Refusal: not-a-key-file, wrong-password, unsupported. */
export const openPkcs12 = async (file, typed) => {
	const [, authenticatedSafe, macData] = members(parse(file));
	const { type, content } = contentInfo(authenticatedSafe);
	if (type !== DATA)
		throw new Refusal('unsupported');
	const safes = octets(content);
	const passwords = macData ? [await checkMac(macData, safes, typed)] : readings(typed);
	const opening = new Opening(passwords);
	try {
		for (const safe of members(parse(safes)))
			await opening.safe(safe);
	} catch (e) {
		opening.keys.forEach(key => key.fill(0));
		throw e;
	}
	return { keys: opening.keys, certificates: opening.certificates, protected: opening.protected && typed !== '' };
};
