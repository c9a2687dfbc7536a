//! Which topics and partitions a tool is asked about: Kafka's `TopicFilter` and `TopicPartitionFilter`.

use logrun_model::is_internal_topic;
use regex::Regex;

use crate::failure::Failure;

/// Names that match a regular expression as a whole; commas part alternatives, as in Kafka's `IncludeList`.
#[derive(Clone, Debug)]
pub struct IncludeList(Regex);

impl IncludeList {
    /// # Errors
    /// It is no regular expression.
    pub fn new(pattern: &str) -> Result<Self, Failure> {
        let normal: String = pattern.trim().replace(',', "|").replace(' ', "");
        let normal = normal.trim_start_matches(['"', '\'']).trim_end_matches(['"', '\'']);
        Regex::new(&format!("^(?:{normal})$"))
            .map(Self)
            .map_err(|e| Failure::new(format!("{normal} is an invalid regex: {e}")))
    }

    /// Whether the topic is meant, and isn't an internal one that is to be left out.
    pub fn allows(&self, topic: &str, exclude_internal: bool) -> bool {
        self.0.is_match(topic) && !(exclude_internal && is_internal_topic(topic))
    }
}

/// Which partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Partitions {
    All,
    Among(Vec<i32>),
    /// From the first to before the second.
    Range(i32, i32),
}

impl Partitions {
    fn allows(&self, partition: i32) -> bool {
        match self {
            Self::All => true,
            Self::Among(list) => list.contains(&partition),
            Self::Range(from, to) => (*from..*to).contains(&partition),
        }
    }
}

/// Any of several rules, each a topic pattern and its partitions.
#[derive(Clone, Debug)]
pub struct TopicPartitionFilter(Vec<(IncludeList, Partitions)>);

impl TopicPartitionFilter {
    /// `--topic` and `--partitions`.
    ///
    /// # Errors
    /// The topic is no regular expression, or a partition is no number.
    pub fn of(topic: Option<&str>, partitions: Option<&str>) -> Result<Self, Failure> {
        let partitions = match partitions.filter(|p| !p.is_empty()) {
            None => Partitions::All,
            Some(list) => {
                Partitions::Among(list.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| {
                    Failure::new(format!(
                        "--partitions expects a comma separated list of numeric partition ids, but received: {list}"
                    ))
                })?)
            }
        };
        Ok(Self(vec![(IncludeList::new(topic.unwrap_or(".*"))?, partitions)]))
    }

    /// `--topic-partitions`: rules parted by commas, each `TOPIC`, `TOPIC:3`, `TOPIC:0-3`, `TOPIC:5-`, `TOPIC:-3`
    /// or without a topic.
    ///
    /// # Errors
    /// A rule has none of these forms.
    pub fn rules(text: &str) -> Result<Self, Failure> {
        text.split(',').map(Self::rule).collect::<Result<_, _>>().map(Self)
    }

    fn rule(text: &str) -> Result<(IncludeList, Partitions), Failure> {
        let invalid = || Failure::new(format!("Invalid rule specification: {text}"));
        let (topic, partitions) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str, without: i32| match text {
            "" => Ok(without),
            text => text.parse::<u32>().ok().and_then(|n| i32::try_from(n).ok()).ok_or_else(invalid),
        };
        let partitions = match partitions.split_once('-') {
            Some((from, to)) => Partitions::Range(number(from, 0)?, number(to, i32::MAX)?),
            None if partitions.is_empty() => Partitions::Range(0, i32::MAX),
            None => Partitions::Among(vec![number(partitions, 0)?]),
        };
        Ok((IncludeList::new(if topic.is_empty() { ".*" } else { topic })?, partitions))
    }

    /// Whether any partition of the topic may be meant.
    pub fn allows_topic(&self, topic: &str) -> bool {
        self.0.iter().any(|(topics, _)| topics.allows(topic, false))
    }

    /// Whether this partition is meant.
    pub fn allows(&self, topic: &str, partition: i32) -> bool {
        self.0.iter().any(|(topics, partitions)| topics.allows(topic, false) && partitions.allows(partition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_a_whole() {
        let list = IncludeList::new("first,se.*").expect("pattern");
        assert!(list.allows("first", false) && list.allows("second", false));
        assert!(!list.allows("first2", false) && !list.allows("afirst", false));
        assert!(!IncludeList::new(".*").expect("all").allows("__consumer_offsets", true));
        assert!(IncludeList::new("(").is_err());
    }

    #[test]
    fn rules_have_topics_and_partitions() {
        let filter = TopicPartitionFilter::rules("a:1,b:0-2,c,d:3-,:7").expect("rules");
        let all = [("a", 1), ("b", 0), ("b", 1), ("c", 9), ("d", 3), ("x", 7)];
        assert!(all.iter().all(|(t, p)| filter.allows(t, *p)));
        let none = [("a", 0), ("b", 2), ("d", 2), ("x", 6)];
        assert!(none.iter().all(|(t, p)| !filter.allows(t, *p)));
        assert!(TopicPartitionFilter::rules("a:x").is_err());
    }
}
