//! What a store answered instead, as an I/O error with a message of limpid's own.
//!
//! The errors of `object_store` repeat whole answers, and those of S3 name the key that a request was signed with. Of an answer only
//! its status, code and message are kept, and of a failed connection only the innermost cause.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use object_store::Error;

use crate::error::Again;

/// Most characters of a store's message.
const MOST_CHARACTERS: usize = 300;

/// The I/O error of a request that failed, after all its repetitions. Its message ends with `(store error …)`, by which an error of
/// the store is told from bad data ([`crate::error::reading`]).
pub fn fault(cause: Error) -> io::Error {
    let text = told(&cause);
    let kind = match &cause {
        Error::NotFound { .. } => return io::Error::new(ErrorKind::NotFound, format!("there is no such object{text}")),
        Error::Precondition { .. } => return changed(),
        Error::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => ErrorKind::PermissionDenied,
        Error::NotSupported { .. } | Error::NotImplemented { .. } => ErrorKind::Unsupported,
        Error::InvalidPath { .. } => ErrorKind::InvalidInput,
        // A bucket that is not there is a mistake in the URL.
        _ if text.contains("NoSuchBucket") || text.contains("ContainerNotFound") => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, text.trim_start().to_owned())
}

/// The error of an object that is no longer the one that was opened.
pub fn changed() -> io::Error {
    io::Error::other(Again("it has changed while it was read; run the same command again".to_owned()))
}

/// What an error says, without what it must not.
fn told(cause: &Error) -> String {
    let whole = cause.to_string();
    // Before the status: some networks answer for the service that there is not.
    if whole.contains("169.254.169.254") || whole.contains("metadata.google.internal") {
        let advice = "no credentials were found, and this machine has no service of them: set the variables that docs/stores.md names";
        return format!(" {advice} (store error)");
    }
    let element = |name: &str| {
        let (_, rest) = whole.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside.trim())
    };
    let status = whole.split_once("status code: ").and_then(|(_, rest)| rest.get(..3));
    let code = element("Code").unwrap_or_default();
    let message = element("Message").map(|message| message.lines().next().unwrap_or_default());
    if let Some(status) = status {
        let message = message.map_or(String::new(), |message| format!(": {}", cut(message)));
        let code = if code.is_empty() { String::new() } else { format!(" {code}") };
        return format!(" the store refuses{message} (store error {status}{code})");
    }
    let mut innermost: &dyn std::error::Error = cause;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let innermost = if cause.source().is_none() { whole.clone() } else { innermost.to_string() };
    format!(" the store cannot be used: {} (store error)", cut(&innermost))
}

fn cut(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    text.chars().take(MOST_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_code_and_message_are_told() {
        let body = "Error performing GET http://h/x in 1s - Server returned non-2xx status code: 403 Forbidden: <Error>\
                    <Code>InvalidAccessKeyId</Code><Message>The key does not exist.</Message>\
                    <AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>";
        let cause = Error::PermissionDenied { path: "x".to_owned(), source: body.into() };
        let fault = fault(cause);
        assert_eq!(fault.kind(), ErrorKind::PermissionDenied);
        let expected = "the store refuses: The key does not exist. (store error 403 InvalidAccessKeyId)";
        assert_eq!(fault.to_string(), expected);
    }
}
