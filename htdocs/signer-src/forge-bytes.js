/*
 * Stands in for forge's util, cipher and cipherModes, of which des and rc2 need next to nothing. Forge's own buffers
 * are strings, and a string of a decrypted key cannot be wiped; these are octets. (build.mjs puts this file there.)
 */
import forge from 'node-forge/lib/forge.js';

class Buffer {
	constructor(octets = new Uint8Array(0)) {
		this.octets = Uint8Array.from(octets);
		this.read = 0;
		this.end = this.octets.length;
	}

	length() {
		return this.end - this.read;
	}

	at(i) {
		return this.octets[this.read + i];
	}

	setAt(i, octet) {
		this.octets[this.read + i] = octet;
	}

	getByte() {
		return this.octets[this.read++];
	}

	getInt16Le() {
		return this.getByte() | this.getByte() << 8;
	}

	getInt32() {
		return this.getByte() << 24 | this.getByte() << 16 | this.getByte() << 8 | this.getByte();
	}

	putByte(octet) {
		if (this.end === this.octets.length) {
			const larger = new Uint8Array(2 * this.end + 64);
			larger.set(this.octets);
			this.octets.fill(0);
			this.octets = larger;
		}
		this.octets[this.end++] = octet;
	}

	putInt16Le(value) {
		this.putByte(value & 0xff);
		this.putByte(value >> 8 & 0xff);
	}

	putBuffer(buffer) {
		while (buffer.length() > 0)
			this.putByte(buffer.getByte());
	}
}

/* a function, for rc2.js calls it with `new` as well */
forge.util = {
	createBuffer: function (octets) {
		return new Buffer(octets);
	},
};
forge.cipher = { modes: {}, registerAlgorithm: () => {} };
