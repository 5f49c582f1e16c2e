//! Generates the ExtProc messages and service from their description, without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const FOLDER: &str = "../../proto";
    println!("cargo::rerun-if-changed={FOLDER}");
    let files = protox::compile(["ext_proc.proto"], [FOLDER])?;
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds_with_config(files, config)?;
    Ok(())
}
