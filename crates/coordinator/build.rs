//! Generates the coordinators' records from `schema/group.msg`, `transaction.msg` and `share.msg`.

fn main() {
    logrun_codegen::build::coordinator();
}
