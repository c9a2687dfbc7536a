//! Spans and points of time as people write and read them: `90s`, `1h30m`, `2026-11-21T08:15`, `yesterday`.

use std::time::Duration;

use logrun_config::duration::duration_ms;
use logrun_tools::datetime::{self, Civil};

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

const UNITS: [(&str, i64); 6] =
    [("ms", 1), ("s", SECOND_MS), ("m", MINUTE_MS), ("h", HOUR_MS), ("d", DAY_MS), ("w", 7 * DAY_MS)];

/// The milliseconds of `90s`, `1h30m`, `500ms`, `7d`, `2w`, or of a duration of ISO 8601 as Kafka's tools take it
/// (`P1DT12H`).
///
/// # Errors
/// A sentence that says what the form is.
pub fn span_ms(text: &str) -> Result<i64, String> {
    let read = || {
        if text.starts_with(['P', 'p']) {
            return duration_ms(text).filter(|ms| *ms >= 0);
        }
        let mut rest = text;
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let n: i64 = rest.get(..digits)?.parse().ok()?;
            let behind = rest.get(digits..)?;
            let letters = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
            let (unit, after) = behind.split_at_checked(letters)?;
            let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
            total = total.checked_add(n.checked_mul(*ms)?)?;
            rest = after;
        }
        (!text.is_empty()).then_some(total)
    };
    read().ok_or_else(|| format!("'{text}' is not a span of time: write e.g. 90s, 15m, 1h30m, 7d, 2w or 500ms"))
}

/// For arguments that are a span.
///
/// # Errors
/// As [`span_ms`].
pub fn span_arg(text: &str) -> Result<Duration, String> {
    span_ms(text).map(|ms| Duration::from_millis(ms.unsigned_abs()))
}

/// Milliseconds since 1970 of a point of time: a span is so long before `now`; otherwise `now`, `today`, `yesterday`, a
/// date with or without a time (of UTC unless a zone is behind it), or milliseconds since 1970.
///
/// # Errors
/// A sentence that says what the forms are.
pub fn point_ms(text: &str, now: i64) -> Result<i64, String> {
    let today = now.div_euclid(DAY_MS) * DAY_MS;
    match text {
        "now" => return Ok(now),
        "today" => return Ok(today),
        "yesterday" => return Ok(today - DAY_MS),
        _ => {}
    }
    if let Ok(ago) = span_ms(text) {
        return Ok(now.saturating_sub(ago));
    }
    // A year has four digits; so many belong to milliseconds.
    if text.len() > 8
        && let Ok(ms) = text.parse::<i64>()
    {
        return Ok(ms);
    }
    datetime::parse(text).map_err(|_| {
        format!(
            "'{text}' is no point of time: write e.g. 2h (so long ago), today, yesterday, 2026-11-21, 2026-11-21T08:15 \
             (UTC, or with +01:00 behind it), or milliseconds since 1970"
        )
    })
}

/// A point of time as people read it: of UTC, to the millisecond.
pub fn stamp(ms: i64) -> String {
    Civil::of(ms).iso()
}

/// A span as people read it, to two units.
pub fn span(ms: i64) -> String {
    if ms < 0 {
        return format!("-{}", span(ms.saturating_neg()));
    }
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match ms % big / small {
        0 => format!("{}{big_unit}", ms / big),
        rest => format!("{}{big_unit} {rest}{small_unit}", ms / big),
    };
    match ms {
        0 => "0s".to_owned(),
        ms if ms < SECOND_MS => format!("{ms}ms"),
        ms if ms < MINUTE_MS => format!("{}s", ms / SECOND_MS),
        ms if ms < HOUR_MS => two(MINUTE_MS, "m", SECOND_MS, "s"),
        ms if ms < DAY_MS => two(HOUR_MS, "h", MINUTE_MS, "m"),
        _ => two(DAY_MS, "d", HOUR_MS, "h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans() {
        let cases = [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("7d", 7 * DAY_MS),
            ("2w", 14 * DAY_MS),
            ("0s", 0),
            ("P1DT12H", 36 * HOUR_MS),
        ];
        for (text, ms) in cases {
            assert_eq!(span_ms(text), Ok(ms), "{text}");
        }
        for wrong in
            ["", "2", "h", "2 h", "2x", "-2h", "1h30", "P", "99999999999999999999s", "9999999999999999w", "2hé"]
        {
            assert!(span_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn points() {
        let now = 1_709_209_815_250;
        let cases = [
            ("2h", now - 2 * HOUR_MS),
            ("now", now),
            ("today", 1_709_164_800_000),
            ("yesterday", 1_709_164_800_000 - DAY_MS),
            ("2024-02-29", 1_709_164_800_000),
            ("2024-02-29T12:30", 1_709_209_800_000),
            ("1709209815250", now),
        ];
        for (text, ms) in cases {
            assert_eq!(point_ms(text, now), Ok(ms), "{text}");
        }
        for wrong in ["tomorrow", "2024", "12:30", "2024-13-01"] {
            assert!(point_ms(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_as_people_read_them() {
        let shown = [0, 7, 1500, 61_000, 3_600_000, 5_400_000, 90 * HOUR_MS, -5000].map(span);
        assert_eq!(shown, ["0s", "7ms", "1s", "1m 1s", "1h", "1h 30m", "3d 18h", "-5s"]);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".*", ms in any::<i64>()) {
            let _ = span_ms(&text);
            let _ = point_ms(&text, 0);
            let _ = span(ms);
        }
    }
}
