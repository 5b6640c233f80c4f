//! Object stores for tests, on loopback: moto for S3 and Azurite for Azure, behind a proxy that counts requests and loses some. The tests
//! of limpid-cluster have this file too.
//!
//! `.ci/run` installs moto and Azurite below `target/stores`; where they are missing, tests that need them say so and are skipped.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The key that tests log in with, of which no output may have a trace.
pub const KEY: &str = "AKIATESTLIMPIDKEY";
/// Its secret.
pub const SECRET: &str = "very/secret+limpid0123456789abcdefghijkl";

/// A request by method, path with query, headers and body.
struct Request {
    method: String,
    target: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let (first, head) = head.split_once("\r\n")?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let mut body = vec![0; header(head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        Some(Self { method, target, head: head.to_owned(), body })
    }

    /// Sends it to a server, and returns the whole answer.
    fn forward(&self, to: SocketAddr) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(to).ok()?;
        let kept = self.head.lines().filter(|line| !line.to_lowercase().starts_with("connection:"));
        let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
        let head = format!("{} {} HTTP/1.1\r\n{kept}Connection: close\r\n\r\n", self.method, self.target);
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&self.body)).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        Some(answer)
    }

    /// What S3 bills it as.
    fn kind(&self) -> String {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let what = match (self.method.as_str(), query) {
            ("GET", query) if query.contains("list-type") || query.contains("comp=list") => "LIST",
            ("POST", query) if query.contains("uploads") => "POST uploads",
            ("POST", query) if query.contains("delete") => "POST delete",
            ("POST", _) => "POST complete",
            ("PUT", query) if query.contains("partNumber") => "PUT part",
            (method, _) => method,
        };
        what.to_owned()
    }
}

/// The value of a header.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// A proxy in front of a store.
pub struct Proxy {
    address: SocketAddr,
    counts: Arc<Mutex<BTreeMap<String, u64>>>,
    /// How many requests it failed.
    pub failed: Arc<AtomicU64>,
}

impl Proxy {
    /// A proxy that answers one in `one_in` requests with an error, with nothing, or too late; none if that is 0.
    pub fn new(store: SocketAddr, one_in: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("has an address");
        let (counts, failed) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(AtomicU64::new(0)));
        let (seen, all) = (Arc::clone(&counts), Arc::clone(&failed));
        let number = Arc::new(AtomicU64::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, all, number) = (Arc::clone(&seen), Arc::clone(&all), Arc::clone(&number));
                std::thread::spawn(move || {
                    let Some(request) = Request::read(&stream) else { return };
                    *seen.lock().expect("is sound").entry(request.kind()).or_default() += 1;
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    // Scattered, but the same in every run.
                    let draw = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) >> 8;
                    let fails = one_in > 0 && draw % one_in == 0;
                    let fault = fails.then(|| (draw / one_in) % 5);
                    all.fetch_add(u64::from(fails), Ordering::Relaxed);
                    let status =
                        |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let answer = match fault {
                        None => request.forward(store),
                        Some(0) => Some(status("500 Internal Server Error").into_bytes()),
                        Some(1) => Some(status("503 Slow Down").into_bytes()),
                        // The connection breaks before the store has seen the request, or after it has carried it out.
                        Some(2) => None,
                        Some(3) => request.forward(store).and(None),
                        Some(_) => {
                            let answer = request.forward(store);
                            std::thread::sleep(Duration::from_secs(3));
                            answer
                        }
                    };
                    _ = answer.map(|answer| (&stream).write_all(&answer));
                });
            }
        });
        Self { address, counts, failed }
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests of each kind it has seen since the last call.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.counts.lock().expect("is sound"))
    }
}

/// A store that runs until the tests end.
pub struct Server {
    /// Its address.
    pub address: SocketAddr,
    /// Its shell ends the server when its stdin is closed, as it is when the tests end in any way.
    _shell: Child,
}

impl Server {
    fn start(program: &str, arguments: impl Fn(u16) -> String) -> Option<Self> {
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("stores").join(program);
        if !program.exists() {
            println!("skipped: {} is not installed; .ci/run does it", program.display());
            return None;
        }
        let address = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
        let script = format!("\"$0\" {} >/dev/null 2>&1 & read _; kill $!", arguments(address.port()));
        let mut command = Command::new("sh");
        let shell = command.arg("-c").arg(script).arg(&program).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let server = Self { address, _shell: shell.expect("starts") };
        let answers = || {
            std::thread::sleep(Duration::from_millis(100));
            TcpStream::connect(address).is_ok()
        };
        assert!((0..600).any(|_| answers()), "{} does not answer", program.display());
        Some(server)
    }

