//! Relays, our place in their logs, what they hold of ours, and other devices' status rows.

use rusqlite::OptionalExtension as _;
use tombolo_crypto::Entropy;
use tombolo_protocol::hash::Digest;
use tombolo_protocol::ids::{DeviceId, LogId, RelayId};
use tombolo_protocol::log::Frontier;

use super::sql::sql;
use super::{StoreError, Tx, exact};

/// A relay that the app dialled.
#[derive(Clone, Debug)]
pub(crate) struct RelayRow {
    pub(crate) row: i64,
    pub(crate) address: String,
    /// The key it showed last; a new one means that it was replaced.
    pub(crate) key: Option<RelayId>,
    pub(crate) allow_proxy: bool,
    pub(crate) token: Option<String>,
}

/// Our place in one log.
#[derive(Clone, Debug)]
pub(crate) struct LogRow {
    pub(crate) id: LogId,
    pub(crate) frontier: Frontier,
    pub(crate) receipt: Option<Vec<u8>>,
    /// The name of the documents that were asked for all the way there; none for all.
    pub(crate) wanted: Option<Digest>,
}

/// A stored status row.
pub(crate) struct StatusEntry {
    pub(crate) device: DeviceId,
    pub(crate) row: Vec<u8>,
}

impl Tx<'_> {
    pub(crate) fn relays(&self) -> Result<Vec<RelayRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("relays"))?;
        let mut rows = statement.query([])?;
        let mut relays = Vec::new();
        while let Some(row) = rows.next()? {
            let address: String = row.get(1)?;
            let key: Option<Vec<u8>> = row.get(2)?;
            // A token that the disk has changed is as good as none: the relay will ask for it.
            let token = self.open_optional("relay", "token", address.as_bytes(), row.get(4)?).ok().flatten();
            relays.push(RelayRow {
                row: row.get(0)?,
                address,
                key: key.map(|key| exact("relay", key).map(RelayId::from_bytes)).transpose()?,
                allow_proxy: row.get(3)?,
                token: token.and_then(|token| String::from_utf8(token).ok()),
            });
        }
        Ok(relays)
    }

    pub(crate) fn insert_relay(
        &self,
        address: &str,
        allow_proxy: bool,
        token: Option<&str>,
        entropy: &mut dyn Entropy,
    ) -> Result<i64, StoreError> {
        let token =
            token.map(|token| self.cipher.seal("relay", "token", address.as_bytes(), token.as_bytes(), entropy));
        let mut statement = self.transaction.prepare_cached(sql!("insert_relay"))?;
        Ok(statement.query_row((address, allow_proxy, token), |row| row.get(0))?)
    }

    pub(crate) fn set_relay_key(&self, relay: i64, key: &RelayId) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("set_relay_key"))?.execute((relay, key.as_bytes()))?;
        Ok(())
    }

    /// Notes that a workspace has still to say who succeeds a relay's old key.
    pub(crate) fn await_succession(&self, relay: i64, workspace: i64, old: &RelayId) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("await_succession"))?.execute((relay, workspace, old.as_bytes()))?;
        Ok(())
    }

    /// Returns the relay's old keys whose successor a workspace has still to say.
    pub(crate) fn awaited_successions(&self, relay: i64, workspace: i64) -> Result<Vec<RelayId>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("awaited_successions"))?;
        let mut rows = statement.query([relay, workspace])?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            keys.push(RelayId::from_bytes(exact("succession", row.get(0)?)?));
        }
        Ok(keys)
    }

    /// Ends the wait: the log has the record, or there is nothing to succeed.
    pub(crate) fn end_succession(&self, relay: i64, workspace: i64, old: &RelayId) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("end_succession"))?.execute((relay, workspace, old.as_bytes()))?;
        Ok(())
    }

    pub(crate) fn log(&self, relay: i64, workspace: i64) -> Result<Option<LogRow>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("log"))?;
        let found = statement.query_row((relay, workspace), |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?, row.get::<_, Option<Vec<u8>>>(3)?))
        });
        let Some((id, frontier, receipt, wanted)) = found.optional()? else {
            return Ok(None);
        };
        let frontier = Frontier::decode(&frontier).map_err(|_| StoreError::Corrupt { table: "log" })?;
        // A name that the disk has changed is nobody's, and has the log compared.
        let wanted = wanted.map(|name| name.try_into().unwrap_or_default());
        Ok(Some(LogRow { id: LogId::from_bytes(exact("log", id)?), frontier, receipt, wanted }))
    }

    /// Moves our place in a log; a receipt of `None` keeps the one that is there.
    pub(crate) fn set_log(&self, relay: i64, workspace: i64, log: &LogRow) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("set_log"))?;
        let LogRow { id, frontier, receipt, wanted } = log;
        statement.execute((relay, workspace, id.as_bytes(), frontier.encode(), receipt, wanted))?;
        Ok(())
    }

    /// Forgets which records a log holds: they are about to be told anew.
    pub(crate) fn forget_placed_records(&self, relay: i64, workspace: i64) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("forget_placed_records"))?.execute((relay, workspace))?;
        Ok(())
    }

    /// Forgets how far this device has come in a log, and which entries it holds; not which records.
    pub(crate) fn forget_place(&self, relay: i64, workspace: i64) -> Result<(), StoreError> {
        for statement in [sql!("forget_log"), sql!("forget_placed"), sql!("forget_agreed"), sql!("forget_declarations")]
        {
            self.transaction.prepare_cached(statement)?.execute((relay, workspace))?;
        }
        Ok(())
    }

    /// Forgets up to where a device agreed on the logs of a workspace.
    pub(crate) fn forget_agreed_of(&self, workspace: i64, device: &DeviceId) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("forget_agreed_of"))?.execute((workspace, device.as_bytes()))?;
        Ok(())
    }

    /// Forgets everything that was known of one log: it is gone, or not to be believed.
    pub(crate) fn forget_log(&self, relay: i64, workspace: i64) -> Result<(), StoreError> {
        for statement in [
            sql!("forget_log"),
            sql!("forget_placed"),
            sql!("forget_agreed"),
            sql!("forget_placed_records"),
            sql!("forget_declarations"),
        ] {
            #[cfg(feature = "planted-bugs")]
            if tombolo_protocol::planted::Bug::WipeNotNoticed.is_planted() && statement == sql!("forget_placed") {
                continue;
            }
            self.transaction.prepare_cached(statement)?.execute((relay, workspace))?;
        }
        Ok(())
    }

    pub(crate) fn place(&self, relay: i64, chain: i64, seq: u64, position: u64) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("place"))?;
        statement.execute((relay, chain, seq.cast_signed(), position.cast_signed()))?;
        Ok(())
    }

    /// Takes back what was believed of a chain: the log holds it only up to `seq`.
    pub(crate) fn unplace(&self, relay: i64, chain: i64, seq: u64) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("unplace"))?.execute((relay, chain, seq.cast_signed()))?;
        Ok(())
    }

    pub(crate) fn placed(&self, relay: i64, chain: i64) -> Result<Option<(u64, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("placed"))?;
        let found = statement.query_row((relay, chain), |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
        });
        Ok(found.optional()?)
    }

    pub(crate) fn declare(&self, log: (i64, i64), position: u64, chain: i64, seq: u64) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("declare"))?;
        statement.execute((log.0, log.1, position.cast_signed(), chain, seq.cast_signed()))?;
        Ok(())
    }

    /// Returns which entry (chain and seq) the item at a position declared.
    pub(crate) fn declaration_at(&self, log: (i64, i64), position: u64) -> Result<Option<(i64, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("declaration_at"))?;
        let found = statement.query_row((log.0, log.1, position.cast_signed()), |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()))
        });
        Ok(found.optional()?)
    }

    /// Returns position and seq of the newest item that declares a chain.
    pub(crate) fn declaration_of_chain(&self, relay: i64, chain: i64) -> Result<Option<(u64, u64)>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("declaration_of_chain"))?;
        let found = statement.query_row((relay, chain), |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
        });
        Ok(found.optional()?)
    }

    pub(crate) fn set_status(&self, workspace: i64, device: &DeviceId, nth: u64, row: &[u8]) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("set_status"))?;
        statement.execute((workspace, device.as_bytes(), nth.cast_signed(), row))?;
        Ok(())
    }

    /// Forgets what a device said of itself: it can not be.
    pub(crate) fn forget_status(&self, workspace: i64, device: &DeviceId) -> Result<(), StoreError> {
        self.transaction.prepare_cached(sql!("forget_status"))?.execute((workspace, device.as_bytes()))?;
        Ok(())
    }

    /// Notes that another device was given a log up to a place as this one was.
    pub(crate) fn agree(&self, at: (i64, i64), device: &DeviceId, position: u64) -> Result<(), StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("agree"))?;
        statement.execute((at.0, at.1, device.as_bytes(), position.cast_signed()))?;
        Ok(())
    }

    /// Returns up to where another device was given a log as this one was.
    pub(crate) fn agreed(&self, at: (i64, i64), device: &DeviceId) -> Result<u64, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("agreed"))?;
        let found = statement.query_row((at.0, at.1, device.as_bytes()), |row| row.get::<_, i64>(0));
        Ok(found.optional()?.map_or(0, i64::cast_unsigned))
    }

    pub(crate) fn statuses(&self, workspace: i64) -> Result<Vec<StatusEntry>, StoreError> {
        let mut statement = self.transaction.prepare_cached(sql!("statuses"))?;
        let mut rows = statement.query([workspace])?;
        let mut statuses = Vec::new();
        while let Some(row) = rows.next()? {
            let device = DeviceId::from_bytes(exact("status", row.get(0)?)?);
            statuses.push(StatusEntry { device, row: row.get(2)? });
        }
        Ok(statuses)
    }
}
