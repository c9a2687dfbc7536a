//! Generates the message types, API keys and error codes from `schema/`.

fn main() {
    logrun_codegen::build::wire();
}
