//! The settings about second factors: what is asked, and what counts.
//!
//! Invariant: a login provider is named whole, and over the network only by https.

use tombolo_protocol::record::Levels;

use super::Settings;
use crate::config::Fault;
use crate::login::LoginTerms;

impl Settings {
    pub(super) fn login(&mut self) -> Option<LoginTerms> {
        let issuer = self.text("oidc_issuer").map(ToOwned::to_owned);
        let audience = self.text("oidc_audience").map(ToOwned::to_owned);
        match (issuer, audience) {
            (Some(issuer), Some(audience)) => {
                if !issuer.starts_with("https://") && !is_plain_loopback(&issuer) {
                    self.blame_said("oidc_issuer", Fault::Expected("an https address"));
                }
                Some(LoginTerms { issuer, audience })
            }
            (Some(_), None) => {
                self.blame_said("oidc_issuer", Fault::Needs("--oidc-audience ID"));
                None
            }
            (None, Some(_)) => {
                self.blame_said("oidc_audience", Fault::Needs("--oidc-issuer ADDRESS"));
                None
            }
            (None, None) => None,
        }
    }

    pub(super) fn levels(&mut self) -> Levels {
        Levels {
            open: self.level("level_open"),
            append: self.level("level_append"),
            invite: self.level("level_invite"),
            membership: self.level("level_membership"),
        }
    }

    fn level(&mut self, key: &'static str) -> u8 {
        match self.one_of(key, &["1", "2", "3", "4"], "a level from 1 to 4") {
            Some("4") => 4,
            Some("3") => 3,
            Some("2") => 2,
            _ => 1,
        }
    }

    /// Tells whether codes by time are offered: where people log in, an authenticator that anybody may enrol
    /// first would be a way around it.
    pub(super) fn totp(&mut self) -> bool {
        match self.one_of("totp", &["on", "off"], "on or off") {
            Some(said) => said == "on",
            None => !self.said.contains_key("oidc_issuer"),
        }
    }
}

/// Tells whether an address is http to this very machine.
fn is_plain_loopback(address: &str) -> bool {
    let authority = address.strip_prefix("http://").and_then(|rest| rest.split('/').next());
    let host = authority.map(|authority| authority.rsplit_once(':').map_or(authority, |(host, _)| host));
    let bare = host.map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    bare.is_some_and(|host| host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}
