//! Generates the metadata records from `schema/metadata.msg`.

fn main() {
    logrun_codegen::build::metadata();
}
