//! A log that is not compacted has a record at every offset from its start to its end.

use super::{Audit, Checked, Violation};

/// The invariant's name.
const NAME: &str = "dense";

/// Looks for holes and for records outside of the log.
pub fn check(audit: &Audit) -> Checked {
    let mut next = audit.log_start;
    for (offset, tag) in &audit.records {
        if *offset != next {
            return Err(Violation::new(NAME, format!("{tag} is at {offset} where {next} was due")));
        }
        next += 1;
    }
    if next != audit.log_end {
        return Err(Violation::new(NAME, format!("the records end at {next}, the log at {}", audit.log_end)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Tag;

    #[test]
    fn holes_show() {
        let tag = Tag { writer: 0, number: 0 };
        let audit = |offsets: &[i64]| Audit {
            log_start: 1,
            log_end: 3,
            records: offsets.iter().map(|o| (*o, tag)).collect(),
            ..Audit::default()
        };
        check(&audit(&[1, 2])).unwrap();
        for offsets in [&[1][..], &[2], &[1, 3], &[0, 1, 2]] {
            assert_eq!(check(&audit(offsets)).unwrap_err().invariant, NAME);
        }
    }
}
