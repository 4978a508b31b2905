/*
 * Time as a number, and its written forms.  Uses no time zone and no C library calendar.
 */
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STEP_MAX_MS                                                                                                    \
	5000 /* a wall clock that leaves the monotonic one by more was set, not slewed (DESIGN.md, Clock)              \
	      */
#define FLOOR_SLACK_S 2

struct clock
clock_read(void)
{
	struct timespec wall, mono;

	/* BOOTTIME counts sleep too: a machine that slept has not had its clock set. */
	if (clock_gettime(CLOCK_REALTIME, &wall) != 0 || clock_gettime(CLOCK_BOOTTIME, &mono) != 0) {
		perror("writ: clock_gettime");
		abort();
	}
	return (struct clock){ .wall = wall.tv_sec,
			       .wall_ns = wall.tv_nsec,
			       .mono_ms = (int64_t)mono.tv_sec * 1000 + mono.tv_nsec / 1000000 };
}

/* While latched, `last` stays the last right time: so the guard sees when the time is right again. */
bool
clock_guard_check(struct clock_guard *guard, struct clock now)
{
	const struct clock *last = &guard->last;
	const bool first = last->wall == 0 && last->mono_ms == 0;
	const int64_t wall_ms = (now.wall - last->wall) * 1000 + (now.wall_ns - last->wall_ns) / 1000000;
	const int64_t off_ms = first ? 0 : wall_ms - (now.mono_ms - last->mono_ms);

	guard->stepped = true;
	if (off_ms > STEP_MAX_MS || off_ms < -STEP_MAX_MS) {
		guard->step_s = off_ms / 1000;
		return false;
	}
	if (now.wall < guard->floor - FLOOR_SLACK_S) {
		guard->step_s = now.wall - guard->floor;
		return false;
	}
	guard->last = now;
	guard->stepped = false;
	guard->step_s = 0;
	return true;
}

/* The operator's word also lowers the floor; a right time within its slack does not, or it could creep backwards. */
void
clock_guard_accept(struct clock_guard *guard, struct clock now)
{
	guard->last = now;
	guard->stepped = false;
	guard->step_s = 0;
	if (guard->floor > now.wall)
		guard->floor = now.wall;
}

struct clock
clock_guard_time(const struct clock_guard *guard, struct clock now)
{
	const struct clock *last = &guard->last;
	const int64_t wall_ms = now.wall * 1000 + now.wall_ns / 1000000;
	const int64_t carried_ms = last->wall * 1000 + last->wall_ns / 1000000 + now.mono_ms - last->mono_ms;

	if (!guard->stepped || last->wall == 0 || wall_ms <= carried_ms)
		return now;
	return (struct clock){ .wall = carried_ms / 1000,
			       .wall_ns = carried_ms % 1000 * 1000000,
			       .mono_ms = now.mono_ms };
}

struct calendar {
	unsigned year, month, day; /* from 1 */
	unsigned hour, minute, second;
	unsigned weekday; /* 0: Sunday */
};

/* Days since 1970-01-01 of a Gregorian date; March is the first month here, so that the leap day comes last. */
static int64_t
days_of(unsigned year, unsigned month, unsigned day)
{
	const int64_t y = (int64_t)year - (month <= 2);
	const int64_t m = (month + 9) % 12;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* What lies outside 1970 to 9999 becomes the nearest end: the text forms have no room for more. */
static struct calendar
calendar_of(writ_time t)
{
	struct calendar c;
	int64_t days, year;

	t = t < 0 ? 0 : t > WRIT_TIME_MAX ? WRIT_TIME_MAX : t;
	days = t / 86400;
	year = 1970 + days / 366; /* at most a few years too early */
	while (days_of((unsigned)year + 1, 1, 1) <= days)
		year++;
	c.year = (unsigned)year;
	c.month = 12;
	while (days_of(c.year, c.month, 1) > days)
		c.month--;
	c.day = (unsigned)(days - days_of(c.year, c.month, 1)) + 1;
	c.hour = (unsigned)(t % 86400 / 3600);
	c.minute = (unsigned)(t % 3600 / 60);
	c.second = (unsigned)(t % 60);
	c.weekday = (unsigned)((days + 4) % 7);
	return c;
}

static bool
calendar_time(const struct calendar *c, writ_time *ret)
{
	static const uint8_t month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;

	if (c->month < 1 || c->month > 12 || c->day < 1 || c->hour > 23 || c->minute > 59 || c->second > 59)
		return false; /* second 60 too: RFC 5280 has no leap seconds */
	if (c->day > month_days[c->month - 1] + (c->month == 2 && leap ? 1u : 0u))
		return false;
	*ret = days_of(c->year, c->month, c->day) * 86400 + c->hour * 3600 + c->minute * 60 + c->second;
	return true;
}

/* `n` decimal digits as they stand. */
static bool
digits(const uint8_t *p, unsigned n, unsigned *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		*ret = *ret * 10 + (unsigned)(p[i] - '0');
	}
	return true;
}

