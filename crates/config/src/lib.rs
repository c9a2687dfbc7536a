//! Every option declared once: parser, validation, typed structs, descriptions.
