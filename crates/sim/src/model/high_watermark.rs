//! The high watermark never falls: whoever was told one sees no lower one in an answer to a later question.

use super::{Checked, Partition, Violation};

/// The invariant's name.
const NAME: &str = "high_watermark";

/// A high watermark was told; `floor` is the highest that was known when the question was asked.
pub fn seen(partition: &mut Partition, floor: i64, high_watermark: i64) -> Checked {
    if high_watermark < floor && partition.may_have_lost.is_none() {
        return Err(Violation::new(NAME, format!("it was {floor} and is {high_watermark}")));
    }
    partition.high_watermark = partition.high_watermark.max(high_watermark);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_only() {
        let mut p = Partition::default();
        seen(&mut p, 0, 5).unwrap();
        // An answer that was under way when another came.
        seen(&mut p, 3, 4).unwrap();
        assert_eq!(p.high_watermark, 5);
        assert_eq!(seen(&mut p, 5, 4).unwrap_err().invariant, NAME);
    }
}
