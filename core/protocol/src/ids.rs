//! The names of things: newtypes over hashes, so that no id can stand where another belongs.
//!
//! Invariant: an id is derived from what it names, by the formula beside it; equal ids name equal
//! things. `Debug` shows a short form, `Display` the whole in lower-case hex.

use std::fmt;

use data_encoding::HEXLOWER;

use crate::bytes::{DecodeError, Reader};
use crate::hash::{hash, prefix};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// How many bytes it has.
            pub const BYTES: usize = $bytes;

            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Reads it from a slice of exactly its length.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Returns its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Reads it from the wire.
            ///
            /// # Errors
            /// [`DecodeError::Truncated`] if too few bytes are left.
            pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self)
            }

            /// Returns the first eight hex digits: enough for a person to tell two apart.
            #[must_use]
            pub fn short(&self) -> String {
                HEXLOWER.encode(&self.0).chars().take(8).collect()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                encoder.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                Self::from_slice(decoder.bytes()?)
                    .ok_or_else(|| minicbor::decode::Error::message(stringify!($name)))
            }
        }

        impl std::str::FromStr for $name {
            type Err = DecodeError;

            fn from_str(text: &str) -> Result<Self, DecodeError> {
                HEXLOWER
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| Self::from_slice(&bytes))
                    .ok_or(DecodeError::Invalid { field: stringify!($name) })
            }
        }
    };
}

id! {
    /// One long-term key pair: `H("device-id", sign_pub, box_pub)`.
    DeviceId, 32
}
id! {
    /// The devices of a person: `H("user-id", root_sign_pub)`.
    UserId, 32
}
id! {
    /// What is shared: the id of its genesis record.
    WorkspaceId, 32
}
id! {
    /// The first half of a [`WorkspaceId`], as it stands in entry headers.
    WorkspaceTag, 16
}
id! {
    /// One document: `H("document-id", device, incarnation, random16, crdt, app type)[..16]`.
    DocumentId, 16
}
id! {
    /// What a relay sees of a [`DocumentId`]: an HMAC of it under the workspace's blinding key.
    DocumentTag, 16
}
id! {
    /// One signed record of the membership log: `H("record", bytes without signature)`.
    RecordId, 32
}
id! {
    /// One entry: `H("entry", header, SHA-256(ciphertext ‖ tag))`.
    EntryHash, 32
}
id! {
    /// The lifetime of one workspace key; commits to the epoch's secret.
    EpochId, 32
}
id! {
    /// One relay: its Ed25519 public key.
    RelayId, 32
}
id! {
    /// One history of one workspace on one relay: random, new when the relay lost or reset it.
    LogId, 16
}
id! {
    /// Where two devices of a user meet on a relay: `H("link-rendezvous", token)[..16]`.
    RendezvousId, 16
}
id! {
    /// One chain of entries, in short: `H("chain", device, incarnation, document_tag, stream)[..8]`.
    ChainId, 8
}

impl DeviceId {
    /// Derives it from the device's two public keys.
    #[must_use]
    pub fn derive(sign_public: &[u8; 32], box_public: &[u8; 32]) -> Self {
        Self(hash("device-id", &[sign_public, box_public]))
    }
}

impl UserId {
    /// Derives it from the user's root public key.
    #[must_use]
    pub fn derive(root_public: &[u8; 32]) -> Self {
        Self(hash("user-id", &[root_public]))
    }
}

impl WorkspaceId {
    /// Returns the short form used in headers.
    #[must_use]
    pub fn tag(&self) -> WorkspaceTag {
        WorkspaceTag(prefix(&self.0))
    }
}

impl From<RecordId> for WorkspaceId {
    /// A workspace is named by its genesis record.
    fn from(genesis: RecordId) -> Self {
        Self(genesis.0)
    }
}

impl DocumentId {
    /// Derives it from what its first entry says of its creation.
    #[must_use]
    pub fn derive(device: &DeviceId, incarnation: Incarnation, random: &[u8; 16], crdt: u8, app_type: &[u8]) -> Self {
        let incarnation = incarnation.0.to_be_bytes();
        Self(prefix(&hash("document-id", &[&device.0, &incarnation, random, &[crdt], app_type])))
    }
}

/// One life of a device's store; a store found copied or rolled back starts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// One run of edits by one open document; never reused, so that two runs can not share an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(pub u64);

/// Which part of a document an entry belongs to; a role names the streams it may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub u8);

impl Stream {
    /// The document itself.
    pub const CONTENT: Self = Self(0);
    /// Remarks on it.
    pub const COMMENTS: Self = Self(1);
    /// Its name, trash mark and the app's metadata.
    pub const META: Self = Self(2);
}

/// One sequence of entries: who wrote it, in which life of the store, on which document stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainKey {
    /// The document it belongs to.
    pub document: DocumentTag,
    /// Its part.
    pub stream: Stream,
    /// Who writes it.
    pub device: DeviceId,
    /// In which life of that device's store.
    pub incarnation: Incarnation,
}

impl ChainKey {
    /// Returns the short form that dependencies name.
    #[must_use]
    pub fn id(&self) -> ChainId {
        let incarnation = self.incarnation.0.to_be_bytes();
        let parts: [&[u8]; 4] = [&self.device.0, &incarnation, &self.document.0, &[self.stream.0]];
        ChainId(prefix(&hash("chain", &parts)))
    }

    /// Returns the key under which a second branch of this chain is kept and asked for: that of a life which
    /// nobody lives. What stands in the branch names the chain's own key.
    #[must_use]
    pub fn branch(&self) -> Self {
        let life: [u8; 8] = prefix(&hash("branch", &[&self.id().0]));
        Self { incarnation: Incarnation(u64::from_be_bytes(life)), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text_and_refuses_other_lengths() {
        let id = DeviceId::derive(&[1; 32], &[2; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("ab".parse::<DeviceId>().is_err());
        assert_eq!(format!("{id:?}"), format!("DeviceId({})", id.short()));
    }
}
