/*
 * What is signed, and what the page shows of it: both come from the same octets.
 *
 * The SignedInfo must be, letter for letter, the one form that the gateway makes, and the digest in it must be that of
 * the card. So the signature covers the whole card, and nothing but it, and the fields below are read from the card.
 */
import { fromBase64, toBase64 } from './bytes.js';
import { Refusal } from './refusal.js';

const SAML = 'urn:oasis:names:tc:SAML:2.0:assertion';
const DS = 'http://www.w3.org/2000/09/xmldsig#';
const WSSE = 'http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd';
/* of the elements of a card */
const NAMESPACES = [SAML, DS, WSSE];
const EXC_C14N = 'http://www.w3.org/2001/10/xml-exc-c14n#';
const ALGORITHMS = [
	{ hash: 'SHA-1', signature: `${DS}rsa-sha1`, digest: `${DS}sha1` },
	{
		hash: 'SHA-256',
		signature: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
		digest: 'http://www.w3.org/2001/04/xmlenc#sha256',
	},
];

const text = octets => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(octets);

const signedInfo = ({ signature, digest }, value) =>
	`<ds:SignedInfo xmlns:ds="${DS}"><ds:CanonicalizationMethod Algorithm="${EXC_C14N}"></ds:CanonicalizationMethod>` +
	`<ds:SignatureMethod Algorithm="${signature}"></ds:SignatureMethod><ds:Reference URI="#IDCard"><ds:Transforms>` +
	`<ds:Transform Algorithm="${DS}enveloped-signature"></ds:Transform><ds:Transform Algorithm="${EXC_C14N}"></ds:Transform>` +
	`</ds:Transforms><ds:DigestMethod Algorithm="${digest}"></ds:DigestMethod><ds:DigestValue>${value}</ds:DigestValue>` +
	`</ds:Reference></ds:SignedInfo>`;

/* The page forbids scripts to parse text, but for this policy: XML, and no HTML. */
const policy = globalThis.trustedTypes?.createPolicy('sosi-xml', { createHTML: xml => xml });

const parseXml = xml => {
	const document = new DOMParser().parseFromString(policy ? policy.createHTML(xml) : xml, 'application/xml');
	/* Canonical octets are elements and text alone. What could not be parsed has an element of XHTML in it, where the
	 * error is told. */
	const walker = document.createTreeWalker(document, NodeFilter.SHOW_ALL);
	while (walker.nextNode()) {
		const { nodeType, namespaceURI } = walker.currentNode;
		if (nodeType !== Node.TEXT_NODE && !(nodeType === Node.ELEMENT_NODE && NAMESPACES.includes(namespaceURI)))
			throw new Refusal('bad-card');
	}
	return document.documentElement;
};

/* The one element of this name in the card; null when there is none. */
const one = (card, namespace, name) => {
	const found = card.getElementsByTagNameNS(namespace, name);
	if (found.length > 1)
		throw new Refusal('bad-card');
	return found[0] ?? null;
};

/* The attributes of all statements by their names: { text, format }. */
const attributes = card => {
	const found = new Map();
	for (const attribute of card.getElementsByTagNameNS(SAML, 'Attribute')) {
		const name = attribute.getAttribute('Name');
		const value = attribute.firstElementChild;
		if (found.has(name) || attribute.childElementCount !== 1 || value.localName !== 'AttributeValue' || value.childElementCount > 0)
			throw new Refusal('bad-card');
		found.set(name, { text: value.textContent, format: attribute.getAttribute('NameFormat') ?? '' });
	}
	return found;
};

const readFields = card => {
	const conditions = one(card, SAML, 'Conditions');
	const found = attributes(card);
	const value = name => found.get(name)?.text ?? '';
	const provider = found.get('medcom:CareProviderID');
	return {
		name: [value('medcom:UserGivenName'), value('medcom:UserSurName')].filter(part => part).join(' '),
		cpr: value('medcom:UserCivilRegistrationNumber'),
		role: value('medcom:UserRole'),
		occupation: value('medcom:UserOccupation'),
		authorisation: value('medcom:UserAuthorizationCode'),
		email: value('medcom:UserEmailAddress'),
		organisation: {
			name: value('medcom:CareProviderName'),
			number: provider?.text ?? '',
			kind: provider?.format.replace(/^medcom:/, '') ?? '',
		},
		system: value('medcom:ITSystemName'),
		level: value('sosi:AuthenticationLevel'),
		validFrom: new Date(conditions?.getAttribute('NotBefore')),
		validTo: new Date(conditions?.getAttribute('NotOnOrAfter')),
	};
};

const readCard = octets => {
	const card = parseXml(text(octets));
	if (card.namespaceURI !== SAML || card.localName !== 'Assertion' || card.getAttribute('id') !== 'IDCard' ||
	    one(card, DS, 'Signature'))
		throw new Refusal('bad-card');
	const fields = readFields(card);
	if (isNaN(fields.validFrom) || isNaN(fields.validTo))
		throw new Refusal('bad-card');
	return fields;
};

/* { hash, octets, fields }: the octets to sign, for the card that has these fields. Both arguments are base64. Throws a
 * Refusal: mismatch, bad-card. */
export const readOrder = async (cardBase64, signedInfoBase64) => {
	let card, octets;
	try {
		card = fromBase64(cardBase64);
		octets = fromBase64(signedInfoBase64);
		text(card);
	} catch {
		throw new Refusal('bad-card');
	}
	for (const algorithm of ALGORITHMS) {
		const digest = toBase64(new Uint8Array(await crypto.subtle.digest(algorithm.hash, card)));
		if (toBase64(octets) === btoa(signedInfo(algorithm, digest)))
			return { hash: algorithm.hash, octets, fields: readCard(card) };
	}
	throw new Refusal('mismatch');
};
