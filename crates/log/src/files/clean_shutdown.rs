//! `.kafka_cleanshutdown`: the last process closed its logs (Kafka's `CleanShutdownFileHandler`, KIP-966).
//!
//! A JSON object, `{"version":0,"brokerEpoch":42}`. Kafka before 3.7 left the file empty. It must be gone,
//! and its removal on the device, before the first append after a start.

use logrun_model::BrokerEpoch;

/// The file's name in each log directory.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The epoch under which the broker had been registered, for the controller to see that the shutdown
    /// was clean; [`BrokerEpoch::NONE`] if the file does not tell.
    pub broker_epoch: BrokerEpoch,
}

impl CleanShutdown {
    pub fn encode(self) -> Vec<u8> {
        format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.broker_epoch).into_bytes()
    }

    /// Reads the file. Whatever it contains, that it is there means that the shutdown was clean; an epoch
    /// that can't be made out is none.
    pub fn decode(file: &[u8]) -> Self {
        let epoch = std::str::from_utf8(file).ok().and_then(broker_epoch).unwrap_or(BrokerEpoch::NONE);
        Self { broker_epoch: epoch }
    }
}

fn broker_epoch(json: &str) -> Option<BrokerEpoch> {
    let (_, rest) = json.split_once("\"brokerEpoch\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '-')).unwrap_or(rest.len());
    rest[..end].parse().ok().map(BrokerEpoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_kafkas_json() {
        let c = CleanShutdown { broker_epoch: BrokerEpoch(42) };
        assert_eq!(c.encode(), br#"{"version":0,"brokerEpoch":42}"#);
        assert_eq!(CleanShutdown::decode(&c.encode()), c);
        assert_eq!(CleanShutdown::decode(br#"{ "brokerEpoch" : -1, "x": 2 }"#).broker_epoch, BrokerEpoch::NONE);
        for unknown in ["", "{}", "{\"brokerEpoch\":null}", "\u{0}"] {
            assert_eq!(CleanShutdown::decode(unknown.as_bytes()).broker_epoch, BrokerEpoch::NONE);
        }
    }
}
