/* A reason why there is no signature: the key of a text that the page holds in its language, and what goes into it. */
export class Refusal extends Error {
	constructor(text, values = {}) {
		super(text);
		this.text = text;
		this.values = values;
	}
}
