/* What the journals of this host hold goes to the database, each record once.
 *
 * How far a journal has arrived stands in its row of audit_journal and is written in the same transaction as
 * the records; it is read again, and locked, at the beginning of each transaction and remembered nowhere else. So
 * it does not matter whether a COMMIT whose answer was lost took place, nor how many ship at a time. Files are
 * removed by what the database says has arrived, and are kept a while longer: a database that is put back from a backup says
 * again that they have not. */
#include "audit.h"

#include "buf.h"
#include "folder.h"
#include "log.h"
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE (1024 * 1024)		/* bytes in one transaction */
#define LONGEST (RECORD_HEAD + RECORD_MOST)
#define PIECES 64			/* of one journal in one call */
#define ARENA (8 * 1024 * 1024)

/* How far a journal has arrived. */
struct place {
	int64_t id;			/* 0: never seen by the database */
	uint32_t segment;
	uint64_t position, sequence;
	uint8_t hash[RECORD_HASH];
	bool closed;
};
struct ship {
	const char *dir, *server;
	unsigned keep_s;
	struct db *db;
	EVP_MD_CTX *md;
	char *bytes;			/* PIECE */
	struct audit_shipped *out;
};
/* One transaction. */
struct batch {
	struct ship *s;
	const struct folder_journal *journal;
	struct arena *a;
	struct place at;
	struct db_copy *copy;
	uint64_t first, events;
	unsigned torn, damaged;
	const char *closed;
	bool busy;			/* another housekeeper has it just now */
	bool more;			/* the piece, or the segment, was not the last */
};

/* ---- reading */

