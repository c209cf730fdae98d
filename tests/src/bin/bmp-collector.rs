//! A monitoring station that writes down what it hears, for tests inside of a lab.
//!
//! In: an address to listen on and a folder. Out: the octets of the first connection in the file
//! `1` of the folder, of the second in `2`, and so on; `listening` once it can be connected to.
//! While there is a file `deaf` in the folder, it takes nothing. Ends by a signal.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

fn main() -> io::Result<()> {
    let arguments: Vec<_> = env::args().collect();
    let [_, address, folder] = &arguments[..] else {
        return Err(io::Error::other("usage: bmp-collector ADDRESS FOLDER"));
    };
    let folder = PathBuf::from(folder);
    let listener = TcpListener::bind(address)?;
    // What is not read shall fill up soon.
    setsockopt(&listener, RcvBuf, &RECEIVE_BUFFER)?;
    File::create(folder.join("listening"))?;
    for number in 1.. {
        let (stream, _) = listener.accept()?;
        let (file, deaf) = (folder.join(number.to_string()), folder.join("deaf"));
        thread::spawn(move || record(stream, &file, &deaf));
    }
    Ok(())
}

fn record(mut stream: TcpStream, file: &Path, deaf: &Path) -> io::Result<()> {
    let mut file = File::create(file)?;
    let mut octets = vec![0; 64 << 10];
    loop {
        while fs::exists(deaf)? {
            thread::sleep(Duration::from_millis(20));
        }
        match stream.read(&mut octets)? {
            0 => return Ok(()),
            length => file.write_all(&octets[..length])?,
        }
    }
}

/// Octets.
const RECEIVE_BUFFER: usize = 32 << 10;
