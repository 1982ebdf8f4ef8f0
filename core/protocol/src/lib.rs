//! All that a relay may know.
