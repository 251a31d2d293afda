/* COPY FROM STDIN in text format. Rows are gathered and sent in pieces, so a row costs no call. */
#include "conn.h"

#include "buf.h"

#include <poll.h>
#include <string.h>

#define PIECE 65536
#define ROW_MAX (16 << 20)

int
db_copy_start(struct db_tx *tx, const char *copy_statement, struct db_copy **out, struct err *e)
{
	struct db_copy *c = &tx->copy;

	if (c->conn != NULL)
		return err_set(e, ERR_INTERNAL, "two COPY at once");
	if (conn_command(tx->conn, copy_statement, e) < 0)
		return -1;
	*c = (struct db_copy){ .conn = tx->conn };
	buf_init(&c->rows, ROW_MAX);
	*out = c;
	return 0;
}

void
db_copy_value(struct db_copy *c, struct slice value)
{
	static const char plain[] = "\b\f\n\r\t\v\\", escaped[] = "bfnrtv\\";

	if (c->begun)
		buf_putc(&c->rows, '\t');
	c->begun = true;
	if (value.p == NULL) {
		buf_puts(&c->rows, "\\N");
		return;
	}
	for (size_t i = 0, from = 0; i <= value.n; i++) {
		const char *special = i == value.n ? NULL : memchr(plain, value.p[i], sizeof plain - 1);
		if (i < value.n && special == NULL) {
			c->bad |= value.p[i] == '\0';
			continue;
		}
		buf_put(&c->rows, (struct slice){ value.p + from, i - from });
		if (special != NULL) {
			buf_putc(&c->rows, '\\');
			buf_putc(&c->rows, escaped[special - plain]);
		}
		from = i + 1;
	}
}

static int
send_rows(struct db_copy *c, struct err *e)
{
	struct slice rows = buf_slice(&c->rows);
	int64_t deadline = conn_deadline(c->conn);

	if (rows.p == NULL)
		return err_set(e, ERR_MEMORY, "rows of a COPY");
	for (;;) {
		int sent = PQputCopyData(c->conn->pg, rows.p, (int)rows.n);
		if (sent < 0)
			return conn_lost(c->conn, "COPY", e);
		if (sent > 0)
			break;
		if (conn_flush(c->conn, deadline, e) < 0)
			return -1;
	}
	buf_clear(&c->rows);
	return 0;
}

int
db_copy_row(struct db_copy *c, struct err *e)
{
	buf_putc(&c->rows, '\n');
	c->begun = false;
	if (c->bad)
		return err_set(e, ERR_INVALID, "a value of a COPY holds a NUL byte");
	return c->rows.failed || c->rows.n >= PIECE ? send_rows(c, e) : 0;
}

/* Says that the rows have ended (why NULL) or are to be thrown away, and reads the verdict. */
static int
end(struct db_copy *c, const char *why, struct err *e)
{
	int64_t deadline = conn_deadline(c->conn);
	int sent, done = 0;

	while ((sent = PQputCopyEnd(c->conn->pg, why)) == 0)
		if (conn_flush(c->conn, deadline, e) < 0)
			return -1;
	if (sent < 0)
		return conn_lost(c->conn, "COPY", e);
	for (;;) {
		PGresult *res;
		if (conn_next(c->conn, deadline, &res, e) < 0)
			return -1;
		if (res == NULL)
			return done;
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			done = conn_refused(res, e);
		PQclear(res);
	}
}

void
copy_abandon(struct db_copy *c)
{
	struct err ignored = { 0 };

	if (c->conn == NULL)
		return;
	if (!c->conn->broken)
		end(c, "abandoned", &ignored);
	buf_free(&c->rows);
	c->conn = NULL;
}

int
db_copy_end(struct db_copy *c, struct err *e)
{
	int done = c->bad ? err_set(e, ERR_INVALID, "a value of a COPY holds a NUL byte") : send_rows(c, e);

	if (done < 0) {
		copy_abandon(c);
		return -1;
	}
	done = end(c, NULL, e);
	buf_free(&c->rows);
	c->conn = NULL;
	return done;
}
