//! All that a relay may not know.
