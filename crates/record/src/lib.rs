//! Record batches: view, builder, validation, compression, legacy formats.
