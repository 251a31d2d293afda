-- Every process reads what was revoked last in this order, every two seconds.
CREATE INDEX revoked_card_order ON revoked_card (revoked, card_id);
