//! `logrun complete`: names for a shell's completion. Hidden: only the scripts of `logrun completion` call it.
//!
//! It says nothing when something is wrong, and never takes long: who presses Tab wants names or nothing.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::Failure;
use crate::args::{Common, Connection};
use crate::contexts::Contexts;
use crate::session::{Session, block_on};

/// How long a shell waits for the cluster.
const PATIENCE: Duration = Duration::from_secs(1);

/// What kind of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Topics,
    Groups,
    Contexts,
}

/// Which names.
#[derive(Args, Debug)]
pub struct CompleteArgs {
    #[arg(value_enum)]
    kind: Kind,
    #[command(flatten)]
    connection: Connection,
}

/// Prints names, a line each.
///
/// # Errors
/// None: what is wrong is no name.
pub fn run(args: &CompleteArgs) -> Result<ExitCode, Failure> {
    if let Ok(names) = names(args) {
        for name in names {
            println!("{name}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn names(args: &CompleteArgs) -> Result<Vec<String>, Failure> {
    if args.kind == Kind::Contexts {
        return Ok(Contexts::load()?.names());
    }
    let connection = Connection { timeout: Some(PATIENCE), ..args.connection.clone() };
    let common = Common { connection, ..Common::default() };
    block_on(async {
        let ask = async {
            let session = Session::open(&common).await?;
            let names: Vec<String> = match args.kind {
                Kind::Topics => session
                    .admin
                    .list_topics(false)
                    .await
                    .map_err(|e| crate::session::explain(&e))?
                    .into_iter()
                    .map(|t| t.name.to_string())
                    .collect(),
                _ => crate::groups::listed(&session).await?.into_iter().map(|g| g.group_id.to_string()).collect(),
            };
            Ok(names)
        };
        tokio::time::timeout(PATIENCE, ask).await.unwrap_or_else(|_| Err(Failure::new("too late")))
    })
}

/// What is added to clap's script for a shell, so that names of the cluster are completed too. The words after which a
/// name comes are those of this crate's commands.
pub fn script(shell: &str) -> &'static str {
    match shell {
        "bash" => BASH,
        "fish" => FISH,
        "zsh" => ZSH,
        _ => "",
    }
}

const BASH: &str = r#"
_logrun_names() {
    local kind=
    case "${COMP_WORDS[1]}:${COMP_WORDS[2]}" in
        produce:*|consume:*|topics:describe|topics:alter|topics:delete|topics:rm|topics:compact|configs:*) kind=topics ;;
        groups:describe|groups:reset|groups:delete|groups:rm) kind=groups ;;
        contexts:use|contexts:show|contexts:remove|contexts:rm) kind=contexts ;;
    esac
    [[ ${COMP_WORDS[COMP_CWORD-1]} == --context ]] && kind=contexts
    [[ ${COMP_WORDS[COMP_CWORD-1]} == --topic ]] && kind=topics
    [[ ${COMP_WORDS[COMP_CWORD-1]} == --group ]] && kind=groups
    _logrun "$@"
    if [[ -n $kind && ${COMP_WORDS[COMP_CWORD]} != -* && $COMP_CWORD -gt 1 ]]; then
        COMPREPLY+=( $(compgen -W "$(logrun complete $kind 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}") )
    fi
}
complete -F _logrun_names -o nosort -o bashdefault -o default logrun
"#;

const FISH: &str = r#"
complete -c logrun -n "__fish_seen_subcommand_from produce consume configs" -a "(logrun complete topics)"
complete -c logrun -n "__fish_seen_subcommand_from topics; and __fish_seen_subcommand_from describe alter delete compact" -a "(logrun complete topics)"
complete -c logrun -n "__fish_seen_subcommand_from groups; and __fish_seen_subcommand_from describe reset delete" -a "(logrun complete groups)"
complete -c logrun -n "__fish_seen_subcommand_from contexts; and __fish_seen_subcommand_from use show remove" -a "(logrun complete contexts)"
complete -c logrun -l context -x -a "(logrun complete contexts)"
"#;

const ZSH: &str = r#"
_logrun_names() {
    local kind=
    case "${words[2]}:${words[3]}" in
        produce:*|consume:*|topics:describe|topics:alter|topics:delete|topics:rm|topics:compact|configs:*) kind=topics ;;
        groups:describe|groups:reset|groups:delete|groups:rm) kind=groups ;;
        contexts:use|contexts:show|contexts:remove|contexts:rm) kind=contexts ;;
    esac
    if [[ -n $kind && $CURRENT -gt 2 && ${words[CURRENT]} != -* ]]; then
        local -a names
        names=( ${(f)"$(logrun complete $kind 2>/dev/null)"} )
        compadd -a names
    fi
    _logrun "$@"
}
compdef _logrun_names logrun
"#;
