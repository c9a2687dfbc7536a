//! One partition's decisions: producer state, leader epochs, high watermark, last stable offset, fetch bounds.
