//! Points in time as people write them and as Kafka's tools print them.
//!
//! Reading is Kafka's `Utils.getDateTime` (a time without a zone is UTC) and takes shorter forms too. Printing is in
//! UTC: the tools carry no table of time zones.

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// A civil date and time, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub millisecond: u32,
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (Howard Hinnant's algorithm).
fn days(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * (i64::from(month) + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl Civil {
    /// The time `ms` milliseconds after 1970.
    pub fn of(ms: i64) -> Self {
        let (days, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let of_era = z.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let mp = (5 * of_year + 2) / 153;
        let day = of_year - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let small = |n: i64| u32::try_from(n).unwrap_or(0);
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: small(month),
            day: small(day),
            hour: small(rest / 3_600_000),
            minute: small(rest / 60_000 % 60),
            second: small(rest / 1000 % 60),
            millisecond: small(rest % 1000),
        }
    }

    /// `2026-11-21T08:15:00.000Z`.
    pub fn iso(&self) -> String {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            self.year, self.month, self.day, self.hour, self.minute, self.second, self.millisecond
        )
    }

    /// Java's `SimpleDateFormat` for the letters of dates and times; anything else stays as it is.
    pub fn java(&self, pattern: &str) -> String {
        let mut out = String::new();
        let mut rest = pattern;
        while let Some(letter) = rest.chars().next() {
            let run = rest.len() - rest.trim_start_matches(letter).len();
            let (this, after) = rest.split_at(run);
            let count = this.chars().count();
            rest = after;
            let number = match letter {
                'y' if count == 2 => self.year % 100,
                'y' | 'u' => self.year,
                'M' => i64::from(self.month),
                'd' => i64::from(self.day),
                'H' => i64::from(self.hour),
                'h' => i64::from((self.hour + 11) % 12 + 1),
                'm' => i64::from(self.minute),
                's' => i64::from(self.second),
                'S' => i64::from(self.millisecond),
                '\'' if count == 1 => {
                    let (quoted, after) = rest.split_once('\'').unwrap_or((rest, ""));
                    out.push_str(quoted);
                    rest = after;
                    continue;
                }
                'Z' | 'X' => {
                    out.push_str(if letter == 'X' { "Z" } else { "+0000" });
                    continue;
                }
                _ => {
                    out.push_str(this);
                    continue;
                }
            };
            out.push_str(&format!("{number:0count$}"));
        }
        out
    }
}

/// Milliseconds since 1970 of `YYYY-MM-DDTHH:mm:SS.sss` with `Z`, `+hh:mm`, `+hhmm`, `+hh` or nothing (UTC) behind it.
/// Seconds, their fraction and the whole time may be left out.
///
/// # Errors
/// A sentence that says what the form is.
pub fn parse(text: &str) -> Result<i64, String> {
    read(text).ok_or_else(|| {
        format!(
            "'{text}' is not a date and time: write YYYY-MM-DDTHH:mm:SS.sss, with Z or +hh:mm for a zone (UTC if none)"
        )
    })
}

fn read(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut date = date.split('-');
    let year = digits(date.next()?, 4)?;
    let month = u32::try_from(digits(date.next()?, 2)?).ok().filter(|m| (1..=12).contains(m))?;
    let day = u32::try_from(digits(date.next()?, 2)?).ok()?;
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let in_month = days(next.0, next.1, 1) - days(year, month, 1);
    if date.next().is_some() || day == 0 || i64::from(day) > in_month {
        return None;
    }
    let (time, offset_ms) = match time.find(['Z', '+', '-']) {
        None => (time, 0),
        Some(at) => (time.get(..at)?, zone_ms(time.get(at..)?)?),
    };
    let mut time = time.split(':');
    let hour = digits(time.next()?, 2).filter(|h| *h < 24)?;
    let minute = digits(time.next()?, 2).filter(|m| *m < 60)?;
    let (second, fraction) = match time.next() {
        None => (0, 0),
        Some(second) => {
            let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
            if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
            (digits(second, 2).filter(|s| *s < 60)?, ms)
        }
    };
    if time.next().is_some() {
        return None;
    }
    let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + fraction;
    days(year, month, day).checked_mul(DAY_MS)?.checked_add(of_day)?.checked_sub(offset_ms)
}

fn zone_ms(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let plain: String = zone.get(1..)?.chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = match plain.len() {
        2 => (plain.as_str(), "00"),
        4 => plain.split_at_checked(2)?,
        _ => return None,
    };
    let hours = digits(hours, 2).filter(|h| *h < 24)?;
    let minutes = digits(minutes, 2).filter(|m| *m < 60)?;
    Some(sign * (hours * 60 + minutes) * 60_000)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kafka_reads_and_shorter_forms() {
        assert_eq!(parse("1970-01-01T00:00:00.000"), Ok(0));
        assert_eq!(parse("2024-02-29T12:30:15.250Z"), Ok(1_709_209_815_250));
        assert_eq!(parse("2024-02-29T13:30:15.250+01:00"), Ok(1_709_209_815_250));
        assert_eq!(parse("2024-02-29T13:30:15.250+01"), Ok(1_709_209_815_250));
        assert_eq!(parse("2024-02-29T12:30"), Ok(1_709_209_800_000));
        assert_eq!(parse("2024-02-29"), Ok(1_709_164_800_000));
        for wrong in
            ["", "yesterday", "2023-02-29", "2024-13-01", "2024-02-29T25:00", "2024-02-29T12:30:15.x", "2024-2-9"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for ms in [0, 1_709_209_815_250, -1, 253_402_300_799_999, 951_868_800_000] {
            assert_eq!(parse(&Civil::of(ms).iso()), Ok(ms));
        }
        let time = Civil::of(1_709_209_815_250);
        assert_eq!(time.java("yyyy-MM-dd HH:mm:ss:SSS"), "2024-02-29 12:30:15:250");
        assert_eq!(time.java("yy/M/d 'at' h"), "24/2/29 at 12");
    }
}
