//! The client's half of SCRAM (RFC 5802, RFC 7677), as a machine without IO: what to say first, and what to answer.

use base64::alphabet;
use base64::engine::{Engine as _, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, Mac};
use pbkdf2::pbkdf2_hmac;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512};

/// How often the server may ask for the hash: a hostile one must not keep the client busy for hours.
const ITERATIONS_MAX: u32 = 1_000_000;

/// A mechanism of SCRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    pub(crate) fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Sha256 => {
                let mut out = vec![0; Sha256::output_size()];
                pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut out);
                out
            }
            Self::Sha512 => {
                let mut out = vec![0; Sha512::output_size()];
                pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut out);
                out
            }
        }
    }

    pub(crate) fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        // A key of any length is taken.
        match self {
            Self::Sha256 => Hmac::<Sha256>::new_from_slice(key)
                .map_or_else(|_| Vec::new(), |m| m.chain_update(text).finalize().into_bytes().to_vec()),
            Self::Sha512 => Hmac::<Sha512>::new_from_slice(key)
                .map_or_else(|_| Vec::new(), |m| m.chain_update(text).finalize().into_bytes().to_vec()),
        }
    }

    pub(crate) fn hash(self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(text).to_vec(),
            Self::Sha512 => Sha512::digest(text).to_vec(),
        }
    }
}

/// One login.
#[derive(Debug)]
pub(super) struct Scram {
    hash: Hash,
    nonce: String,
    first_bare: String,
    /// What the server has to prove in the end.
    signature: Vec<u8>,
}

/// `=` and `,` have a meaning of their own.
fn name(user: &str) -> String {
    user.replace('=', "=3D").replace(',', "=2C")
}

/// The value of an attribute of a message.
fn attribute<'a>(message: &'a str, key: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
}

impl Scram {
    /// A login and what it says first. `token` says that the user is a delegation token's id (KIP-48).
    pub(super) fn begin(hash: Hash, user: &str, nonce: String, token: bool) -> (Self, String) {
        let extension = if token { ",tokenauth=true" } else { "" };
        let first_bare = format!("n={},r={nonce}{extension}", name(user));
        let first = format!("n,,{first_bare}");
        (Self { hash, nonce, first_bare, signature: Vec::new() }, first)
    }

    /// The answer to the server's first message.
    pub(super) fn prove(&mut self, server_first: &str, password: &str) -> Result<String, String> {
        if let Some(error) = attribute(server_first, "e") {
            return Err(error.to_owned());
        }
        let missing = || "the server's first message is malformed".to_owned();
        let nonce = attribute(server_first, "r").ok_or_else(missing)?;
        let salt = attribute(server_first, "s").and_then(base64_decode).ok_or_else(missing)?;
        let iterations: u32 = attribute(server_first, "i").and_then(|i| i.parse().ok()).ok_or_else(missing)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's nonce doesn't begin with the client's".to_owned());
        }
        if !(1..=ITERATIONS_MAX).contains(&iterations) {
            return Err(format!("the server asks for {iterations} iterations"));
        }
        let without_proof = format!("c=biws,r={nonce}");
        let auth = format!("{},{server_first},{without_proof}", self.first_bare);
        let salted = self.hash.salted(password.as_bytes(), &salt, iterations);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let client_signature = self.hash.hmac(&self.hash.hash(&client_key), auth.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&client_signature).map(|(a, b)| a ^ b).collect();
        self.signature = self.hash.hmac(&self.hash.hmac(&salted, b"Server Key"), auth.as_bytes());
        Ok(format!("{without_proof},p={}", base64_encode(&proof)))
    }

    /// Whether the server's last message proves that it knows the password too.
    pub(super) fn finish(&self, server_final: &str) -> Result<(), String> {
        if let Some(error) = attribute(server_final, "e") {
            return Err(error.to_owned());
        }
        let signature = attribute(server_final, "v").and_then(base64_decode);
        if self.signature.is_empty() || signature.as_ref() != Some(&self.signature) {
            return Err("the server can't prove that it knows the password".to_owned());
        }
        Ok(())
    }
}

/// Base64 as Java reads it: with its padding, whatever the bits are that the last letter has too many.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Base64 with its padding.
pub fn base64_encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The bytes of Base64 with its padding; nothing where it is none.
pub fn base64_decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_7677() {
        let (mut scram, first) = Scram::begin(Hash::Sha256, "user", "rOprNGfwEbeRWgbNEkqO".to_owned(), false);
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let answer = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(scram.prove(server, "pencil").as_deref(), Ok(answer));
        assert_eq!(scram.finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert!(scram.finish("v=AAAA").is_err());
        assert_eq!(scram.finish("e=other-error"), Err("other-error".to_owned()));
    }

    #[test]
    fn a_server_that_cheats_is_found_out() {
        let (mut scram, _) = Scram::begin(Hash::Sha512, "a=b,c", "abc".to_owned(), true);
        assert_eq!(scram.first_bare, "n=a=3Db=2Cc,r=abc,tokenauth=true");
        assert!(scram.finish("v=").is_err(), "before anything was proved");
        for server in ["r=xyz,s=QQ==,i=4096", "r=abc,s=QQ==,i=4096", "r=abcd,s=?,i=1", "r=abcd,s=QQ==,i=4000000000", ""]
        {
            assert!(scram.prove(server, "p").is_err(), "{server}");
        }
    }

    #[test]
    fn base64_wants_its_padding_and_no_more() {
        for text in ["QQ", "QQ=", "Q===", "====", "QQ==QQ==", "QQ==\n", "Q-==", " QQ=="] {
            assert_eq!(base64_decode(text), None, "{text}");
        }
        assert_eq!(base64_decode("QR==").as_deref(), Some(b"A".as_slice()), "as Java reads it");
    }

    proptest! {
        #[test]
        fn base64_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            prop_assert_eq!(base64_decode(&base64_encode(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_an_error_and_no_panic(text in "\\PC{0,60}") {
            let _ = base64_decode(&text);
            let _ = Scram::begin(Hash::Sha256, "u", "n".to_owned(), false).0.prove(&text, "p");
        }
    }
}
