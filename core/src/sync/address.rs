//! Addresses of relays: which may be dialled.
//!
//! Invariant: a plain address leads to this very machine.

use crate::error::AddressError;

/// Refuses what is no WebSocket address, and plain ones that would cross a network.
pub(super) fn judge_address(address: &str) -> Result<(), AddressError> {
    if address.len() > tombolo_protocol::limits::ADDRESS_BYTES_MAX {
        return Err(AddressError::TooLong);
    }
    let (plain, rest) = match (address.strip_prefix("ws://"), address.strip_prefix("wss://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(AddressError::NotWebSocket),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return Err(AddressError::NotWebSocket);
    }
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if plain && !loopback { Err(AddressError::PlainNotLoopback) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_stay_on_this_machine() {
        for good in ["ws://127.0.0.1:4000", "ws://localhost/v1", "ws://[::1]:9", "wss://relay.example.org"] {
            assert_eq!(judge_address(good), Ok(()), "{good}");
        }
        assert_eq!(judge_address("ws://relay.example.org"), Err(AddressError::PlainNotLoopback));
        assert_eq!(judge_address("ws://127.0.0.1.evil.example"), Err(AddressError::PlainNotLoopback));
        assert_eq!(judge_address("https://relay.example.org"), Err(AddressError::NotWebSocket));
        assert_eq!(judge_address("wss://"), Err(AddressError::NotWebSocket));
    }
}
