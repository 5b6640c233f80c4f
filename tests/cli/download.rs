//! Downloads of MNIST from misbehaving local servers, without the real data.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};

use crate::applying::idx;
use crate::bad_input::gzip;
use crate::harness::Sandbox;

const PIPELINE: &str = "[source]\nmnist = {}\n[model]\ndense = {}\n";

/// Starts a server that calls `respond` with each connection, the name requested and its headers. Returns its address, without
/// a slash at the end.
pub fn serve(mut respond: impl FnMut(&mut TcpStream, &str, &str) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("has an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let name = head.first().and_then(|line| line.split_whitespace().nth(1)).unwrap_or("/").to_owned();
            respond(&mut stream, name.trim_start_matches('/'), &head.join("\n"));
        }
    });
    format!("http://{address}")
}

/// Sends a response that announces `length` bytes.
pub fn answer(stream: &mut TcpStream, header: &str, length: usize, body: &[u8]) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{header}Connection: close\r\n\r\n");
    // The client may have closed the connection.
    _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn mirrors(address: &str) -> String {
    format!("source.mnist.mirrors=[\"{address}\"]")
}

#[test]
fn a_wrong_payload_is_refused_however_it_is_encoded() {
    for header in ["", "Content-Encoding: gzip\r\n", "Content-Type: application/gzip\r\n"] {
        for body in [gzip(&idx(&[3, 28, 28])), idx(&[3, 28, 28])] {
            let (sender, requests) = mpsc::channel();
            let address = serve(move |stream, name, head| {
                _ = sender.send((name.to_owned(), head.to_lowercase()));
                answer(stream, header, body.len(), &body);
            });
            let sandbox = Sandbox::with(PIPELINE);
            let run = sandbox.limpid("run small.toml --set").arg(mirrors(&address)).exits(74);
            run.says("is not MNIST's train-images-idx3-ubyte: it has 2368 bytes, expected 47040016");
            assert!(sandbox.files("data/mnist").is_empty());
            let (name, head) = requests.recv().expect("was asked");
            assert_eq!(name, "train-images-idx3-ubyte.gz");
            assert!(head.contains("accept-encoding: identity"), "{head}");
        }
    }
}

#[test]
fn a_mirror_that_lacks_the_file_is_named_with_its_answer() {
    let address = serve(|stream, _, _| {
        _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let sandbox = Sandbox::with(PIPELINE);
    sandbox.limpid("run small.toml --set").arg(mirrors(&address)).exits(74).says(&address).says("404");
}

/// Starts a download, sends SIGTERM once the mirror was asked, and expects the code of an interruption.
fn interrupted(respond: impl FnMut(&mut TcpStream) + Send + 'static) {
    let (mut respond, (sender, asked)) = (respond, mpsc::channel());
    let address = serve(move |stream, _, _| {
        _ = sender.send(());
        respond(stream);
    });
    let sandbox = Sandbox::with(PIPELINE);
    let mut child: Child = sandbox.limpid("run small.toml --set").arg(mirrors(&address)).spawn();
    asked.recv().expect("is asked");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("is sent");
    let mut stderr = String::new();
    child.stderr.take().expect("is piped").read_to_string(&mut stderr).expect("is text");
    assert_eq!(child.wait().expect("ends").code(), Some(75), "{stderr}");
    assert!(stderr.contains("interrupted"), "{stderr}");
}

#[test]
fn a_signal_ends_a_download_from_a_mirror_that_stalls() {
    // Before the first byte, and in the middle of the transfer.
    interrupted(|stream| _ = stream.read(&mut [0; 1]));
    interrupted(|stream| {
        answer(stream, "", 1000, &[0x1f, 0x8b, 8]);
        _ = stream.read(&mut [0; 1]);
    });
}

#[test]
fn a_signal_ends_a_slow_download() {
    interrupted(|stream| {
        answer(stream, "", 1_000_000, &[0x1f, 0x8b, 8]);
        while stream.write_all(&[0]).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
}
