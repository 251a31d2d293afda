/*
 * X.509 certificates: what the page shows of them, and which belongs to which private key.
 *
 * A key file's own hints (localKeyID) may be absent or wrong, so the key signs a fixed text and the certificate whose
 * public key verifies that is its own. The private key itself is never taken apart here.
 */
import { algorithm, encoded, isContext, members, octets, oid, parse } from './asn1.js';
import { equal, utf8 } from './bytes.js';
import { Refusal } from './refusal.js';

const RSA = '1.2.840.113549.1.1.1';
const ELLIPTIC = '1.2.840.10045.2.1';
const BASIC_CONSTRAINTS = '2.5.29.19';
const NAMES = { '2.5.4.3': 'name', '2.5.4.10': 'organisation' };
const SIGNATURE = 'RSASSA-PKCS1-v1_5';
/* Nobody's card and nobody's challenge. */
const PROBE = utf8('SOSI-GW: which certificate belongs to this key?');

/* The common name and the organisation; an attribute that comes twice counts the last time. */
const readName = node => {
	const name = { encoded: encoded(node) };
	for (const attribute of members(node).flatMap(members)) {
		const [type, value] = members(attribute);
		if (NAMES[oid(type)])
			name[NAMES[oid(type)]] = String(value.valueBlock.value);
	}
	return name;
};

const isAuthority = extensions => extensions.some(extension => {
	const parts = members(extension);
	return oid(parts[0]) === BASIC_CONSTRAINTS && members(parse(octets(parts.at(-1))))[0]?.valueBlock.value === true;
});

const readCertificate = der => {
	const fields = [...members(members(parse(der))[0])];
	if (isContext(fields[0], 0))
		fields.shift();
	const [, , issuer, validity, subject, publicKey, ...rest] = fields;
	const [notBefore, notAfter] = members(validity).map(time => time.toDate());
	const extensions = rest.filter(field => isContext(field, 3)).flatMap(field => members(members(field)[0]));
	return {
		der,
		issuer: readName(issuer),
		subject: readName(subject),
		notBefore,
		notAfter,
		publicKey: encoded(publicKey),
		isRsa: algorithm(members(publicKey)[0]).id === RSA,
		isAuthority: isAuthority(extensions),
	};
};

/* A certificate in a form that we cannot read is not the one to sign with. */
const readAll = list => list.flatMap(der => {
	try {
		return [readCertificate(der)];
	} catch {
		return [];
	}
});

/* Those that issued it, nearest first, without the root: whoever trusts that has it. */
const chainOf = (certificate, all) => {
	const chain = [];
	for (let at = certificate; chain.length < 4;) {
		const issuer = all.find(c => c.isAuthority && equal(c.subject.encoded, at.issuer.encoded));
		if (!issuer || equal(issuer.issuer.encoded, issuer.subject.encoded))
			break;
		chain.push(issuer);
		at = issuer;
	}
	return chain;
};

/* The algorithm of a PKCS#8 key: SEQUENCE { INTEGER version, SEQUENCE { OID ... Only its first octets are looked at. */
const keyAlgorithm = pkcs8 => {
	const headerEnd = at => at + 2 + (pkcs8[at + 1] & 0x80 ? pkcs8[at + 1] & 0x7f : 0);
	const version = headerEnd(0);
	const oidAt = headerEnd(version + 3);
	return oid(parse(pkcs8.slice(oidAt, oidAt + 2 + pkcs8[oidAt + 1])));
};

/* Not extractable: nothing, not even this script, gets the key out of it again. */
const importKey = (pkcs8, hash) =>
	crypto.subtle.importKey('pkcs8', pkcs8, { name: SIGNATURE, hash }, false, ['sign']);

const belongs = async (certificate, hash, signature) => {
	const publicKey = await crypto.subtle.importKey('spki', certificate.publicKey, { name: SIGNATURE, hash }, false, ['verify']);
	return crypto.subtle.verify(SIGNATURE, publicKey, signature, PROBE);
};

const pairsOf = async (pkcs8, hash, leaves, all) => {
	const key = await importKey(pkcs8, hash);
	const signature = await sign(key, PROBE);
	const pairs = [];
	for (const certificate of leaves) {
		if (await belongs(certificate, hash, signature))
			pairs.push({ key, certificate, chain: chainOf(certificate, all) });
	}
	return pairs;
};

export const sign = async (key, data) => new Uint8Array(await crypto.subtle.sign(SIGNATURE, key, data));

/* Every key of the file with its certificate, for signatures with this hash. The octets of the keys are wiped.
 * Throws a Refusal: ec-key, no-rsa-key. */
export const pair = async ({ keys, certificates }, hash) => {
	try {
		const all = readAll(certificates);
		const leaves = all.filter((c, i) => c.isRsa && !c.isAuthority && all.findIndex(d => equal(c.der, d.der)) === i);
		const algorithms = keys.map(keyAlgorithm);
		const pairs = [];
		for (const [i, pkcs8] of keys.entries()) {
			if (algorithms[i] === RSA)
				pairs.push(...await pairsOf(pkcs8, hash, leaves, all));
		}
		if (pairs.length === 0)
			throw new Refusal(algorithms.includes(ELLIPTIC) ? 'ec-key' : 'no-rsa-key');
		return pairs;
	} finally {
		keys.forEach(key => key.fill(0));
	}
};

/* Of these, the ones that can sign now. Throws a Refusal: expired, not-yet (with the date). */
export const usable = (pairs, now) => {
	const good = pairs.filter(({ certificate: c }) => c.notBefore <= now && now <= c.notAfter);
	if (good.length > 0)
		return good;
	const coming = pairs.find(({ certificate: c }) => c.notBefore > now);
	if (coming)
		throw new Refusal('not-yet', { date: coming.certificate.notBefore });
	const latest = Math.max(...pairs.map(({ certificate: c }) => c.notAfter));
	throw new Refusal('expired', { date: new Date(latest) });
};
