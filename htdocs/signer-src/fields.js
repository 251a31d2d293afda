/* Fills the page's list with what the card says. A field that the card has not loses its row. */
import { byId, dateTime, plain, text } from './page.js';

const NO_ROLE = 'urn:dk:healthcare:no-role';

const inWords = (kind, value) => value && (text(`${kind}-${value === NO_ROLE ? 'none' : value}`, { n: value }) ?? value);

/* Who looks over the shoulder need not see the last four digits. */
const maskedCpr = cpr => cpr.replace(/^(\d{6})-?\d{4}$/, '$1-****');

const organisation = ({ name, number, kind }) =>
	[name, number && (text(`kind-${kind}`, { n: number }) ?? number)].filter(part => part).join(', ');

export const fillCard = fields => {
	const shown = {
		'name': fields.name,
		'cpr': maskedCpr(fields.cpr),
		'role': inWords('role', fields.role),
		'occupation': fields.occupation,
		'authorisation': fields.authorisation,
		'email': fields.email,
		'organisation': organisation(fields.organisation),
		'system': fields.system,
		'level': inWords('level', fields.level),
		'valid-from': dateTime(fields.validFrom),
		'valid-to': dateTime(fields.validTo),
	};
	const card = byId('card');
	for (const place of card.querySelectorAll('[data-field]')) {
		const value = plain(shown[place.dataset.field] ?? '');
		place.textContent = value;
		(place.closest('[data-row]') ?? place).hidden = value === '';
	}
	card.hidden = false;
};
