//! Bytes that a malicious or broken member may send.
