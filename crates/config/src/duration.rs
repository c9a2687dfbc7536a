//! ISO 8601 durations as Java's `Duration.parse` takes them, for `share.auto.offset.reset` (KIP-1106).

/// Where a share group without a position begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// So many milliseconds before now.
    ByDuration(i64),
}

impl OffsetReset {
    /// `earliest`, `latest` or `by_duration:PnDTnHnMn.nS`; a negative duration is refused.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            _ => {
                let ms = duration_ms(text.strip_prefix("by_duration:")?)?;
                (ms >= 0).then_some(Self::ByDuration(ms))
            }
        }
    }
}

pub(crate) fn is_offset_reset(text: &str) -> bool {
    OffsetReset::parse(text).is_some()
}

/// The milliseconds of a duration such as `P1DT2H3M4.5S`: days, hours, minutes and seconds, each optional and in this
/// order, each with its own sign, any case, at least one of them. `None` if it is none or does not fit.
pub fn duration_ms(text: &str) -> Option<i64> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let rest = rest.strip_prefix(['P', 'p'])?;
    let (days, time) = match rest.find(['T', 't']) {
        Some(at) => (rest.get(..at)?, Some(rest.get(at + 1..)?)),
        None => (rest, None),
    };
    let mut total: i64 = 0;
    let mut any = false;
    if !days.is_empty() {
        let (n, unit, left) = number(days)?;
        if !unit.eq_ignore_ascii_case(&'d') || !left.is_empty() || n.has_fraction {
            return None;
        }
        total = total.checked_add(n.ms(86_400_000)?)?;
        any = true;
    }
    if let Some(mut time) = time {
        let mut units: &[(char, i64)] = &[('h', 3_600_000), ('m', 60_000), ('s', 1_000)];
        if time.is_empty() {
            return None;
        }
        while !time.is_empty() {
            let (n, unit, left) = number(time)?;
            let at = units.iter().position(|(u, _)| unit.eq_ignore_ascii_case(u))?;
            let (_, unit_ms) = *units.get(at)?;
            if n.has_fraction && unit_ms != 1_000 {
                return None;
            }
            total = total.checked_add(n.ms(unit_ms)?)?;
            units = units.get(at + 1..)?;
            time = left;
            any = true;
        }
    }
    if !any {
        return None;
    }
    if negative { total.checked_neg() } else { Some(total) }
}

struct Number {
    negative: bool,
    whole: i64,
    /// Of the fraction, the first three digits.
    thousandths: i64,
    has_fraction: bool,
}

impl Number {
    fn ms(&self, unit_ms: i64) -> Option<i64> {
        let ms = self.whole.checked_mul(unit_ms)?.checked_add(self.thousandths)?;
        Some(if self.negative { -ms } else { ms })
    }
}

/// A signed number, the unit behind it, and the rest.
fn number(text: &str) -> Option<(Number, char, &str)> {
    let end = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (digits, rest) = text.split_at_checked(end)?;
    let unit = rest.chars().next()?;
    let negative = digits.starts_with('-');
    let digits = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let (whole, fraction) = match digits.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let fraction_text = fraction.unwrap_or("");
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction_text) || fraction_text.len() > 9 {
        return None;
    }
    let thousandths = fraction_text.bytes().chain(*b"000").take(3).fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    let number = Number { negative, whole: whole.parse().ok()?, thousandths, has_fraction: fraction.is_some() };
    Some((number, unit, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("PT1H", Some(3_600_000)),
            ("P1DT2H3M4.5S", Some(93_784_500)),
            ("pt1h", Some(3_600_000)),
            ("PT1M-1S", Some(59_000)),
            ("-PT1S", Some(-1_000)),
            ("PT0S", Some(0)),
            ("P1Y", None),
            ("P", None),
            ("PT", None),
            ("PT1S1M", None),
            ("PT1.5H", None),
            ("1h", None),
            ("P1DT", None),
            ("PT99999999999999999999S", None),
        ] {
            assert_eq!(duration_ms(text), ms, "{text}");
        }
        assert_eq!(OffsetReset::parse("by_duration:P1D"), Some(OffsetReset::ByDuration(86_400_000)));
        assert_eq!(OffsetReset::parse("by_duration:-P1D"), None);
    }
}
