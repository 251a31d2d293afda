/*
 * A little server in the gateway's place: signing pages after the page's contract with the script, under the gateway's
 * policy, for everything that is about the script alone. It keeps every octet that it was sent.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { config } from './harness.mjs';

export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types sosi-xml; report-uri /sosigw/csp";

const HEADERS = {
	'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-store',
	'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Resource-Policy': 'same-origin',
	'Permissions-Policy': 'camera=(), microphone=(), geolocation=()',
};
const HTDOCS = join(config.top, 'htdocs');
const read = name => readFileSync(join(HTDOCS, name));
const template = readFileSync(new URL('fixture.html', import.meta.url), 'utf8');

const escape = text => String(text).replace(/[&<>"\r\n\t]/g, c => `&#${c.charCodeAt(0)};`);
/* as canonical XML writes text */
const xmlText = text => String(text).replace(/[&<>\r]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#xD;' })[c]);

/* ---- cards */

export const LARS = {
	'medcom:UserCivilRegistrationNumber': '0501792275', 'medcom:UserGivenName': 'Lars Ærø', 'medcom:UserSurName': 'Larsen',
	'medcom:UserRole': '7170', 'medcom:UserAuthorizationCode': 'J0184', 'medcom:UserOccupation': 'Overlæge',
};
const SYSTEM = { 'medcom:ITSystemName': 'Sygdom.dk', 'medcom:CareProviderID': '20921897', 'medcom:CareProviderName': 'TRIFORK A/S' };

const iso = date => date.toISOString().replace(/\.\d+/, '');

/* A card in canonical form, without a signature. */
export const card = ({ user = LARS, system = SYSTEM, extra = '' } = {}) => {
	const attribute = ([name, value]) => `<saml:Attribute Name="${name}"${name === 'medcom:CareProviderID' ? ' NameFormat="medcom:cvrnumber"' : ''}>` +
		`<saml:AttributeValue>${xmlText(value)}</saml:AttributeValue></saml:Attribute>`;
	const statement = (id, attributes) => `<saml:AttributeStatement id="${id}">${Object.entries(attributes).map(attribute).join('')}</saml:AttributeStatement>`;
	const from = new Date(Date.now() - 300000);
	return `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" IssueInstant="${iso(from)}" Version="2.0" id="IDCard">` +
		'<saml:Issuer>SOSI-GW</saml:Issuer><saml:Subject><saml:NameID Format="medcom:cprnumber">0501792275</saml:NameID></saml:Subject>' +
		`<saml:Conditions NotBefore="${iso(from)}" NotOnOrAfter="${iso(new Date(+from + 8 * 3600000))}"></saml:Conditions>` +
		statement('IDCardData', { 'sosi:IDCardID': 'c2a0c9a4', 'sosi:IDCardVersion': '1.0.1', 'sosi:IDCardType': 'user', 'sosi:AuthenticationLevel': '4' }) +
		statement('UserLog', user) + statement('SystemLog', system) + `${extra}</saml:Assertion>`;
};

const DS = 'http://www.w3.org/2000/09/xmldsig#';
const EXC = 'http://www.w3.org/2001/10/xml-exc-c14n#';
const METHODS = {
	sha1: [`${DS}rsa-sha1`, `${DS}sha1`],
	sha256: ['http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', 'http://www.w3.org/2001/04/xmlenc#sha256'],
};

export const signedInfo = (octets, hash = 'sha1') =>
	`<ds:SignedInfo xmlns:ds="${DS}"><ds:CanonicalizationMethod Algorithm="${EXC}"></ds:CanonicalizationMethod>` +
	`<ds:SignatureMethod Algorithm="${METHODS[hash][0]}"></ds:SignatureMethod><ds:Reference URI="#IDCard"><ds:Transforms>` +
	`<ds:Transform Algorithm="${DS}enveloped-signature"></ds:Transform><ds:Transform Algorithm="${EXC}"></ds:Transform></ds:Transforms>` +
	`<ds:DigestMethod Algorithm="${METHODS[hash][1]}"></ds:DigestMethod><ds:DigestValue>${createHash(hash).update(octets).digest('base64')}` +
	'</ds:DigestValue></ds:Reference></ds:SignedInfo>';

/* ---- pages */

const formAttributes = attributes => Object.entries(attributes).filter(([, value]) => value !== undefined)
	.map(([name, value]) => ` ${name}="${escape(value)}"`).join('');

const render = (page, id) => {
	const { octets, info, seconds, now, remember, logon } = page;
	const attributes = logon ? { id: 'logon', 'data-challenge': logon.challenge, 'data-logonto': logon.logonto, 'data-hash': logon.hash } : {
		'id': 'sign', 'data-card': Buffer.from(octets).toString('base64'), 'data-signed-info': Buffer.from(info).toString('base64'),
		'data-extend': `/sosigw/sign/extend?page=${id}`,
	};
	return template.replace('FORM-ATTRIBUTES', () => formAttributes({
		...attributes, 'action': `/sosigw/sign/answer?page=${id}`, 'data-seconds': seconds, 'data-now': now, 'data-remember': remember && '',
	})).replace('TOKEN', id).replace('INTEGRITY', page.integrity ?? `sha384-${read('signer.js.sha384').toString().trim()}`)
		.replace(/<!-- card -->[^]*<!-- \/card -->/, part => logon ? '' : part);
};

const DONE = '<!DOCTYPE html><html lang="da"><head><title>Done</title></head><body><main><h1>Done</h1></main></body></html>';

export class Fixture {
	async start() {
		this.pages = new Map();
		this.received = [];
		this.reports = [];
		this.server = createServer((request, response) => this.handle(request, response));
		/* every octet, whatever the server makes of it */
		this.server.on('connection', socket => {
			socket.on('data', chunk => this.received.push(chunk));
		});
		await new Promise(done => this.server.listen(0, '127.0.0.1', done));
		this.port = this.server.address().port;
	}

	stop() {
		this.server.closeAllConnections();
		this.server.close();
	}

	/* Makes a page; its URL. Options: octets (the card), info (its SignedInfo), hash, seconds, now, remember, logon, extend (what
	 * is answered to a wish for more time), integrity. What was posted is in page(url).answers and .wishes. */
	add({ hash = 'sha1', octets = card(), ...options } = {}) {
		const id = String(this.pages.size + 1);
		this.pages.set(id, { octets, info: signedInfo(octets, hash), seconds: 60, answers: [], wishes: [], extend: [200, '60'], ...options });
		return `http://127.0.0.1:${this.port}/sosigw/sign/start?page=${id}`;
	}

	page(url) {
		return this.pages.get(new URL(url).searchParams.get('page'));
	}

	/* The one answer that was posted on a page: its form fields, and the signature as text. */
	answer(url) {
		const { answers } = this.page(url);
		if (answers.length !== 1)
			throw new Error(`${answers.length} answers`);
		const fields = new URLSearchParams(answers[0]);
		return { names: [...fields.keys()], token: fields.get('token'), text: Buffer.from(fields.get('signature'), 'base64').toString() };
	}

	/* Its signature as it was posted. */
	posted(url) {
		return new URLSearchParams(this.page(url).answers[0]).get('signature');
	}

	async handle(request, response) {
		const url = new URL(request.url, 'http://x');
		const chunks = [];
		for await (const chunk of request)
			chunks.push(chunk);
		const [status, type, body, headers = {}] = this.route(url, Buffer.concat(chunks).toString());
		response.writeHead(status, { 'Content-Type': type, ...HEADERS, ...headers }).end(body);
	}

	route(url, body) {
		const id = url.searchParams.get('page');
		const page = this.pages.get(id);
		switch (url.pathname) {
		case '/sosigw/sign/start':
			return [200, 'text/html; charset=utf-8', render(page, id)];
		case '/sosigw/sign/answer':
			page.answers.push(body);
			return [200, 'text/html; charset=utf-8', DONE];
		case '/sosigw/sign/extend':
			page.wishes.push(body);
			return [page.extend[0], 'text/plain', page.extend[1]];
		case '/sosigw/csp':
			this.reports.push(body);
			return [204, 'text/plain', ''];
		case '/sosigw/static/signer.js':
			return [200, 'text/javascript', this.script ?? read('signer.js')];
		case '/sosigw/static/page.css':
			return [200, 'text/css', read('page.css')];
		case '/favicon.ico':
			return [204, 'image/x-icon', ''];
		default:
			return [404, 'text/plain', ''];
		}
	}
}
