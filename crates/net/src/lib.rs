//! Listeners and connections: frames in, vectored responses out.
