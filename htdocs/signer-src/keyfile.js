/*
 * The user's side of a signature: which file, which password, which certificate. Here is all that touches the secret
 * parts: the octets of the file and of the keys, and the password.
 */
import { pair, usable } from './certificates.js';
import { forget, keep, kept } from './keep.js';
import { byId, day, plain, setText, show, tell, text } from './page.js';
import { openPkcs12 } from './pkcs12.js';
import { Refusal } from './refusal.js';

const MOST_OCTETS = 1 << 20;

const readFile = async file => {
	if (file.size > MOST_OCTETS)
		throw new Refusal('file-too-big');
	return { name: file.name, octets: new Uint8Array(await file.arrayBuffer()) };
};

const describe = ({ certificate: { subject, issuer, notAfter } }) => {
	const values = {
		name: subject.name ?? '', organisation: subject.organisation ?? '', issuer: issuer.name ?? '', date: day(notAfter),
	};
	return text('certificate', values) ?? plain(Object.values(values).join(', '));
};

export class KeyFile {
	/* allowKeeping: the administrator lets users keep the encrypted file in the browser */
	constructor(allowKeeping) {
		this.input = byId('keyfile');
		this.password = byId('password');
		this.fieldset = byId('certificates');
		this.allowKeeping = allowKeeping;
		this.forgetChoice();
		this.input.addEventListener('change', () => this.forgetChoice());
		if (allowKeeping)
			this.offerKeeping();
	}

	async offerKeeping() {
		show('remember-line');
		byId('forget')?.addEventListener('click', async () => {
			await forget();
			this.stored = undefined;
			show('remembered', false);
			tell('forgotten');
			this.input.focus();
		});
		this.showKept(await kept());
	}

	showKept(file) {
		this.stored = file;
		if (file)
			setText('remembered-name', text('remembered-file', { name: file.name }) ?? plain(file.name));
		show('remembered', Boolean(file));
	}

	forgetChoice() {
		this.pairs = [];
		this.toKeep = undefined;
		this.fieldset.hidden = true;
		this.fieldset.querySelectorAll('p').forEach(line => line.remove());
	}

	askWhich() {
		for (const [i, one] of this.pairs.entries()) {
			const radio = Object.assign(document.createElement('input'), { type: 'radio', name: 'certificate', checked: i === 0 });
			const label = document.createElement('label');
			label.append(radio, ` ${describe(one)}`);
			const line = document.createElement('p');
			line.append(label);
			this.fieldset.append(line);
		}
		this.fieldset.hidden = false;
		this.fieldset.querySelector('input').focus();
	}

	/* Opens the file. The password field is empty from here on, however this ends. */
	async open(hash, now) {
		const typed = this.password.value;
		this.password.value = '';
		const chosen = this.input.files[0];
		if (!chosen && !this.stored)
			throw new Refusal('no-file');
		const file = chosen ? await readFile(chosen) : this.stored;
		const opened = await openPkcs12(file.octets, typed);
		const pairs = usable(await pair(opened, hash), now);
		/* a file whose key lies open in it is never kept: only what a password protects */
		this.toKeep = chosen && opened.protected ? file : undefined;
		return pairs;
	}

	async keepIfAsked() {
		if (!this.allowKeeping || !this.toKeep || !byId('remember')?.checked)
			return;
		if (await keep(this.toKeep))
			tell('remembered', { name: this.toKeep.name });
	}

	/* The pair that the user has chosen, or the only one there is; null as long as she has to choose. */
	async choose(hash, now) {
		if (this.pairs.length === 0) {
			this.pairs = await this.open(hash, now);
			if (this.pairs.length === 1)
				return this.pairs[0];
			this.askWhich();
			return null;
		}
		const radios = [...this.fieldset.querySelectorAll('input')];
		return this.pairs[radios.findIndex(radio => radio.checked)];
	}

	/* The key and certificate to sign with; null when the user has to choose among several first, and then comes again. */
	async take(hash, now) {
		const pair = await this.choose(hash, now);
		if (pair)
			await this.keepIfAsked();
		return pair;
	}

	/* Before anything is posted: nothing of the user's choice stays in the form. */
	clear() {
		this.password.value = '';
		this.input.value = '';
		this.forgetChoice();
	}
}
