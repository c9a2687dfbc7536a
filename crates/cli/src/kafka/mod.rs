//! Kafka's tools that need no broker to talk to: they work on files, or start and stop a node.
//!
//! The tools that are clients of a broker are in `logrun-tools`.

mod dump_log;
mod run_class;
mod server_start;
mod server_stop;
mod storage;
mod storage_args;
mod storage_scram;

use logrun_tools::Tool;

/// The tools of this module.
pub const TOOLS: &[Tool] = &[
    Tool { name: "kafka-dump-log", about: "Show what is in the files of a log", run: dump_log::run },
    Tool { name: "kafka-run-class", about: "Kafka's tools by the names of their classes", run: run_class::run },
    Tool { name: "kafka-server-start", about: "Start a node with Kafka's configuration file", run: server_start::run },
    Tool { name: "kafka-server-stop", about: "Stop the nodes that run on this machine", run: server_stop::run },
    Tool { name: "kafka-storage", about: "Format log directories, look at them, make ids", run: storage::run },
];
