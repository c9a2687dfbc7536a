//! What must be given, and what can't be given together: Kafka's `CommandLineUtils` in its words.

use super::Given;
use crate::failure::Failure;

impl Given<'_> {
    /// All of `names` must be there.
    ///
    /// # Errors
    /// The first that isn't.
    pub fn require(&self, names: &[&str]) -> Result<(), Failure> {
        match names.iter().find(|name| !self.has(name)) {
            Some(name) => Err(self.missing(name)),
            None => Ok(()),
        }
    }

    /// `name` should be there and isn't.
    pub fn missing(&self, name: &str) -> Failure {
        self.syntax.wrong(format!("Missing required argument \"[{name}]\""))
    }

    /// Exactly one of `actions` must be there.
    ///
    /// # Errors
    /// None or several are; `listed` is how Kafka lists them.
    pub fn one_action(&self, actions: &[&str], listed: &str) -> Result<(), Failure> {
        match self.count(actions) {
            1 => Ok(()),
            _ => Err(self.syntax.wrong(format!("Command must include exactly one action: {listed}"))),
        }
    }

    /// If `used` is there, none of `others` may be.
    ///
    /// # Errors
    /// The first that is.
    pub fn exclusive(&self, used: &str, others: &[&str]) -> Result<(), Failure> {
        if !self.has(used) {
            return Ok(());
        }
        match others.iter().find(|other| **other != used && self.has(other)) {
            Some(other) => {
                Err(self.syntax.wrong(format!("Option \"[{used}]\" can't be used with option \"[{other}]\"")))
            }
            None => Ok(()),
        }
    }

    /// `option` has a meaning only with one of `with`.
    ///
    /// # Errors
    /// It is there without any of them.
    pub fn only_with(&self, option: &str, with: &[&str]) -> Result<(), Failure> {
        if self.has(option) && self.count(with) == 0 {
            let with: Vec<String> = with.iter().map(|w| format!("--{w}")).collect();
            return Err(self.syntax.wrong(format!(
                "Option(s) [{option}] are unavailable given other options on the command line: give it with {}",
                with.join(" or ")
            )));
        }
        Ok(())
    }

    /// The word that says what to do, which must be one of `commands`.
    ///
    /// # Errors
    /// There is none, another, or more than one.
    pub fn command<'c>(&self, commands: &[&'c str]) -> Result<&'c str, Failure> {
        let listed = commands.join(", ");
        match self.words.as_slice() {
            [] => Err(self.syntax.wrong(format!("too few arguments: say one of {listed}"))),
            [word] => match commands.iter().find(|c| *c == word) {
                Some(command) => Ok(command),
                None => Err(self.syntax.wrong(format!("invalid choice: '{word}' (choose from {listed})"))),
            },
            [_, word, ..] => Err(self.syntax.wrong(format!("unrecognized arguments: '{word}'"))),
        }
    }

    /// How many of `names` are there.
    pub fn count(&self, names: &[&str]) -> usize {
        names.iter().filter(|name| self.has(name)).count()
    }

    /// The options given by an old name, as Kafka announces them.
    pub fn deprecations(&self) -> Vec<String> {
        let mut said = Vec::new();
        // Kafka's console producer has words of its own.
        let word = if self.syntax.tool == "kafka-console-producer" { "Warning:" } else { "Option" };
        for option in self.syntax.options.iter().filter(|o| self.has(o.name)) {
            if let Some(new) = option.instead {
                said.push(format!(
                    "{word} --{} is deprecated and will be removed in a future version. Use --{new} instead.",
                    option.name
                ));
            }
        }
        said
    }

    /// The name under which an option that has an old name was given.
    ///
    /// # Errors
    /// Both names were.
    pub fn either<'n>(&self, new: &'n str, old: &'n str) -> Result<&'n str, Failure> {
        match (self.has(new), self.has(old)) {
            (true, true) => {
                Err(self.syntax.wrong(format!("Options --{old} and --{new} cannot be specified together.")))
            }
            (false, true) => Ok(old),
            _ => Ok(new),
        }
    }
}