/* -1: error; else bytes read, fewer than PIECE at the end of the file. A file that is not there is empty. */
static ssize_t
read_piece(const struct batch *b, struct err *e)
{
	char path[PATH_MAX];
	size_t n = 0;
	ssize_t got = 1;

	folder_path(path, b->s->dir, b->journal->name.p, b->at.segment);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_set(e, ERR_AUDIT, "%s: %s", path, strerror(errno));
	while (n < PIECE && got != 0) {
		got = pread(fd, b->s->bytes + n, PIECE - n, (off_t)(b->at.position + n));
		if (got < 0 && errno != EINTR) {
			err_set(e, ERR_AUDIT, "%s: %s", path, strerror(errno));
			close(fd);
			return -1;
		}
		n += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	return (ssize_t)n;
}

static void
note_damage(struct batch *b, const char *what)
{
	b->damaged++;
	log_msg(LOG_ERROR, "audit-damage", "%s.%u byte %" PRIu64 ": %s", b->journal->name.p, b->at.segment,
	    b->at.position, what);
}

static struct slice
time_text(struct arena *a, int64_t ms)
{
	struct tm tm;
	time_t t = (time_t)(ms / 1000);

	gmtime_r(&t, &tm);
	return arena_printf(a, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
	    tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

static struct slice
bytea(struct arena *a, const uint8_t hash[RECORD_HASH])
{
	char *p = arena_alloc(a, 2 * RECORD_HASH + 3);

	if (p == NULL)
		return (struct slice){ NULL, 0 };
	memcpy(p, "\\x", 2);
	for (size_t i = 0; i < RECORD_HASH; i++)
		snprintf(p + 2 + 2 * i, 3, "%02x", hash[i]);
	return (struct slice){ p, 2 + 2 * RECORD_HASH };
}

/* Whether the record follows the one before it; what does not is sent all the same, and said. */
static void
check_chain(struct batch *b, const struct record *r)
{
	uint8_t want[RECORD_HASH];

	record_chain(b->s->md, b->at.hash, r->payload, want);
	if (r->number != b->at.sequence + 1)
		note_damage(b, "records before this are missing");
	else if (memcmp(want, r->hash, sizeof want) != 0)
		note_damage(b, "the record does not fit the chain: it, or one before it, was changed");
}

static int
send_record(struct batch *b, struct db_tx *tx, const struct record *r, struct err *e)
{
	if (r->number <= b->at.sequence) {
		note_damage(b, "a record that was there before; left out");
		return 0;
	}
	check_chain(b, r);
	if (b->copy == NULL) {
		b->first = r->number;
		if (db_copy_start(tx, "COPY audit_record (journal, sequence, time, hash, payload) FROM STDIN",
		    &b->copy, e) < 0)
			return -1;
	}
	db_copy_value(b->copy, arena_printf(b->a, "%" PRId64, b->at.id));
	db_copy_value(b->copy, arena_printf(b->a, "%" PRIu64, r->number));
	db_copy_value(b->copy, time_text(b->a, r->time_ms));
	db_copy_value(b->copy, bytea(b->a, r->hash));
	db_copy_value(b->copy, r->payload);
	if (db_copy_row(b->copy, e) < 0)
		return -1;
	b->at.sequence = r->number;
	memcpy(b->at.hash, r->hash, RECORD_HASH);
	b->events += r->type == RECORD_EVENT;
	if (r->type == RECORD_END)
		b->closed = "clean";
	return 0;
}

/* Sends the whole records of the piece; moves b->at behind them and behind damage that is followed by a whole
 * record. What is left begins with something else. */
static int
send_piece(struct batch *b, struct db_tx *tx, struct slice *piece, bool at_end, struct err *e)
{
	struct record r;

	while (piece->n > 0 && b->closed == NULL) {
		size_t step;
		if (record_read(*piece, &r) == RECORD_WHOLE) {
			if (send_record(b, tx, &r, e) < 0)
				return -1;
			step = r.size;
		} else if (!at_end && piece->n < LONGEST) {
			return 0;	/* may go on in the next piece */
		} else {
			step = record_resume(*piece);
			if (step == piece->n && at_end)
				return 0;
			note_damage(b, "unreadable bytes are passed over");
			if (step == piece->n)
				step -= LONGEST;	/* a record may have begun in there */
		}
		*piece = slice_from(*piece, step);
		b->at.position += step;
	}
	return 0;
}

/* Nothing more comes in this segment: on to the next, or the journal has ended. */
static void
leave_segment(struct batch *b, size_t left)
{
	uint32_t next = b->at.segment + 1;

	if (left > 0) {
		b->torn++;
		b->at.position += left;
		log_msg(LOG_WARN, "audit-torn", "%s.%u ends with %zu bytes that are no whole record", b->journal->name.p,
		    b->at.segment, left);
	}
	while (next <= b->journal->last && !folder_has(b->s->dir, b->journal->name.p, next))
		next++;
	if (folder_has(b->s->dir, b->journal->name.p, next)) {
		b->at.segment = next;
		b->at.position = 0;
	} else {
		b->closed = "died";
	}
}

/* ---- the transaction */

static int
lock_place(struct batch *b, struct db_tx *tx, struct err *e)
{
	/* a housekeeper that is cut off from the database must not hold the others up */
	static const char sql[] = "SELECT id, segment, position, sequence, encode(hash, 'hex'), closed IS NOT NULL, "
	    "set_config('idle_in_transaction_session_timeout', '10000', true) "
	    "FROM audit_journal WHERE name = $1 FOR UPDATE SKIP LOCKED";
	struct db_rows *rows;

	if (db_tx_query(tx, b->a, sql, &b->journal->name, 1, &rows, e) < 0)
		return -1;
	if (db_count(rows) == 0)
		return 0;
	b->at = (struct place){ .id = db_int(rows, 0, 0, 0), .segment = (uint32_t)db_int(rows, 0, 1, 0),
		.position = (uint64_t)db_int(rows, 0, 2, 0), .sequence = (uint64_t)db_int(rows, 0, 3, 0),
		.closed = slice_is(db_value(rows, 0, 5), "t") };
	struct slice hex = db_value(rows, 0, 4);
	for (size_t i = 0; i < RECORD_HASH && hex.n == 2 * RECORD_HASH; i++)
		sscanf(hex.p + 2 * i, "%2hhx", &b->at.hash[i]);
	return 0;
}

/* Who writes it says its first record. */
static int
introduce(struct batch *b, struct db_tx *tx, struct err *e)
{
	struct slice params[3] = { b->journal->name, slice_of(b->s->server), S("unknown") };
	struct record r;

	b->at = (struct place){ .segment = b->journal->first };
	ssize_t n = read_piece(b, e);
	if (n < 0)
		return -1;
	if (record_read((struct slice){ b->s->bytes, (size_t)n }, &r) == RECORD_WHOLE && r.type == RECORD_BEGIN) {
		struct slice server, program;
		if (record_writer(b->a, r.payload, &server, &program)) {
			params[1] = server;
			params[2] = program;
		}
	}
	return db_tx_query(tx, b->a, "SELECT audit_register($1, $2, $3)", params, 3, NULL, e);
}

static int
store_place(struct batch *b, struct db_tx *tx, struct err *e)
{
	struct slice params[] = {
		arena_printf(b->a, "%" PRId64, b->at.id), arena_printf(b->a, "%u", b->at.segment),
		arena_printf(b->a, "%" PRIu64, b->at.position), arena_printf(b->a, "%" PRIu64, b->at.sequence),
		bytea(b->a, b->at.hash), slice_of(b->closed), arena_printf(b->a, "%u", b->torn),
		arena_printf(b->a, "%u", b->damaged),
	};

	return db_tx_query(tx, b->a, "UPDATE audit_journal SET segment = $2, position = $3, sequence = $4, hash = $5, "
	    "closed = $6, torn = torn + $7::integer, damaged = damaged + $8::integer, updated = now() WHERE id = $1",
	    params, sizeof params / sizeof *params, NULL, e);
}

static int
bring_in(struct batch *b, struct db_tx *tx, struct err *e)
{
	struct slice params[] = { arena_printf(b->a, "%" PRId64, b->at.id), arena_printf(b->a, "%" PRIu64, b->first),
		arena_printf(b->a, "%" PRIu64, b->at.sequence) };

	if (b->copy != NULL && (db_copy_end(b->copy, e) < 0 ||
	    db_tx_query(tx, b->a, "SELECT audit_apply($1, $2, $3)", params, 3, NULL, e) < 0))
		return -1;
	if (b->closed != NULL && db_tx_query(tx, b->a, "SELECT audit_orphans($1)", params, 1, NULL, e) < 0)
		return -1;
	return store_place(b, tx, e);
}

/* A segment that is gone before it arrived (a database put back from an older copy, a hand in the folder): the
 * chain will show what is missing. */
static void
pass_missing(const struct ship *s, const struct folder_journal *j, struct place *at)
{
	if (at->segment < j->first && !folder_has(s->dir, j->name.p, at->segment)) {
		at->segment = j->first;
		at->position = 0;
	}
}

static int
ship_batch(void *ctx, struct db_tx *tx, struct err *e)
{
	struct batch *b = ctx;

	if (lock_place(b, tx, e) < 0)
		return -1;
	if (b->at.id == 0 && (introduce(b, tx, e) < 0 || lock_place(b, tx, e) < 0))
		return -1;
	b->busy = b->at.id == 0;
	if (b->busy || b->at.closed)
		return 0;
	pass_missing(b->s, b->journal, &b->at);
	/* asked before reading: what is final then has all been written when it is read */
	bool final = folder_is_final(b->s->dir, b->journal->name.p, b->at.segment);
	ssize_t n = read_piece(b, e);
	if (n < 0)
		return -1;
	struct slice piece = { b->s->bytes, (size_t)n };
	bool at_end = n < PIECE;
	if (send_piece(b, tx, &piece, at_end, e) < 0)
		return -1;
	if (at_end && final && b->closed == NULL)
		leave_segment(b, piece.n);
	b->more = !at_end || final;
	return bring_in(b, tx, e);
}

/* ---- files */

static void
remove_file(const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT)
		log_msg(LOG_ERROR, "audit-remove", "%s: %s", path, strerror(errno));
}

/* Segments that have arrived whole, and need not be kept any longer. */
static void
remove_done(struct ship *s, const struct folder_journal *j, const struct place *at)
{
	char path[PATH_MAX];
	struct stat st;
	bool keeps = false;

	for (uint32_t i = j->first; i <= j->last && (at->closed || i < at->segment); i++) {
		folder_path(path, s->dir, j->name.p, i);
		if (stat(path, &st) < 0)
			continue;
		if (s->keep_s > 0 && time(NULL) - st.st_mtime < s->keep_s) {
			keeps = true;
			continue;
		}
		remove_file(path);
		s->out->files++;
	}
	if (at->closed && !keeps) {
		folder_lock_path(path, s->dir, j->name.p);
		remove_file(path);
	}
}

static bool
has_more(const struct ship *s, const struct folder_journal *j, const struct place *at)
{
	char path[PATH_MAX];
	struct stat st;

	if (at->closed)
		return false;
	folder_path(path, s->dir, j->name.p, at->segment);
	return (stat(path, &st) == 0 && (uint64_t)st.st_size > at->position) ||
	    folder_is_final(s->dir, j->name.p, at->segment);
}

static void
tell_closed(const struct batch *b)
{
	/* the technical log is a witness of its own: what it says here the central table must still hold */
	log_msg(LOG_INFO, "audit-closed", "%s: %s, number %" PRId64 ", record %" PRIu64 ", chain %s", b->journal->name.p,
	    b->closed, b->at.id, b->at.sequence, slice_from(bytea(b->a, b->at.hash), 2).p);
}

static int
ship_journal(struct ship *s, struct arena *a, const struct folder_journal *j, struct place *at, struct err *e)
{
	bool more = true;

	/* once per call up to where the journal ends just then: what is written meanwhile makes a batch next time */
	for (int i = 0; i < PIECES && more; i++) {
		struct batch b = { .s = s, .journal = j, .a = a };
		arena_reset(a);
		if (db_transaction(s->db, ship_batch, &b, e) < 0)
			return -1;
		if (b.busy)
			return 0;
		*at = b.at;
		at->closed |= b.closed != NULL;
		s->out->events += b.events;
		if (b.closed != NULL)
			tell_closed(&b);
		remove_done(s, j, at);
		more = b.more && !at->closed;
	}
	s->out->more |= more;
	return 0;
}

/* ---- all journals */

/* {a,b,c}: names hold nothing that must be quoted. */
static struct slice
name_array(struct arena *a, const struct folder_journal *list, size_t n)
{
	struct buf b;

	buf_init(&b, ARENA);
	for (size_t i = 0; i < n; i++) {
		buf_putc(&b, i == 0 ? '{' : ',');
		buf_put(&b, list[i].name);
	}
	buf_putc(&b, '}');
	struct slice array = arena_dup(a, buf_slice(&b));
	buf_free(&b);
	return array;
}

static int
load_places(struct ship *s, struct arena *a, const struct folder_journal *list, size_t n, struct place *at, struct err *e)
{
	struct slice array = name_array(a, list, n);
	struct db_rows *rows;

	if (array.p == NULL)
		return err_set(e, ERR_MEMORY, "%zu journals", n);
	if (db_query(s->db, a, "SELECT name, id, segment, position, closed IS NOT NULL FROM audit_journal "
	    "WHERE name = ANY ($1::text[])", &array, 1, &rows, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		at[i].segment = list[i].first;
		for (size_t row = 0; row < db_count(rows); row++)
			if (slice_eq(list[i].name, db_value(rows, row, 0)))
				at[i] = (struct place){ .id = db_int(rows, row, 1, 0),
					.segment = (uint32_t)db_int(rows, row, 2, 0),
					.position = (uint64_t)db_int(rows, row, 3, 0),
					.closed = slice_is(db_value(rows, row, 4), "t") };
	}
	return 0;
}

/* For the month of now and the next; a failure is no reason to send nothing: there is a default partition. */
static void
make_partitions(struct db *d, struct arena *a)
{
	struct err e = { 0 };

	if (db_query(d, a, "SELECT audit_partitions(now())", NULL, 0, NULL, &e) < 0)
		log_err(LOG_WARN, "audit-partitions", S(""), &e);
}

static int
ship_all(struct ship *s, struct arena *a, struct arena *batch, struct err *e)
{
	struct folder_journal *list;
	bool asked = false;
	size_t n;
	int rc = 0;

	if (folder_list(a, s->dir, &list, &n, e) < 0)
		return -1;
	folder_sweep(s->dir, list, n);
	struct place *at = n == 0 ? NULL : arena_alloc(a, n * sizeof *at);
	if (n == 0)
		return 0;
	if (at == NULL)
		return err_set(e, ERR_MEMORY, "%zu journals", n);
	if (load_places(s, a, list, n, at, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		remove_done(s, &list[i], &at[i]);
		pass_missing(s, &list[i], &at[i]);
		if (!has_more(s, &list[i], &at[i]))
			continue;
		if (!asked)
			make_partitions(s->db, a);
		asked = true;
		/* one journal that cannot be sent does not hold up the others */
		if (ship_journal(s, batch, &list[i], &at[i], e) < 0) {
			rc = -1;
			if (!db_is_up(s->db))
				break;
		}
	}
	return rc;
}

int
audit_ship(const char *dir, const char *server, unsigned keep_s, struct db *d, struct audit_shipped *out, struct err *e)
{
	struct arena *a = arena_new(ARENA), *batch = arena_new(ARENA);
	struct ship s = { .dir = dir, .server = server, .keep_s = keep_s, .db = d, .md = EVP_MD_CTX_new(), .bytes = malloc(PIECE),
		.out = out };
	int rc = -1;

	*out = (struct audit_shipped){ 0 };
	if (a == NULL || batch == NULL || s.bytes == NULL || s.md == NULL || EVP_DigestInit_ex(s.md, EVP_sha256(), NULL) != 1)
		err_set(e, ERR_MEMORY, "shipping");
	else
		rc = ship_all(&s, a, batch, e);
	arena_free(batch);
	arena_free(a);
	free(s.bytes);
	EVP_MD_CTX_free(s.md);
	return rc;
}
