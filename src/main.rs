//! The command line; see [`fieldbeat::cli`].

fn main() -> std::process::ExitCode {
    fieldbeat::cli::main()
}