static void
put(char *out, unsigned value, unsigned n)
{
	while (n > 0) {
		out[--n] = (char)('0' + value % 10);
		value /= 10;
	}
}

char *
writ_time_generalized(writ_time t, char out[WRIT_GENERALIZED_LEN + 1])
{
	const struct calendar c = calendar_of(t);

	put(out, c.year, 4);
	put(out + 4, c.month, 2);
	put(out + 6, c.day, 2);
	put(out + 8, c.hour, 2);
	put(out + 10, c.minute, 2);
	put(out + 12, c.second, 2);
	out[14] = 'Z';
	out[15] = '\0';
	return out;
}

bool
writ_time_from_generalized(struct writ_bytes text, writ_time *ret)
{
	struct calendar c = { 0 };
	const uint8_t *p = text.data;

	if (text.len != WRIT_GENERALIZED_LEN || p[14] != 'Z')
		return false;
	if (!digits(p, 4, &c.year) || !digits(p + 4, 2, &c.month) || !digits(p + 6, 2, &c.day))
		return false;
	if (!digits(p + 8, 2, &c.hour) || !digits(p + 10, 2, &c.minute) || !digits(p + 12, 2, &c.second))
		return false;
	return c.year >= 1970 && calendar_time(&c, ret);
}

char *
writ_time_rfc3339(writ_time t, char out[WRIT_RFC3339_LEN + 1])
{
	const struct calendar c = calendar_of(t);

	memcpy(out, "0000-00-00T00:00:00Z", WRIT_RFC3339_LEN + 1);
	put(out, c.year, 4);
	put(out + 5, c.month, 2);
	put(out + 8, c.day, 2);
	put(out + 11, c.hour, 2);
	put(out + 14, c.minute, 2);
	put(out + 17, c.second, 2);
	return out;
}

bool
writ_time_from_rfc3339(struct writ_bytes text, writ_time *ret)
{
	struct calendar c = { 0 };
	const uint8_t *p = text.data;

	if (text.len != WRIT_RFC3339_LEN || p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' ||
	    p[16] != ':' || p[19] != 'Z')
		return false;
	if (!digits(p, 4, &c.year) || !digits(p + 5, 2, &c.month) || !digits(p + 8, 2, &c.day))
		return false;
	if (!digits(p + 11, 2, &c.hour) || !digits(p + 14, 2, &c.minute) || !digits(p + 17, 2, &c.second))
		return false;
	return c.year >= 1970 && calendar_time(&c, ret);
}

char *
writ_time_http(writ_time t, char out[WRIT_HTTP_DATE_LEN + 1])
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const struct calendar c = calendar_of(t);

	memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", WRIT_HTTP_DATE_LEN + 1);
	memcpy(out, days + (size_t)3 * c.weekday, 3);
	put(out + 5, c.day, 2);
	memcpy(out + 8, months + (size_t)3 * (c.month - 1), 3);
	put(out + 12, c.year, 4);
	put(out + 17, c.hour, 2);
	put(out + 20, c.minute, 2);
	put(out + 23, c.second, 2);
	return out;
}
