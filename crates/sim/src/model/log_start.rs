//! The log start never falls, and rises no further than somebody asked for.
//!
//! Kafka writes it down once a minute (`log.flush.start.offset.checkpoint.interval.ms`): only behind a process that
//! did not stop in good order may records be there again that somebody deleted.

use super::{Checked, Partition, Violation};

/// The invariant's name.
const NAME: &str = "log_start";

/// A log start was told; `floor` is the highest that was known when the question was asked.
pub fn seen(partition: &mut Partition, floor: i64, log_start: i64) -> Checked {
    if log_start < floor && !partition.log_start_may_fall {
        return Err(Violation::new(NAME, format!("it was {floor} and is {log_start}")));
    }
    if log_start > partition.delete_asked {
        let asked = partition.delete_asked;
        return Err(Violation::new(NAME, format!("it is {log_start}; deletion was asked for up to {asked} only")));
    }
    partition.log_start = partition.log_start.max(log_start);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_as_far_as_it_was_asked_to() {
        let mut p = Partition::default();
        assert_eq!(seen(&mut p, 0, 1).unwrap_err().invariant, NAME);
        p.delete_asked = 5;
        seen(&mut p, 0, 5).unwrap();
        assert_eq!(seen(&mut p, 5, 3).unwrap_err().invariant, NAME);
    }
}
