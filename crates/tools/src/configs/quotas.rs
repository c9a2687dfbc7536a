//! Quotas of users, clients and addresses, and the SCRAM credentials of users.

use std::collections::BTreeMap;
use std::io::Write;

use logrun_client::Str;
use logrun_client::admin::{ScramMechanism, ScramUpsertion};
use logrun_wire::messages as m;

use super::Changes;
use super::entities::{Entities, Entity, Kind};
use crate::failure::Failure;
use crate::session::{Session, check, failure};
use crate::text::java_double;
use crate::{Out, scram};

const CLIENT_QUOTAS: [&str; 4] =
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
const IP_QUOTAS: [&str; 1] = ["connection_creation_rate"];
const NO_CREDENTIALS: &str = "The use of --entity-default or --user-defaults is not allowed with User SCRAM Credentials using --bootstrap-server.";

/// Changes quotas, or a user's credentials.
///
/// # Errors
/// What is asked for doesn't exist or doesn't go together, or the cluster refuses.
pub async fn alter(session: &Session, entities: &Entities, changes: &Changes) -> Result<(), Failure> {
    let kind = entities.list[0].kind;
    let is_quota = |name: &str| CLIENT_QUOTAS.contains(&name);
    let is_scram = |name: &str| ScramMechanism::named(name).is_some();
    if kind == Kind::Ips {
        let unknown: Vec<&str> = changes.names().map(String::as_str).filter(|n| !IP_QUOTAS.contains(n)).collect();
        if !unknown.is_empty() {
            return Err(Failure::new(format!(
                "Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: {}",
                unknown.join(", ")
            )));
        }
        return alter_quotas(session, entities, changes).await;
    }
    let with_client = entities.has_client();
    let what = if with_client { "quota" } else { "quota and SCRAM credential" };
    let whose = if with_client { "clients" } else { "users" };
    let refused = |names: &mut dyn Iterator<Item = &String>, verb: &str| {
        let odd: Vec<&str> =
            names.map(String::as_str).filter(|n| !is_quota(n) && (with_client || !is_scram(n))).collect();
        if odd.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "Only {what} configs can be {verb} for '{whose}' using --bootstrap-server. Unexpected config names: {}",
            odd.join(",")
        )))
    };
    refused(&mut changes.set.keys(), "added")?;
    refused(&mut changes.delete.iter(), "deleted")?;
    let quotas = changes.names().any(|n| is_quota(n));
    if changes.names().any(|n| is_scram(n)) {
        if entities.list.iter().any(|e| e.name.as_deref() == Some("")) {
            return Err(Failure::new(NO_CREDENTIALS));
        }
        if quotas {
            return Err(Failure::new(
                "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using --bootstrap-server.",
            ));
        }
        return alter_credentials(session, entities.list[0].name.as_deref().unwrap_or_default(), changes).await;
    }
    alter_quotas(session, entities, changes).await
}

async fn alter_quotas(session: &Session, entities: &Entities, changes: &Changes) -> Result<(), Failure> {
    let old = quotas(session, entities).await?;
    let old = old.first().map(|q| &q.values);
    let unknown: Vec<&str> =
        changes.delete.iter().map(String::as_str).filter(|n| !old.is_some_and(|o| o.contains_key(*n))).collect();
    if !unknown.is_empty() {
        return Err(Failure::new(format!("Invalid config(s): {}", unknown.join(","))));
    }
    let mut ops = Vec::new();
    for (key, text) in &changes.set {
        let value = text
            .parse()
            .map_err(|_| Failure::new(format!("Cannot parse quota configuration value for {key}: {text}")))?;
        ops.push(m::alter_client_quotas_request::OpData { key: key.into(), value, ..Default::default() });
    }
    ops.extend(changes.delete.iter().map(|key| m::alter_client_quotas_request::OpData {
        key: key.into(),
        remove: true,
        ..Default::default()
    }));
    let entity = entities.list.iter().map(|e| m::alter_client_quotas_request::EntityData {
        entity_type: e.kind.quota_entity().into(),
        entity_name: e.name.as_deref().filter(|n| !n.is_empty()).map(Into::into),
        ..Default::default()
    });
    let entry = m::alter_client_quotas_request::EntryData { entity: entity.collect(), ops, ..Default::default() };
    let request = m::AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
    for entry in session.controller(request).await?.entries {
        check(entry.error_code, entry.error_message.as_deref())?;
    }
    Ok(())
}

