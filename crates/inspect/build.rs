//! Generates the descriptions of all messages that a log's records can hold, from `schema/`.

fn main() {
    logrun_codegen::build::descriptions();
}
