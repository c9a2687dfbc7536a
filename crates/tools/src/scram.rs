//! SCRAM credentials (RFC 5802) as `kafka-configs` makes them: a password becomes a salted one before it leaves.

use pbkdf2::pbkdf2_hmac;
use sha2::{Sha256, Sha512};

use crate::failure::Failure;

/// The least that Kafka takes, and what it takes when nothing is said.
const ITERATIONS_MIN: i32 = 4096;

/// Kafka's SCRAM mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Sha256,
    Sha512,
}

impl Mechanism {
    /// By Kafka's name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|m| m.name() == name)
    }

    /// By its number on the wire.
    pub fn of(code: i8) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|m| m.code() == code)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// `Hi(password, salt, iterations)`.
    pub fn salted(self, password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
        let rounds = u32::try_from(iterations).unwrap_or(1);
        match self {
            Self::Sha256 => {
                let mut out = vec![0; 32];
                pbkdf2_hmac::<Sha256>(password, salt, rounds, &mut out);
                out
            }
            Self::Sha512 => {
                let mut out = vec![0; 64];
                pbkdf2_hmac::<Sha512>(password, salt, rounds, &mut out);
                out
            }
        }
    }
}

/// `iterations=8192,password=secret`, the iterations being optional; the password may contain anything.
///
/// # Errors
/// It has another form, or too few iterations.
pub fn parse(mechanism: Mechanism, text: &str) -> Result<(i32, String), Failure> {
    let name = mechanism.name();
    let invalid = || Failure::new(format!("Invalid credential property {name}={text}"));
    let (iterations, rest) = match text.strip_prefix("iterations=").and_then(|t| t.split_once(',')) {
        Some((number, rest)) => (number.parse().map_err(|_| invalid())?, rest),
        None => (-1, text),
    };
    let password = rest.strip_prefix("password=").ok_or_else(invalid)?;
    let iterations = if iterations == -1 { ITERATIONS_MIN } else { iterations };
    if iterations < ITERATIONS_MIN {
        return Err(Failure::new(format!(
            "Iterations {iterations} is less than the minimum {ITERATIONS_MIN} required for {name}"
        )));
    }
    Ok((iterations, password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 7677, section 3.
        let salt = [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
        let salted = Mechanism::Sha256.salted(b"pencil", &salt, 4096);
        let hex: String = salted.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d");
    }

    #[test]
    fn credentials_have_one_form() {
        let parse = |text| parse(Mechanism::Sha256, text).map_err(|f| f.message().to_owned());
        assert_eq!(parse("iterations=8192,password=a=b,c"), Ok((8192, "a=b,c".to_owned())));
        assert_eq!(parse("password=x"), Ok((4096, "x".to_owned())));
        assert_eq!(parse("iterations=-1,password=x"), Ok((4096, "x".to_owned())));
        assert!(parse("iterations=1,password=x").is_err() && parse("x").is_err());
    }
}
