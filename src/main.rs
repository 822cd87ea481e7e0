//! The `truenorth` binary; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    truenorth::cli::main(std::env::args_os()).into()
}
