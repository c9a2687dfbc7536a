//! SCRAM credentials as `kafka-configs` takes them; the client makes a salted password of the password.

use logrun_client::admin::ScramMechanism;

use crate::failure::Failure;

/// The least that Kafka takes, and what it takes when nothing is said.
const ITERATIONS_MIN: u32 = 4096;

/// `iterations=8192,password=secret`, the iterations being optional; the password may contain anything.
///
/// # Errors
/// It has another form, or too few iterations.
pub fn parse(mechanism: ScramMechanism, text: &str) -> Result<(u32, String), Failure> {
    let name = mechanism.name();
    let invalid = || Failure::new(format!("Invalid credential property {name}={text}"));
    let (iterations, rest) = match text.strip_prefix("iterations=").and_then(|t| t.split_once(',')) {
        Some((number, rest)) => (number.parse::<i32>().map_err(|_| invalid())?, rest),
        None => (-1, text),
    };
    let password = rest.strip_prefix("password=").ok_or_else(invalid)?;
    match u32::try_from(iterations) {
        Ok(enough @ ITERATIONS_MIN..) => Ok((enough, password.to_owned())),
        _ if iterations == -1 => Ok((ITERATIONS_MIN, password.to_owned())),
        _ => Err(Failure::new(format!(
            "Iterations {iterations} is less than the minimum {ITERATIONS_MIN} required for {name}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_have_one_form() {
        let parse = |text| parse(ScramMechanism::Sha256, text).map_err(|f| f.message().to_owned());
        assert_eq!(parse("iterations=8192,password=a=b,c"), Ok((8192, "a=b,c".to_owned())));
        assert_eq!(parse("password=x"), Ok((4096, "x".to_owned())));
        assert_eq!(parse("iterations=-1,password=x"), Ok((4096, "x".to_owned())));
        assert!(parse("iterations=1,password=x").is_err() && parse("x").is_err());
    }
}