async fn alter_credentials(session: &Session, user: &str, changes: &Changes) -> Result<(), Failure> {
    let mechanism = |name: &str| {
        ScramMechanism::named(name).ok_or_else(|| Failure::new(format!("there is no SCRAM mechanism {name}")))
    };
    let mut deletions = Vec::new();
    for name in &changes.delete {
        deletions.push((user.into(), mechanism(name)?));
    }
    let mut upsertions = Vec::new();
    for (name, text) in &changes.set {
        let mechanism = mechanism(name)?;
        let (iterations, password) = scram::parse(mechanism, text)?;
        let random = &session.client.io().random;
        let salt: Vec<u8> = (0..4).flat_map(|_| random.u64().to_be_bytes()).collect();
        upsertions.push(ScramUpsertion {
            user: user.into(),
            mechanism,
            iterations: i32::try_from(iterations).unwrap_or(i32::MAX),
            salted_password: mechanism.salted(password.as_bytes(), &salt, iterations),
            salt: salt.into(),
        });
    }
    let results = session.admin().alter_user_scram_credentials(&upsertions, &deletions).await;
    results.map_err(|e| failure(&e))?.into_values().try_for_each(|r| r.map_err(|e| failure(&e)))
}

/// The quotas of one entity.
struct Quotas {
    entity: BTreeMap<String, Option<String>>,
    values: BTreeMap<String, f64>,
}

async fn quotas(session: &Session, entities: &Entities) -> Result<Vec<Quotas>, Failure> {
    let component = |e: &Entity| m::describe_client_quotas_request::ComponentData {
        entity_type: e.kind.quota_entity().into(),
        // 0: this name, 1: the default, 2: any that has a name or is the default.
        match_type: match e.name.as_deref() {
            None => 2,
            Some("") => 1,
            Some(_) => 0,
        },
        r#match: e.name.as_deref().filter(|n| !n.is_empty()).map(Into::into),
        ..Default::default()
    };
    let request = m::DescribeClientQuotasRequest {
        components: entities.list.iter().map(component).collect(),
        strict: true,
        ..Default::default()
    };
    let response = session.any(request).await?;
    check(response.error_code, response.error_message.as_deref())?;
    let entry = |e: m::describe_client_quotas_response::EntryData| Quotas {
        entity: e
            .entity
            .into_iter()
            .map(|e| (e.entity_type.to_string(), e.entity_name.map(|n| n.to_string())))
            .collect(),
        values: e.values.into_iter().map(|v| (v.key.to_string(), v.value)).collect(),
    };
    let mut found: Vec<Quotas> = response.entries.unwrap_or_default().into_iter().map(entry).collect();
    found.sort_by(|a, b| a.entity.cmp(&b.entity));
    Ok(found)
}

/// Shows quotas, and the credentials of users where only users are asked for.
///
/// # Errors
/// The cluster refuses.
pub async fn describe(out: &mut Out, session: &Session, entities: &Entities) -> Result<(), Failure> {
    for quotas in quotas(session, entities).await? {
        let parts = [("user", "user-principal"), ("client-id", "client-id"), ("ip", "ip")];
        let parts = parts.iter().filter_map(|(kind, called)| match quotas.entity.get(*kind)? {
            Some(name) if !name.is_empty() => Some(format!("{called} '{name}'")),
            _ => Some(format!("the default {called}")),
        });
        let parts: Vec<String> = parts.collect();
        let values: Vec<String> = quotas.values.iter().map(|(k, v)| format!("{k}={}", java_double(*v))).collect();
        writeln!(out, "Quota configs for {} are {}", parts.join(", "), values.join(", "))?;
    }
    let names: Vec<&str> = entities.list.iter().filter_map(|e| e.name.as_deref()).collect();
    if entities.has_client() || names.contains(&"") || entities.list[0].kind != Kind::Users {
        return Ok(());
    }
    let users: Vec<Str> = names.into_iter().map(Str::from).collect();
    let asked = (!users.is_empty()).then_some(users.as_slice());
    let described = session.admin().describe_user_scram_credentials(asked).await.map_err(|e| failure(&e))?;
    // A user without credentials has nothing to show.
    for (user, credentials) in described.into_iter().filter_map(|(user, c)| Some((user, c.ok()?))) {
        let infos =
            credentials.iter().map(|(mechanism, iterations)| format!("{}=iterations={iterations}", mechanism.name()));
        let infos: Vec<String> = infos.collect();
        writeln!(out, "SCRAM credential configs for user-principal '{user}' are {}", infos.join(", "))?;
    }
    Ok(())
}
