//! Every message of the protocol, one module each, generated from `schema/`: requests and responses, headers,
//! control records, the consumer protocol, storage and quorum files. A field's comment gives its declaration.

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
