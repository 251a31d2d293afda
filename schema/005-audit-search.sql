-- What is looked for and is rare, so that a search over years does not read them all: what administrators and browsers
-- did, and all that came from one address. (What did not go well: schema/003.)
CREATE INDEX audit_event_kind ON audit_event (kind, time) WHERE kind NOT IN ('proxy', 'service');
CREATE INDEX audit_event_address ON audit_event (address, time);
