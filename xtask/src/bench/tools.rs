//! What Apache Kafka's performance programs print, read back into numbers.
//!
//! Their output is for people and changes with releases: a line that reads otherwise is an error, never a zero.

/// The last line of ProducerPerformance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Produced {
    pub records_per_second: f64,
    pub mib_per_second: f64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
}

/// The last line of ConsumerPerformance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Consumed {
    pub mib: f64,
    /// Of the time spent fetching, joining the group left out.
    pub fetch_mib_per_second: f64,
    pub records: f64,
}

/// The end of EndToEndLatency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndToEnd {
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
}

/// Reads ProducerPerformance's summary; with `--warmup-records` that of the steady state.
pub fn producer(output: &str) -> Result<Produced, String> {
    let summaries = || output.lines().filter(|l| l.contains("99.9th"));
    let line = summaries().rfind(|l| l.contains("steady state")).or_else(|| summaries().next_back());
    let line = line.ok_or_else(|| unlike("ProducerPerformance", output))?;
    // "N records sent, R records/sec (M MB/sec), A ms avg latency, X ms max latency, P ms 50th, …"
    let before = |unit: &str| {
        let (head, _) = line.split_once(unit)?;
        head.trim_end().rsplit([' ', '(']).next()?.parse::<f64>().ok()
    };
    let read = || {
        Some(Produced {
            records_per_second: before("records/sec")?,
            mib_per_second: before("MB/sec")?,
            mean_ms: before("ms avg latency")?,
            p50_ms: before("ms 50th")?,
            p95_ms: before("ms 95th")?,
            p99_ms: before("ms 99th")?,
            p999_ms: before("ms 99.9th")?,
        })
    };
    read().ok_or_else(|| unlike("ProducerPerformance", output))
}

/// Reads ConsumerPerformance's table by the names of its columns.
pub fn consumer(output: &str) -> Result<Consumed, String> {
    let mut lines = output.lines().skip_while(|l| !l.starts_with("start.time"));
    let read = || {
        let header: Vec<&str> = lines.next()?.split(',').map(str::trim).collect();
        let values: Vec<&str> = lines.next()?.split(',').map(str::trim).collect();
        let column = |name: &str| values.get(header.iter().position(|h| *h == name)?)?.parse::<f64>().ok();
        Some(Consumed {
            mib: column("data.consumed.in.MB")?,
            fetch_mib_per_second: column("fetch.MB.sec")?,
            records: column("data.consumed.in.nMsg")?,
        })
    };
    let mut read = read;
    read().ok_or_else(|| unlike("ConsumerPerformance", output))
}

/// Reads EndToEndLatency's two last lines.
pub fn end_to_end(output: &str) -> Result<EndToEnd, String> {
    let after = |key: &str| {
        let (_, rest) = output.split_once(key)?;
        rest.trim_start().split([' ', ',', '\n']).next()?.parse::<f64>().ok()
    };
    let read = || {
        Some(EndToEnd {
            mean_ms: after("Avg latency:")?,
            p50_ms: after("50th =")?,
            p99_ms: after("99th =")?,
            p999_ms: after("99.9th =")?,
        })
    };
    read().ok_or_else(|| unlike("EndToEndLatency", output))
}

fn unlike(program: &str, output: &str) -> String {
    let tail: Vec<&str> = output.lines().rev().take(12).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    format!("{program} printed something else than its summary:\n{}", tail.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCED: &str = "\
Warmup first 20000 records. Steady state results will print after the complete test summary.
40000 records sent, 7999.2 records/sec (7.81 MB/sec), 12.3 ms avg latency, 2545.0 ms max latency.
50000 records sent, 9840.582562 records/sec (9.61 MB/sec), 1732.81 ms avg latency, 2545.00 ms max latency, 1777 ms 50th, 2162 ms 95th, 2337 ms 99th, 2540 ms 99.9th.
30000 steady state records sent, 8678.044547 records/sec (8.47 MB/sec), 1902.98 ms avg latency, 2545.00 ms max latency, 1922 ms 50th, 2217 ms 95th, 2403 ms 99th, 2543 ms 99.9th.
";

    #[test]
    fn the_steady_state_is_read() {
        let produced = producer(PRODUCED).expect("summary");
        assert_eq!(produced.records_per_second, 8678.044547);
        assert_eq!(produced.mib_per_second, 8.47);
        assert_eq!((produced.mean_ms, produced.p50_ms), (1902.98, 1922.0));
        assert_eq!((produced.p95_ms, produced.p99_ms, produced.p999_ms), (2217.0, 2403.0, 2543.0));
        let whole = producer(&PRODUCED.lines().take(3).collect::<Vec<_>>().join("\n")).expect("summary");
        assert_eq!(whole.records_per_second, 9840.582562);
        producer("40000 records sent, 1.0 records/sec").expect_err("no summary");
    }

    #[test]
    fn the_consumers_columns_are_found_by_name() {
        let output = "\
start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
2026-11-21 05:20:14:697, 2026-11-21 05:20:17:742, 48.8281, 16.0355, 50000, 16420.3612, 2217, 828, 58.9712, 60386.4734
";
        let expected = Consumed { mib: 48.8281, fetch_mib_per_second: 58.9712, records: 50000.0 };
        assert_eq!(consumer(output), Ok(expected));
        consumer("start.time, end.time\n").expect_err("no values");
    }

    #[test]
    fn end_to_end_latency_is_read() {
        let output = "0\t397.678539\nAvg latency: 9.5330 ms\nPercentiles: 50th = 5, 99th = 70, 99.9th = 397\n";
        let expected = EndToEnd { mean_ms: 9.533, p50_ms: 5.0, p99_ms: 70.0, p999_ms: 397.0 };
        assert_eq!(end_to_end(output), Ok(expected));
        end_to_end("nothing").expect_err("no summary");
    }
}
