//! Generates the ExtProc messages and service that the no-op server speaks, without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const FOLDER: &str = "../proto";
    println!("cargo::rerun-if-changed={FOLDER}");
    let files = protox::compile(["ext_proc.proto"], [FOLDER])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .compile_fds(files)?;
    Ok(())
}
