-- Formats of cards that were written and are not any more: until when. Such cards are in the cache as long as a card may
-- live, whoever wrote them, so a program that could not read them must not start before.
CREATE TABLE card_format_kept (
	format		integer PRIMARY KEY,
	until		timestamptz NOT NULL
);
