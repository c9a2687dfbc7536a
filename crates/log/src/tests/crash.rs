//! Crashes at every operation, compared with a model.
