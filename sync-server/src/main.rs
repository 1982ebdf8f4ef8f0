//! The relay's program; all of it is in the library, so that others can run it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    tombolo_relay::main_with(std::env::args_os())
}
