//! Stories told to a real relay over real sockets, frame by frame.

#[cfg(test)]
mod relay {
    pub(crate) mod client;
    pub(crate) mod people;
    pub(crate) mod process;
    mod provider;
    pub(crate) mod wire;

    mod accounts;
    mod codes;
    mod embedded;
    mod filter;
    mod handshake;
    mod history;
    mod joining;
    mod levels;
    mod limits;
    mod logins;
    mod operation;
    mod refusals;
    mod rest;
    mod rights;
    mod sync;
    mod tls;
}
