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
    local kind= at=()
    case "${COMP_WORDS[1]}:${COMP_WORDS[2]}" in
        produce:*|consume:*|topics:describe|topics:alter|topics:delete|topics:rm|topics:compact|configs:*) kind=topics ;;
        groups:describe|groups:reset|groups:delete|groups:rm) kind=groups ;;
        contexts:use|contexts:show|contexts:remove|contexts:rm) kind=contexts ;;
    esac
    case "${COMP_WORDS[COMP_CWORD-1]}" in
        --context) kind=contexts ;;
        --topic) kind=topics ;;
        -g|--group) kind=groups ;;
    esac
    # The cluster that the line names. In COMP_WORDS an address is in pieces.
    [[ $COMP_LINE =~ \ (-b|--bootstrap-server|--context)[\ =]([^\ ]+)\  ]] && at=("${BASH_REMATCH[@]:1}")
    _logrun "$@"
    if [[ -n $kind && ${COMP_WORDS[COMP_CWORD]} != -* && $COMP_CWORD -gt 1 ]]; then
        COMPREPLY+=( $(compgen -W "$(logrun complete $kind "${at[@]}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}") )
    fi
}
complete -F _logrun_names -o nosort -o bashdefault -o default logrun
"#;

const FISH: &str = r#"
function __logrun_names
    # The cluster that the line names.
    set -l at (string match -r -- ' (-b|--bootstrap-server|--context)[ =]([^ ]+) ' (commandline -cp))
    logrun complete $argv[1] $at[2] $at[3] 2>/dev/null
end
complete -c logrun -n "__fish_seen_subcommand_from produce consume configs" -a "(__logrun_names topics)"
complete -c logrun -f -n "__fish_seen_subcommand_from topics; and __fish_seen_subcommand_from describe alter delete rm compact" -a "(__logrun_names topics)"
complete -c logrun -f -n "__fish_seen_subcommand_from groups; and __fish_seen_subcommand_from describe reset delete rm" -a "(__logrun_names groups)"
complete -c logrun -f -n "__fish_seen_subcommand_from contexts; and __fish_seen_subcommand_from use show remove rm" -a "(__logrun_names contexts)"
complete -c logrun -l context -x -a "(logrun complete contexts)"
complete -c logrun -n "__fish_seen_subcommand_from consume" -s g -l group -x -a "(__logrun_names groups)"
"#;

const ZSH: &str = r#"
_logrun_names() {
    local kind=
    local -a at names
    case "${words[2]}:${words[3]}" in
        produce:*|consume:*|topics:describe|topics:alter|topics:delete|topics:rm|topics:compact|configs:*) kind=topics ;;
        groups:describe|groups:reset|groups:delete|groups:rm) kind=groups ;;
        contexts:use|contexts:show|contexts:remove|contexts:rm) kind=contexts ;;
    esac
    case "${words[CURRENT-1]}" in
        --context) kind=contexts ;;
        --topic) kind=topics ;;
        -g|--group) kind=groups ;;
    esac
    # The cluster that the line names.
    [[ " ${words[1,CURRENT-1]} " =~ ' (-b|--bootstrap-server|--context)[ =]([^ ]+) ' ]] && at=( "${match[@]}" )
    if [[ -n $kind && $CURRENT -gt 2 && ${words[CURRENT]} != -* ]]; then
        names=( ${(f)"$(logrun complete $kind "${at[@]}" 2>/dev/null)"} )
        compadd -a names
    fi
    _logrun "$@"
}
compdef _logrun_names logrun
"#;
