//! Functions of dates, timestamps and intervals.
//!
//! A subject of its own, so that the tables can be read side by side with the manual.

/// `name arguments result form`; see the parent for the notation.
pub(super) const TABLE: &str = "\
f age timestamp interval pg_age(pg_date_timestamp({today}), {0})
f age timestamp,timestamp interval pg_age({0}, {1})
f age timestamptz interval pg_age_timestamptz(pg_date_timestamptz({today}, {tz}), {0}, {tz})
f age timestamptz,timestamptz interval pg_age_timestamptz({0}, {1}, {tz})
f clock_timestamp () timestamptz pg_clock_timestamp()
f date_bin interval,timestamp,timestamp timestamp pg_date_bin({0}, {1}, {2})
f date_bin interval,timestamptz,timestamptz timestamptz pg_date_bin({0}, {1}, {2})
f date_part text,date float8 pg_date_part({0}, pg_date_timestamp({1}), 'timestamp', NULL)
f date_part text,interval float8 pg_date_part({0}, {1}, 'interval', NULL)
f date_part text,time float8 -
f date_part text,timestamp float8 pg_date_part({0}, {1}, 'timestamp', NULL)
f date_part text,timestamptz float8 pg_date_part({0}, {1}, 'timestamptz', {tz})
f date_trunc text,interval interval pg_date_trunc_interval({0}, {1})
f date_trunc text,timestamp timestamp pg_date_trunc_timestamp({0}, {1})
f date_trunc text,timestamptz timestamptz pg_date_trunc_timestamptz({0}, {1}, {tz})
f date_trunc text,timestamptz,text timestamptz pg_date_trunc_timestamptz({0}, {1}, pg_zone({2}))
f extract text,date numeric pg_extract({0}, {1}, 'date', NULL)
f extract text,interval numeric pg_extract({0}, {1}, 'interval', NULL)
f extract text,time numeric -
f extract text,timestamp numeric pg_extract({0}, {1}, 'timestamp', NULL)
f extract text,timestamptz numeric pg_extract({0}, {1}, 'timestamptz', {tz})
f isfinite date bool ({0} NOT IN (2147483647, -2147483648))
f isfinite interval bool ({0} IS NOT NULL OR NULL)
f isfinite timestamp bool ({0} NOT IN (9223372036854775807, -9223372036854775808))
f isfinite timestamptz bool ({0} NOT IN (9223372036854775807, -9223372036854775808))
f justify_days interval interval pg_justify_days({0})
f justify_hours interval interval pg_justify_hours({0})
f justify_interval interval interval pg_justify_interval({0})
f make_date int4,int4,int4 date pg_make_date({0}, {1}, {2})
f make_interval int4?,int4?,int4?,int4?,int4?,int4?,float8? interval pg_make_interval({0}, {1}, {2}, {3}, {4}, {5}, {6})
f make_time int4,int4,float8 time -
f make_timestamp int4,int4,int4,int4,int4,float8 timestamp pg_make_timestamp({0}, {1}, {2}, {3}, {4}, {5})
f make_timestamptz int4,int4,int4,int4,int4,float8 timestamptz pg_make_timestamptz({0}, {1}, {2}, {3}, {4}, {5}, {tz})
f make_timestamptz int4,int4,int4,int4,int4,float8,text timestamptz pg_make_timestamptz({0}, {1}, {2}, {3}, {4}, {5}, pg_zone({6}))
f now () timestamptz {now}
f overlaps time,interval,time,interval bool -
f overlaps time,interval,time,time bool -
f overlaps time,time,time,interval bool -
f overlaps time,time,time,time bool -
f overlaps timestamp,interval,timestamp,interval bool -
f overlaps timestamp,interval,timestamp,timestamp bool -
f overlaps timestamp,timestamp,timestamp,interval bool -
f overlaps timestamp,timestamp,timestamp,timestamp bool -
f overlaps timestamptz,interval,timestamptz,interval bool -
f overlaps timestamptz,interval,timestamptz,timestamptz bool -
f overlaps timestamptz,timestamptz,timestamptz,interval bool -
f overlaps timestamptz,timestamptz,timestamptz,timestamptz bool -
f statement_timestamp () timestamptz {statement}
f timeofday () text -
f timezone interval,timestamp timestamptz pg_timestamp_at_zone({1}, pg_interval_zone({0}))
f timezone interval,timestamptz timestamp pg_timestamptz_at_zone({1}, pg_interval_zone({0}))
f timezone text,timestamp timestamptz pg_timestamp_at_zone({1}, {0})
f timezone text,timestamptz timestamp pg_timestamptz_at_zone({1}, {0})
f to_char interval,text text -
f to_char timestamp,text text pg_to_char_timestamp({0}, {1})
f to_char timestamptz,text text pg_to_char_timestamptz({0}, {1}, {tz})
f to_date text,text date pg_to_date({0}, {1})
f to_timestamp float8 timestamptz pg_to_timestamp({0})
f to_timestamp text,text timestamptz -
f transaction_timestamp () timestamptz {now}
s generate_series timestamp,timestamp,interval timestamp timestamp
s generate_series timestamptz,timestamptz,interval timestamptz timestamptz
";
