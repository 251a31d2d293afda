#!/usr/bin/python3
"""What each operation does with each request: operation, form of the client's messages, card in the request, what the user has
already, setting of the organisation -> outcome. One table: flow_levels.py proves every row against running workers, and

    tests/flow/matrix.py --write

writes it into docs/interface.md, between the two marks; the flow tests check that this was done.
"""
import collections
import os
import re
import sys

DOCUMENT = os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', '..', 'docs', 'interface.md')
BEGIN, END = '<!-- matrix: tests/flow/matrix.py --write -->\n', '<!-- end of matrix -->\n'

Row = collections.namedtuple('Row', 'operation form card has setting outcome')
Card = collections.namedtuple('Card', 'kind level signed')	# signed: None, 'sts' or 'self'

FORMS = {'seal': 'prefixes (Seal)', 'wcf': 'default namespaces (WCF)', 'fmk': 'recorded (FMK)'}

USER, SIGNED_USER = ("a user's, level 4", "a user's, level 4, signed by the STS")
CARDS = {
	"a user's, level 1": Card('user', '1', None),
	"a user's, level 2": Card('user', '2', None),
	"a user's, level 3": Card('user', '3', None),
	USER: Card('user', '4', None),
	SIGNED_USER: Card('user', '4', 'sts'),
	"a user's, level 4, signed by the user": Card('user', '4', 'self'),
	"a system's, level 1": Card('system', '1', None),
	"a system's, level 3": Card('system', '3', None),
	"a system's, level 3, signed by the STS": Card('system', '3', 'sts'),
	"a system's, level 3, signed by the system": Card('system', '3', 'self'),
}

NOTHING, ORDER, CARD = 'nothing', 'an order', 'a card'
DEFAULT, PASS, WITHHELD_BY_ORGANISATION, WITHHELD_BY_CLIENT = ('', '`pass_signed_cards`', '`withhold_signature` of the organisation',
    '`withhold_signature` of the client')

KEPT, OWN, LOGIN = 'goes on with the kept card', 'goes on with its own card', '`sosigw_no_valid_idcard_in_cache` with implicit login'
NO_CARD, AWAITING, REQUEST = ('`sosigw_no_valid_idcard_in_cache`', '`sosigw_awaiting_signing`', '`sosigw_no_valid_idcard_in_request`')
DIGEST, SAME_DIGEST, OK, SHOWN, SHOWN_UNSIGNED, EMPTY = ('DigestValue and BrowserUrl', 'the DigestValue of that order', '`ok`', 'the card',
    'the card without its signature', 'HTTP 202, empty')


def forms_of(card):
	"""The recorded messages are a user's."""
	return FORMS if CARDS[card].kind == 'user' else ('seal', 'wcf')


def enough(card):
	"""Whether a card can be ordered with what such a card says (idcard_check_order)."""
	return (CARDS[card].kind, CARDS[card].level) in (('user', '1'), ('user', '4'), ('system', '3'))


def order_rows():
	name = 'requestIdCardDigestForSigning'
	for card in CARDS:
		for form in forms_of(card):
			yield Row(name, form, card, NOTHING, DEFAULT, DIGEST if enough(card) else REQUEST)
	for form in FORMS:
		yield Row(name, form, USER, ORDER, DEFAULT, SAME_DIGEST)
		yield Row(name, form, USER, CARD, DEFAULT, DIGEST)


def kept_rows():
	"""Operations that only find the user: the level does not matter."""
	for card in CARDS:
		for form in forms_of(card):
			yield Row('signIdCard', form, card, ORDER, DEFAULT, OK)
			yield Row('getValidIdCard', form, card, CARD, DEFAULT, SHOWN)
			yield Row('logout', form, card, CARD, DEFAULT, EMPTY)
			yield Row('logoutWithResponse', form, card, CARD, DEFAULT, OK)


