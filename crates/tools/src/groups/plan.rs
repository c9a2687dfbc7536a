//! Where a group shall go on, worked out without asking anybody: topic arguments, CSV files, bounds.

use std::collections::BTreeMap;

use crate::cluster::Partition;
use crate::failure::Failure;
use crate::text::topic_partition;

/// The partitions of `topic:0,1,2`.
///
/// # Errors
/// It has another form.
pub fn partitions_of(argument: &str) -> Result<Vec<Partition>, Failure> {
    let form = || Failure::usage(format!("Invalid topic arg '{argument}', expected topic name and partitions"));
    let (topic, partitions) = argument.split_once(':').ok_or_else(form)?;
    if topic.is_empty() || partitions.contains(':') {
        return Err(form());
    }
    let number = |text: &str| {
        text.parse()
            .map(|p| (topic.to_owned(), p))
            .map_err(|_| Failure::usage(format!("Invalid partition '{text}' specified in topic arg '{argument}''")))
    };
    partitions.split(',').map(number).collect()
}

/// New offsets by group.
pub type Plan = BTreeMap<String, BTreeMap<Partition, i64>>;

/// A plan in CSV: `topic,partition,offset` for one group, with the group before it for several.
pub fn to_csv(plan: &Plan, one_group: bool) -> String {
    let quoted = |text: &str| match text.contains([',', '"', '\n', '\r', ' ']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut csv = String::new();
    for (group, offsets) in plan {
        for ((topic, partition), offset) in offsets {
            if !one_group {
                csv.push_str(&quoted(group));
                csv.push(',');
            }
            csv.push_str(&format!("{},{partition},{offset}\n", quoted(topic)));
        }
    }
    csv
}

/// Reads what [`to_csv`] writes; lines without a group are for `group`, if there is one.
///
/// # Errors
/// A line has another form.
pub fn of_csv(csv: &str, group: Option<&str>) -> Result<Plan, Failure> {
    let mut plan = Plan::new();
    for (at, line) in csv.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let wrong = || {
            let form = if group.is_some() { "topic,partition,offset" } else { "group,topic,partition,offset" };
            Failure::usage(format!("line {} is not {form}: {line}", at + 1))
        };
        let fields = fields(line);
        let (group, rest) = match (fields.as_slice(), group) {
            ([group, rest @ ..], _) if rest.len() == 3 => (group.as_str(), rest),
            (rest, Some(group)) if rest.len() == 3 => (group, rest),
            _ => return Err(wrong()),
        };
        let [topic, partition, offset] = rest else { return Err(wrong()) };
        let partition = partition.trim().parse().map_err(|_| wrong())?;
        let offset = offset.trim().parse().map_err(|_| wrong())?;
        plan.entry(group.to_owned()).or_default().insert((topic.clone(), partition), offset);
    }
    Ok(plan)
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                fields.last_mut().expect("one").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().expect("one").push(letter),
        }
    }
    fields
}

/// `offset` within what the partition has, and what to say if it had to be changed.
pub fn bounded(
    partition: &Partition,
    offset: i64,
    earliest: Option<i64>,
    latest: Option<i64>,
) -> (i64, Option<String>) {
    let name = topic_partition(&partition.0, partition.1);
    match (earliest, latest) {
        (_, Some(end)) if offset > end => (
            end,
            Some(format!(
                "New offset ({offset}) is higher than latest offset for topic partition {name}. Value will be set to {end}"
            )),
        ),
        (Some(start), _) if offset < start => (
            start,
            Some(format!(
                "New offset ({offset}) is lower than earliest offset for topic partition {name}. Value will be set to {start}"
            )),
        ),
        _ => (offset, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_with_partitions() {
        assert_eq!(partitions_of("t:0,2").ok(), Some(vec![("t".to_owned(), 0), ("t".to_owned(), 2)]));
        for wrong in ["t", "t:", "t:x", ":1", "t:1:2"] {
            assert!(partitions_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn csv_there_and_back() {
        let mut plan = Plan::new();
        plan.entry("a, \"b\"".to_owned()).or_default().insert(("t".to_owned(), 3), 7);
        assert_eq!(to_csv(&plan, true), "t,3,7\n");
        assert_eq!(to_csv(&plan, false), "\"a, \"\"b\"\"\",t,3,7\n");
        assert_eq!(of_csv(&to_csv(&plan, false), None).ok(), Some(plan.clone()));
        assert_eq!(of_csv("t,3,7", Some("a, \"b\"")).ok(), Some(plan));
        assert!(of_csv("t,3,7", None).is_err() && of_csv("t,x,7", Some("g")).is_err());
    }

    #[test]
    fn offsets_stay_within_the_partition() {
        let partition = ("t".to_owned(), 0);
        assert_eq!(bounded(&partition, 5, Some(2), Some(9)), (5, None));
        assert_eq!(bounded(&partition, 10, Some(2), Some(9)).0, 9);
        assert_eq!(bounded(&partition, -98, Some(2), Some(9)).0, 2);
        assert_eq!(bounded(&partition, 1, None, None), (1, None));
    }
}
