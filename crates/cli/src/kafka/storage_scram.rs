//! `kafka-storage format --add-scram`: the SCRAM credentials that a cluster is born with (KIP-900, Kafka's `ScramParser`).
//!
//! What is written are keys, never the password.

use logrun_client::admin::ScramMechanism;
use logrun_client::security::base64_decode;
use logrun_io::Random;
use logrun_metadata::records::UserScramCredentialRecord;
use logrun_model::Str;

/// What Kafka takes when nothing is said, which is also the least, and the most that it takes.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4096..=16384;

/// `SCRAM-SHA-256=[name=alice,password=secret]`, with `iterations` and `salt`, or `saltedpassword` and `salt` instead of
/// the password; a value may stand in quotation marks.
///
/// # Errors
/// A sentence that says what is missing or wrong.
pub fn record(text: &str, random: &Random) -> Result<UserScramCredentialRecord, String> {
    let form = || "The --add-scram argument must have the form SCRAM-SHA-256=[name=alice,password=secret]".to_owned();
    let (mechanism, rest) = text.trim().split_once('=').ok_or_else(form)?;
    let mechanism = ScramMechanism::named(mechanism).ok_or_else(|| {
        format!("The add-scram mechanism {mechanism} is not supported: take SCRAM-SHA-256 or SCRAM-SHA-512")
    })?;
    let list = rest.strip_prefix('[').and_then(|r| r.strip_suffix(']')).ok_or_else(form)?;
    let (mut name, mut password, mut salted, mut salt, mut iterations) = (None, None, None, None, *ITERATIONS.start());
    for (key, value) in pairs(list).ok_or_else(form)? {
        match key {
            "name" => name = Some(value),
            "password" => password = Some(value),
            "saltedpassword" => salted = Some(bytes(key, value)?),
            "salt" => salt = Some(bytes(key, value)?),
            "iterations" => iterations = value.parse().map_err(|_| format!("iterations={value} is no number"))?,
            other => return Err(format!("Unknown value {other} in the --add-scram argument")),
        }
    }
    if !ITERATIONS.contains(&iterations) {
        let (least, most) = (ITERATIONS.start(), ITERATIONS.end());
        return Err(format!("The 'iterations' value must be between {least} and {most} for add-scram"));
    }
    let name = name.ok_or("You must supply 'name' to add-scram")?;
    let (salt, salted) = match (password, salted, salt) {
        (Some(_), Some(_), _) => {
            return Err("You must only supply one of 'password' or 'saltedpassword' to add-scram".to_owned());
        }
        (None, None, _) => {
            return Err("You must supply one of 'password' or 'saltedpassword' to add-scram".to_owned());
        }
        (None, Some(_), None) => return Err("You must supply 'salt' with 'saltedpassword' to add-scram".to_owned()),
        (None, Some(salted), Some(salt)) => (salt, salted.into()),
        (Some(password), None, salt) => {
            let salt = salt.unwrap_or_else(|| (0..4).flat_map(|_| random.u64().to_be_bytes()).collect());
            let salted = mechanism.salted(password.as_bytes(), &salt, iterations);
            (salt, salted)
        }
    };
    let (stored_key, server_key) = mechanism.keys(&salted);
    Ok(UserScramCredentialRecord {
        name: Str::from(name),
        mechanism: mechanism as i8,
        salt: salt.into(),
        stored_key,
        server_key,
        iterations: i32::try_from(iterations).unwrap_or(i32::MAX),
        ..Default::default()
    })
}

fn bytes(key: &str, value: &str) -> Result<Vec<u8>, String> {
    base64_decode(value).ok_or_else(|| format!("{key} is not Base64"))
}

/// `a=b,c="d,e"`; nothing if a part has no equals sign or a quotation mark is left open.
fn pairs(list: &str) -> Option<Vec<(&str, &str)>> {
    let mut pairs = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').map(|(value, after)| (value, after.trim_start_matches(',')))?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        pairs.push((key.trim(), value));
        rest = after;
    }
    Some(pairs)
}

/// As Kafka's tool shows the record.
pub fn shown(record: &UserScramCredentialRecord) -> String {
    let list = |bytes: &[u8]| {
        let bytes: Vec<String> = bytes.iter().map(|b| b.cast_signed().to_string()).collect();
        format!("[{}]", bytes.join(", "))
    };
    format!(
        "ApiMessageAndVersion(UserScramCredentialRecord(name='{}', mechanism={}, salt={}, storedKey={}, serverKey={}, \
         iterations={}) at version 0)",
        record.name,
        record.mechanism,
        list(&record.salt),
        list(&record.stored_key),
        list(&record.server_key),
        record.iterations
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_rfc() {
        // RFC 7677, section 3: its salt and password.
        let text = r#"SCRAM-SHA-256=[name=user,password="pencil",salt="W22ZaJ0SNY7soEsUEjb6gQ==",iterations=4096]"#;
        let record = record(text, &Random::from_seed(1)).expect("a record");
        assert_eq!((&*record.name, record.mechanism, record.iterations), ("user", 1, 4096));
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&record.stored_key), "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6");
        assert!(shown(&record).starts_with(
            "ApiMessageAndVersion(UserScramCredentialRecord(name='user', mechanism=1, salt=[91, 109, -103, "
        ));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |text: &str| record(text, &Random::from_seed(1)).expect_err(text);
        for (text, word) in [
            ("", "must have the form"),
            ("SCRAM-SHA-1=[name=a,password=b]", "not supported"),
            ("SCRAM-SHA-256=name=a", "must have the form"),
            ("SCRAM-SHA-256=[name]", "must have the form"),
            ("SCRAM-SHA-256=[name=\"a]", "must have the form"),
            ("SCRAM-SHA-256=[password=b]", "'name'"),
            ("SCRAM-SHA-256=[name=a]", "'password' or 'saltedpassword'"),
            ("SCRAM-SHA-256=[name=a,saltedpassword=QQ==]", "'salt' with"),
            ("SCRAM-SHA-256=[name=a,password=b,iterations=1]", "between 4096 and 16384"),
            ("SCRAM-SHA-256=[name=a,password=b,colour=red]", "colour"),
        ] {
            assert!(said(text).contains(word), "{text}: {}", said(text));
        }
    }
}
