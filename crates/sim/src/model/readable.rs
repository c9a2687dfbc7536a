//! What lies between the log start and the high watermark can be read, and nothing at or above the high watermark is.

use super::{Checked, Partition, Violation};

/// The invariant's name.
const NAME: &str = "readable";

/// OFFSET_OUT_OF_RANGE was answered for `offset`; `high_watermark` is the highest known when it was asked.
pub fn out_of_range(partition: &Partition, offset: i64, high_watermark: i64) -> Checked {
    if offset >= partition.delete_asked && offset <= high_watermark && partition.may_have_lost.is_none() {
        return Err(Violation::new(
            NAME,
            format!(
                "{offset} is out of range; the log start is at most {}, the high watermark {high_watermark}",
                partition.delete_asked
            ),
        ));
    }
    Ok(())
}

/// A fetch from `offset` gave the records `first ..= last`, or none, and said where the high watermark is.
pub fn fetched(offset: i64, records: Option<(i64, i64)>, high_watermark: i64) -> Checked {
    match records {
        None if offset < high_watermark => {
            Err(Violation::new(NAME, format!("nothing was read at {offset}, the high watermark is {high_watermark}")))
        }
        Some((first, last)) if first > offset || last < offset => {
            Err(Violation::new(NAME, format!("{first} to {last} was read where {offset} was asked for")))
        }
        Some((_, last)) if last >= high_watermark => {
            Err(Violation::new(NAME, format!("{last} was read, the high watermark is {high_watermark}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_have_bounds() {
        fetched(5, None, 5).unwrap();
        fetched(5, Some((3, 6)), 7).unwrap();
        for (offset, records, hw) in [(5, None, 6), (5, Some((6, 7)), 9), (5, Some((3, 4)), 9), (5, Some((5, 9)), 9)] {
            assert_eq!(fetched(offset, records, hw).unwrap_err().invariant, NAME);
        }
        let p = Partition { delete_asked: 3, ..Partition::default() };
        out_of_range(&p, 2, 9).unwrap();
        out_of_range(&p, 10, 9).unwrap();
        assert_eq!(out_of_range(&p, 3, 9).unwrap_err().invariant, NAME);
    }
}
