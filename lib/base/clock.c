#include "clock.h"

#include <stdatomic.h>

static _Atomic int64_t set_to;

void
clock_set(int64_t t)
{
	atomic_store(&set_to, t);
}

static int64_t
read_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
clock_now_ms(void)
{
	int64_t t = atomic_load(&set_to);

	return t != 0 ? t * 1000 : read_ms(CLOCK_REALTIME);
}

int64_t
clock_now(void)
{
	return clock_now_ms() / 1000;
}

int64_t
clock_mono_ms(void)
{
	return read_ms(CLOCK_MONOTONIC);
}

struct slice
clock_iso(struct arena *a, int64_t t)
{
	struct tm tm;
	time_t seconds = (time_t)t;

	if (gmtime_r(&seconds, &tm) == NULL)
		return (struct slice){ NULL, 0 };
	return arena_printf(a, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
	    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* Exactly `digits` digits at *s, which is moved behind them. */
static bool
number(struct slice *s, size_t digits, int *out)
{
	if (s->n < digits)
		return false;
	*out = 0;
	for (size_t i = 0; i < digits; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		*out = *out * 10 + (s->p[i] - '0');
	}
	*s = slice_from(*s, digits);
	return true;
}

static bool
literal(struct slice *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = slice_from(*s, 1);
	return true;
}

static bool
is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 to a day of the Gregorian calendar. */
static int64_t
day_number(int year, int month, int day)
{
	int64_t y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* The last Sunday of a month, as a day number; summer time changes on it at 01:00 UTC. */
static int64_t
last_sunday(int year, int month)
{
	int64_t last = day_number(year, month, days_in_month(year, month));

	return last - (last + 4) % 7;
}

static bool
is_danish_summer(int year, int64_t utc)
{
	return utc >= last_sunday(year, 3) * 86400 + 3600 && utc < last_sunday(year, 10) * 86400 + 3600;
}

/* Danish local time (CET/CEST) to UTC; the doubled hour in October is taken as summer time. */
static int64_t
from_danish(int year, int64_t local)
{
	int64_t summer = local - 7200;

	return is_danish_summer(year, summer) ? summer : local - 3600;
}

void
clock_danish(int64_t t, struct tm *out)
{
	time_t seconds = (time_t)t;

	/* the year of UTC is the right one in every month that has a change */
	gmtime_r(&seconds, out);
	seconds += is_danish_summer(out->tm_year + 1900, t) ? 7200 : 3600;
	gmtime_r(&seconds, out);
}

/* "+hh:mm" or "-hh:mm" to the end of s, in seconds. */
static bool
offset(struct slice *s, int *seconds)
{
	int sign = s->n > 0 && s->p[0] == '-' ? -1 : 1, h, m;

	if (!literal(s, '+') && !literal(s, '-'))
		return false;
	if (!number(s, 2, &h) || !literal(s, ':') || !number(s, 2, &m) || h > 14 || m > 59)
		return false;
	*seconds = sign * (h * 3600 + m * 60);
	return true;
}

static bool
fraction(struct slice *s)
{
	int digit;

	if (!literal(s, '.'))
		return true;
	if (!number(s, 1, &digit))
		return false;
	while (number(s, 1, &digit))
		;
	return true;
}

int
clock_parse(struct slice s, int64_t *t)
{
	int year, month, day, hour, minute, second, shift;

	if (s.p == NULL || !number(&s, 4, &year) || !literal(&s, '-') || !number(&s, 2, &month) ||
	    !literal(&s, '-') || !number(&s, 2, &day) || !literal(&s, 'T') || !number(&s, 2, &hour) ||
	    !literal(&s, ':') || !number(&s, 2, &minute) || !literal(&s, ':') ||
	    !number(&s, 2, &second) || !fraction(&s))
		return -1;
	if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
	    hour > 23 || minute > 59 || second > 59)
		return -1;
	int64_t local = day_number(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
	if (s.n == 0)
		*t = from_danish(year, local);
	else if (literal(&s, 'Z') && s.n == 0)
		*t = local;
	else if (offset(&s, &shift) && s.n == 0)
		*t = local - shift;
	else
		return -1;
	return 0;
}
