/*
 * The texts that are posted: a W3C XML Signature around the card's SignedInfo, and the log-on form of OpenSign
 * (openoces:signature), where the octets to sign are made here.
 */
import { toBase64, utf8 } from './bytes.js';
import { sign } from './certificates.js';

const DS = 'http://www.w3.org/2000/09/xmldsig#';
const OPENOCES = 'http://www.openoces.org/2006/07/signature#';
const C14N = 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315';
const ALGORITHMS = {
	'SHA-1': { signature: `${DS}rsa-sha1`, digest: `${DS}sha1` },
	'SHA-256': {
		signature: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
		digest: 'http://www.w3.org/2001/04/xmlenc#sha256',
	},
};

const keyInfo = ({ certificate, chain }) => '<ds:KeyInfo>' + [certificate, ...chain].map(({ der }) =>
	`<ds:X509Data><ds:X509Certificate>${toBase64(der)}</ds:X509Certificate></ds:X509Data>`).join('') + '</ds:KeyInfo>';

/* The signature over a card's SignedInfo, which stands in it as it came. */
export const signCard = async (pair, octets) => {
	const value = toBase64(await sign(pair.key, octets));
	return `<ds:Signature xmlns:ds="${DS}" Id="OCESSignature">${new TextDecoder().decode(octets)}` +
		`<ds:SignatureValue>${value}</ds:SignatureValue>${keyInfo(pair)}</ds:Signature>`;
};

/* Text as canonical XML writes it. */
const escape = text => text.replace(/[&<>\r]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#xD;' })[c]);

const property = (name, value) =>
	'<ds:SignatureProperty Target="signature"><openoces:Name>' + name + '</openoces:Name>' +
	`<openoces:Value Encoding="xml" VisibleToSigner="yes">${escape(value)}</openoces:Value></ds:SignatureProperty>`;

/* As it is signed, an element has the declarations that stand on the root; in the text it has them not again. */
const element = (name, declarations, rest) => `<ds:${name}${declarations}${rest}</ds:${name}>`;
const DECLARATIONS = ` xmlns:ds="${DS}" xmlns:openoces="${OPENOCES}"`;

/* The log-on form over a challenge for one host. */
export const signLogon = async (pair, hash, { challenge, logonto, time }) => {
	const { signature, digest } = ALGORITHMS[hash];
	const properties = [['action', 'logon'], ['challenge', challenge], ['logonto', logonto], ['TimeStamp', time]];
	const object = declarations => element('Object', declarations, ' Id="ToBeSigned"><ds:SignatureProperties>' +
		properties.map(([name, value]) => property(name, value)).join('') + '</ds:SignatureProperties>');
	const value = toBase64(new Uint8Array(await crypto.subtle.digest(hash, utf8(object(DECLARATIONS)))));
	const info = declarations => element('SignedInfo', declarations,
		`><ds:CanonicalizationMethod Algorithm="${C14N}"></ds:CanonicalizationMethod>` +
		`<ds:SignatureMethod Algorithm="${signature}"></ds:SignatureMethod><ds:Reference URI="#ToBeSigned">` +
		`<ds:DigestMethod Algorithm="${digest}"></ds:DigestMethod><ds:DigestValue>${value}</ds:DigestValue></ds:Reference>`);
	const signed = toBase64(await sign(pair.key, utf8(info(DECLARATIONS))));
	return `<openoces:signature${DECLARATIONS} version="0.1"><ds:Signature Id="signature">${info('')}` +
		`<ds:SignatureValue>${signed}</ds:SignatureValue>${keyInfo(pair)}${object('')}</ds:Signature></openoces:signature>`;
};