def other_rows():
	for form in FORMS:
		yield Row('signIdCard', form, USER, NOTHING, DEFAULT, NO_CARD)
		yield Row('signIdCard', form, USER, CARD, DEFAULT, NO_CARD)
		yield Row('getValidIdCard', form, USER, NOTHING, DEFAULT, NO_CARD)
		yield Row('getValidIdCard', form, USER, ORDER, DEFAULT, AWAITING)
		yield Row('getValidIdCard', form, USER, CARD, WITHHELD_BY_ORGANISATION, SHOWN_UNSIGNED)
		yield Row('getValidIdCard', form, USER, CARD, WITHHELD_BY_CLIENT, SHOWN_UNSIGNED)
		for has in (NOTHING, ORDER):
			yield Row('logout', form, USER, has, DEFAULT, EMPTY)
			yield Row('logoutWithResponse', form, USER, has, DEFAULT, OK)
	for has in (NOTHING, ORDER, CARD):
		yield Row('createIdCardFromBST', 'seal', 'none; a bootstrap token', has, DEFAULT, SHOWN_UNSIGNED)


def proxy_outcome(card, has, setting):
	is_signed, level = CARDS[card].signed, CARDS[card].level
	if setting == PASS and (is_signed or level == '2'):
		return OWN
	if has == CARD:
		return KEPT
	if is_signed:
		return OWN if is_signed == 'sts' else REQUEST
	if level == '2':
		return NO_CARD
	return LOGIN if enough(card) else REQUEST


def proxy_rows():
	for card in CARDS:
		for form in forms_of(card):
			for has in (NOTHING, CARD):
				for setting in (DEFAULT, PASS):
					yield Row('proxy', form, card, has, setting, proxy_outcome(card, has, setting))
	for form in FORMS:
		yield Row('proxy', form, USER, ORDER, DEFAULT, LOGIN)


ROWS = [*order_rows(), *kept_rows(), *other_rows(), *proxy_rows()]


def groups():
	"""Rows that one test proves: (note, rows) for each operation and setting."""
	found = {}
	for row in ROWS:
		found.setdefault((row.operation, row.setting), []).append(row)
	return [(f'{op}, {setting}' if setting else op, rows) for (op, setting), rows in found.items()]


# ---- the document

def merge(rows, column, join):
	"""Rows that differ in one column become one."""
	found = {}
	for row in rows:
		key = row._replace(**{column: None})
		found.setdefault(key, [])
		if getattr(row, column) not in found[key]:
			found[key].append(getattr(row, column))
	return [key._replace(**{column: join(values)}) for key, values in found.items()]


def cards_together(cards):
	"""The kinds of card, those of users and of systems each once."""
	if set(cards) == set(CARDS):
		return 'any'
	out = []
	for kind in ("a user's, ", "a system's, "):
		out += [kind + '; '.join(c.removeprefix(kind) for c in cards if c.startswith(kind))] if any(c.startswith(kind) for c in cards) else []
	return '. '.join(out + [c for c in cards if c not in CARDS])


def for_people(rows):
	"""Rows that differ in form, card or what the user has become one. All forms: all that a card is tried in."""
	out = []
	for r in merge(rows, 'form', tuple):
		forms = 'all' if r.card in CARDS and r.form == tuple(forms_of(r.card)) else ', '.join(FORMS[f] for f in r.form)
		out.append(r._replace(form=forms))
	return merge(merge(out, 'card', cards_together), 'has', ' or '.join)


def render():
	lines = ['| operation | form | card in the request | the user has | setting | outcome |', '| --- | --- | --- | --- | --- | --- |']
	for operation in dict.fromkeys(r.operation for r in ROWS):
		for r in for_people([r for r in ROWS if r.operation == operation]):
			lines.append(f'| {operation} | {r.form} | {r.card} | {r.has} | {r.setting} | {r.outcome} |')
	return '\n'.join(lines) + '\n'


def document():
	with open(DOCUMENT, encoding='utf-8') as f:
		return f.read()


def updated(text):
	assert text.count(BEGIN) == text.count(END) == 1, 'the marks of the matrix'
	return re.sub(re.escape(BEGIN) + '.*?' + re.escape(END), lambda _: BEGIN + '\n' + render() + '\n' + END, text, flags=re.S)


if __name__ == '__main__':
	if sys.argv[1:] != ['--write']:
		sys.exit(__doc__)
	new = updated(document())
	with open(DOCUMENT, 'w', encoding='utf-8') as f:
		f.write(new)
