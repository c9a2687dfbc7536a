//! `kafka-dump-log`: Kafka's `DumpLogSegments`. What it prints is `logrun-inspect`'s; here are its options.

use std::ffi::OsString;
use std::process::ExitCode;

use logrun_inspect::kafka_dump::{DumpError, DumpOptions, PlainDecoder, RecordDecoder, dump};
use logrun_inspect::schema::CoordinatorLog;
use logrun_io::Io;
use logrun_tools::Failure;
use logrun_tools::options::{Given, HELP, Opt, Syntax, VERSION};

const SYNTAX: Syntax = Syntax {
    tool: "kafka-dump-log",
    about: "Shows what is in the files of a log: segments, indexes, snapshots of producers and of the metadata.",
    words: "",
    options: &[
        HELP,
        VERSION,
        Opt::value("files", "FILE,FILE,…", "The files to show, separated by commas (required)."),
        Opt::flag("print-data-log", "Show the records' keys and values; so does any decoder option."),
        Opt::flag("deep-iteration", "Show each record and not only batches; --print-data-log does it too."),
        Opt::flag("skip-record-metadata", "Leave out what surrounds keys and values, and control records."),
        Opt::flag("verify-index-only", "Hold the indexes against the log, without showing their entries."),
        Opt::flag("index-sanity-check", "Check the indexes only as a broker does when it starts."),
        Opt::value(
            "max-message-size",
            "BYTES",
            "The largest batch that an index entry may lead to (default: 5242880).",
        ),
        Opt::value("max-bytes", "BYTES", "Read only so much of each segment (default: 2147483647, all of it)."),
        Opt::maybe("key-decoder-class", "CLASS", DECODERS),
        Opt::maybe("value-decoder-class", "CLASS", DECODERS),
        Opt::flag("offsets-decoder", "The records are those of __consumer_offsets."),
        Opt::flag("transaction-log-decoder", "The records are those of __transaction_state."),
        Opt::flag("share-group-state-decoder", "The records are those of __share_group_state."),
        Opt::flag("cluster-metadata-decoder", "The records are those of __cluster_metadata."),
        Opt::flag("remote-log-metadata-decoder", "The records are those of __remote_log_metadata."),
    ],
    examples: &[
        "--print-data-log --files data/greetings-0/00000000000000000000.log",
        "--cluster-metadata-decoder --files data/__cluster_metadata-0/00000000000000000000.log",
        "--offsets-decoder --files data/__consumer_offsets-12/00000000000000000000.log",
    ],
};

const DECODERS: &str = "How keys or values are shown: StringDecoder (default), IntegerDecoder, LongDecoder or \
                        DefaultDecoder, with or without org.apache.kafka.tools.api.";

/// Runs the tool.
pub fn run(args: &[OsString]) -> ExitCode {
    logrun_tools::tool(&SYNTAX, args, |given, out| {
        let options = options(given)?;
        dump(Io::real().disk, &options, out, &mut std::io::stderr()).map_err(|e| match e {
            DumpError::Print(e) => e.into(),
            e => Failure::new(e.to_string()),
        })
    })
}

fn options(given: &Given<'_>) -> Result<DumpOptions, Failure> {
    given.require(&["files"])?;
    let bytes = |name: &str| -> Result<Option<u64>, Failure> {
        let n: Option<i32> = given.parsed(name)?;
        Ok(n.map(|n| u64::try_from(n).unwrap_or(0)))
    };
    let coordinators = [
        ("offsets-decoder", RecordDecoder::Coordinator(CoordinatorLog::Group)),
        ("transaction-log-decoder", RecordDecoder::Coordinator(CoordinatorLog::Transaction)),
        ("cluster-metadata-decoder", RecordDecoder::Metadata),
        ("remote-log-metadata-decoder", RecordDecoder::RemoteMetadata),
        ("share-group-state-decoder", RecordDecoder::Coordinator(CoordinatorLog::Share)),
    ];
    let named = coordinators.iter().find(|(name, _)| given.has(name)).map(|(_, decoder)| *decoder);
    let print_data_log = named.is_some()
        || ["print-data-log", "value-decoder-class", "key-decoder-class"].iter().any(|name| given.has(name));
    let decoder = match named {
        Some(decoder) => decoder,
        None => RecordDecoder::Plain {
            key: plain(given, "key-decoder-class")?,
            value: plain(given, "value-decoder-class")?,
        },
    };
    let files = given.value("files")?.unwrap_or_default();
    Ok(DumpOptions {
        print_data_log,
        verify_index_only: given.has("verify-index-only"),
        index_sanity_check: given.has("index-sanity-check"),
        files: files.trim_end_matches(',').split(',').map(str::to_owned).collect(),
        max_message_size: bytes("max-message-size")?.unwrap_or(5 << 20),
        max_bytes: bytes("max-bytes")?.filter(|n| *n != i32::MAX as u64),
        deep_iteration: print_data_log || given.has("deep-iteration"),
        skip_record_metadata: given.has("skip-record-metadata"),
        decoder,
    })
}

fn plain(given: &Given<'_>, name: &str) -> Result<PlainDecoder, Failure> {
    let Some(class) = given.value(name)? else { return Ok(PlainDecoder::default()) };
    PlainDecoder::of_class(class)
        .ok_or_else(|| Failure::new(format!("Failed to load decoder class {class}: no Java runs here. {DECODERS}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<DumpOptions, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        options(&SYNTAX.parse(&words)?)
    }

    #[test]
    fn options_as_kafka_reads_them() {
        let o = parse("-files a.log,b.index, --max-bytes 100").expect("valid");
        assert_eq!(o.files, ["a.log", "b.index"]);
        assert_eq!((o.max_bytes, o.deep_iteration, o.print_data_log), (Some(100), false, false));
        let o = parse("--files a.log --offsets-decoder --skip-record-metadata").expect("valid");
        assert_eq!(o.decoder, RecordDecoder::Coordinator(CoordinatorLog::Group));
        assert!(o.deep_iteration && o.print_data_log && o.skip_record_metadata);
        let o = parse("--files a.log --key-decoder-class org.apache.kafka.tools.api.LongDecoder").expect("a class");
        let (key, value) = (PlainDecoder::Long, PlainDecoder::Text);
        assert_eq!(o.decoder, RecordDecoder::Plain { key, value });
        for line in
            ["", "--files a --offsets", "--files a --max-bytes x", "--files a --value-decoder-class=com.example.Mine"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn help() {
        insta::assert_snapshot!("kafka_dump_log_help", SYNTAX.help());
    }
}