    /// Sends a request with a signature that moto does not check, and returns the body of the answer.
    pub fn ask(&self, method: &str, target: &str, body: &[u8]) -> Vec<u8> {
        let login = "AWS4-HMAC-SHA256 Credential=x/20261129/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x";
        let head = format!("Host: {}\r\nContent-Length: {}\r\nAuthorization: {login}\r\n", self.address, body.len());
        let request = Request { method: method.to_owned(), target: target.to_owned(), head, body: body.to_vec() };
        let answer = request.forward(self.address).expect("answers");
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("has a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        assert!(head.starts_with("HTTP/1.1 2"), "{method} {target}: {head}");
        answer[end + 4..].to_vec()
    }

    /// The keys in a bucket, and of uploads that were neither completed nor aborted.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let listed = self.ask("GET", &format!("/{bucket}?list-type=2"), b"");
        let open = self.ask("GET", &format!("/{bucket}?uploads"), b"");
        let text = String::from_utf8_lossy(&listed).into_owned() + &String::from_utf8_lossy(&open);
        text.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())).collect()
    }
}

/// The S3 server, which all tests share, with a new bucket of this name; none if it is not installed.
pub fn s3(bucket: &str) -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start("bin/moto_server", |port| format!("-H 127.0.0.1 -p {port}")));
    server.as_ref().inspect(|server| _ = server.ask("PUT", &format!("/{bucket}"), b""))
}

/// The Azure server, which all tests share; none if it is not installed.
pub fn azure() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let arguments =
        |port| format!("--inMemoryPersistence --skipApiVersionCheck --silent --blobHost 127.0.0.1 --blobPort {port}");
    SERVER.get_or_init(|| Server::start("node_modules/.bin/azurite-blob", arguments)).as_ref()
}

/// The account of the Azure server, as its manual has it.
const ACCOUNT: &str = "devstoreaccount1";
/// Its key.
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Sends a request without a body to the Azure server, and returns the head and the body of the answer.
fn ask_azure(server: &Server, method: &str, path: &str, query: &[(&str, &str)]) -> (String, Vec<u8>) {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let headers = format!("x-ms-date:{date}\nx-ms-version:2021-08-06\n");
    let signed: String = query.iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
    let text = format!("{method}{}{headers}/{ACCOUNT}/{ACCOUNT}/{path}{signed}", "\n".repeat(12));
    let key = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, ACCOUNT_KEY).expect("is base64");
    let signature = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, hmac(&key, text.as_bytes()));
    let head = format!(
        "Host: {}\r\nContent-Length: 0\r\n{}Authorization: SharedKey {ACCOUNT}:{signature}\r\n",
        server.address,
        headers.replace('\n', "\r\n")
    );
    let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let target = format!("/{ACCOUNT}/{path}?{}", query.join("&"));
    let request = Request { method: method.to_owned(), target, head, body: Vec::new() };
    let answer = request.forward(server.address).expect("answers");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("has a head");
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec())
}

/// Creates a container at the Azure server.
pub fn azure_container(server: &Server, name: &str) {
    let (head, _) = ask_azure(server, "PUT", name, &[("restype", "container")]);
    assert!(head.starts_with("HTTP/1.1 201") || head.starts_with("HTTP/1.1 409"), "{head}");
}

/// A blob at the Azure server.
pub fn azure_blob(server: &Server, path: &str) -> Vec<u8> {
    let (head, body) = ask_azure(server, "GET", path, &[]);
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    body
}

/// What has a run in a store log in.
pub fn login(url: &str) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_TIMEOUT", "2s".to_owned()),
    ]
}

/// As [`login`], for the Azure server.
pub fn azure_login(server: &Server) -> [(&'static str, String); 3] {
    let url = format!("http://{}", server.address);
    let of = |name, value: &str| (name, value.to_owned());
    [of("AZURE_STORAGE_USE_EMULATOR", "true"), of("AZURITE_BLOB_STORAGE_URL", &url), of("AZURE_TIMEOUT", "5s")]
}

/// HMAC with SHA-256, of RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut block = [0; 64];
    let short = if key.len() > block.len() { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block[..short.len()].copy_from_slice(&short);
    let inner = Sha256::digest([&block.map(|byte| byte ^ 0x36)[..], text].concat());
    Sha256::digest([&block.map(|byte| byte ^ 0x5c)[..], &inner].concat()).to_vec()
}
