//! Who may do what and how much: ACLs, quotas, SCRAM credentials, delegation tokens.

use std::collections::BTreeMap;

use bytes::Bytes;
use logrun_model::Str;
use logrun_wire::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use logrun_wire::messages::alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion};
use logrun_wire::messages::create_acls_request::AclCreation;
use logrun_wire::messages::create_delegation_token_request::CreatableRenewers;
use logrun_wire::messages::delete_acls_request::DeleteAclsFilter;
use logrun_wire::messages::describe_client_quotas_request::ComponentData;
use logrun_wire::messages::describe_delegation_token_request::DescribeDelegationTokenOwner;
use logrun_wire::messages::describe_user_scram_credentials_request::UserName;
use logrun_wire::messages::{
    AlterClientQuotasRequest, AlterUserScramCredentialsRequest, CreateAclsRequest, CreateDelegationTokenRequest,
    DeleteAclsRequest, DescribeAclsRequest, DescribeClientQuotasRequest, DescribeDelegationTokenRequest,
    DescribeUserScramCredentialsRequest, ExpireDelegationTokenRequest, RenewDelegationTokenRequest,
};

use super::{Admin, Each};
use crate::client::Target;
use crate::error::{Error, check};
use crate::security::scram::Hash;

/// An ACL: who may or may not do what with what, from where. The numbers are Kafka's: `ResourceType`, `PatternType`,
/// `AclOperation`, `AclPermissionType`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclBinding {
    /// 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user.
    pub resource_type: i8,
    /// The resource's name, or a part of it, or `*`.
    pub resource_name: Str,
    /// 3 literal, 4 prefixed.
    pub pattern_type: i8,
    /// `User:name`.
    pub principal: Str,
    /// An address, or `*`.
    pub host: Str,
    /// 2 all, 3 read, 4 write, …
    pub operation: i8,
    /// 2 deny, 3 allow.
    pub permission_type: i8,
}

/// Which ACLs are meant; `None` and 1 mean any, of patterns 2 means whatever matches the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFilter {
    /// As in [`AclBinding`], or 1.
    pub resource_type: i8,
    /// As in [`AclBinding`].
    pub resource_name: Option<Str>,
    /// As in [`AclBinding`], or 1, or 2.
    pub pattern_type: i8,
    /// As in [`AclBinding`].
    pub principal: Option<Str>,
    /// As in [`AclBinding`].
    pub host: Option<Str>,
    /// As in [`AclBinding`], or 1.
    pub operation: i8,
    /// As in [`AclBinding`], or 1.
    pub permission_type: i8,
}

impl AclFilter {
    /// All ACLs.
    pub const ANY: Self = Self {
        resource_type: 1,
        resource_name: None,
        pattern_type: 1,
        principal: None,
        host: None,
        operation: 1,
        permission_type: 1,
    };
}

/// Whom a quota is for: names by type (`user`, `client-id`, `ip`); `None` is the default of the type.
pub type QuotaEntity = BTreeMap<Str, Option<Str>>;

/// Which entities are meant, by one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaComponent {
    /// `user`, `client-id` or `ip`.
    pub entity_type: Str,
    /// Which of them.
    pub matches: QuotaMatch,
}

/// Which entities of a type are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaMatch {
    /// The one of that name.
    Exact(Str),
    /// The default.
    Default,
    /// All that are named.
    Any,
}

/// A change of an entity's quotas: the new value, or `None` to remove it.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaAlteration {
    /// Whose.
    pub entity: QuotaEntity,
    /// By name: `producer_byte_rate`, …
    pub ops: BTreeMap<Str, Option<f64>>,
}

/// A mechanism of SCRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum ScramMechanism {
    /// `SCRAM-SHA-256`
    Sha256 = 1,
    /// `SCRAM-SHA-512`
    Sha512 = 2,
}

impl ScramMechanism {
    /// As Kafka writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// By Kafka's name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|m| m.name() == name)
    }

    fn from_id(id: i8) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|m| *m as i8 == id)
    }

    /// `Hi(password, salt, iterations)` of RFC 5802: what a broker keeps instead of the password.
    pub fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Bytes {
        self.hash().salted(password, salt, iterations).into()
    }

    /// The stored key and the server key of RFC 5802, which is what the metadata log keeps of a salted password.
    pub fn keys(self, salted: &[u8]) -> (Bytes, Bytes) {
        let hash = self.hash();
        let stored = hash.hash(&hash.hmac(salted, b"Client Key"));
        (stored.into(), hash.hmac(salted, b"Server Key").into())
    }

    fn hash(self) -> Hash {
        match self {
            Self::Sha256 => Hash::Sha256,
            Self::Sha512 => Hash::Sha512,
        }
    }
}

/// A user's new SCRAM credential.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramUpsertion {
    /// The user.
    pub user: Str,
    /// The mechanism.
    pub mechanism: ScramMechanism,
    /// 4096 to 16384.
    pub iterations: i32,
    /// Random bytes.
    pub salt: Bytes,
    /// `Hi(password, salt, iterations)` of RFC 5802.
    pub salted_password: Bytes,
}

impl std::fmt::Debug for ScramUpsertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramUpsertion({}, {})", self.user, self.mechanism.name())
    }
}

/// Somebody, by type and name: `User` and `alice`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    /// Mostly `User`.
    pub kind: Str,
    /// The name.
    pub name: Str,
}

/// A delegation token (KIP-48).
#[derive(Clone, PartialEq, Eq)]
pub struct DelegationToken {
    /// Whom it stands for.
    pub owner: Principal,
    /// Who asked for it, if the broker says.
    pub requester: Principal,
    /// When it was made, in milliseconds since 1970.
    pub issue_timestamp_ms: i64,
    /// When it ends unless it is renewed.
    pub expiry_timestamp_ms: i64,
    /// When it ends for good.
    pub max_timestamp_ms: i64,
    /// Its id.
    pub token_id: Str,
    /// The secret.
    pub hmac: Bytes,
    /// Who may renew it.
    pub renewers: Vec<Principal>,
}

impl std::fmt::Debug for DelegationToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DelegationToken({} of {:?})", self.token_id, self.owner)
    }
}

impl Admin {
    /// The ACLs that a filter means.
    ///
    /// # Errors
    /// If the request fails; `SECURITY_DISABLED` where there is no authorizer.
    pub async fn describe_acls(&self, filter: &AclFilter) -> Result<Vec<AclBinding>, Error> {
        let f = filter.clone();
        let request = DescribeAclsRequest {
            resource_type_filter: f.resource_type,
            resource_name_filter: f.resource_name,
            pattern_type_filter: f.pattern_type,
            principal_filter: f.principal,
            host_filter: f.host,
            operation: f.operation,
            permission_type: f.permission_type,
            ..Default::default()
        };
        let response = self.ask(Target::Any, request, |r| check(r.error_code, r.error_message.as_ref())).await?;
        let all = response.resources.into_iter().flat_map(|r| {
            r.acls.into_iter().map(move |a| AclBinding {
                resource_type: r.resource_type,
                resource_name: r.resource_name.clone(),
                pattern_type: r.pattern_type,
                principal: a.principal,
                host: a.host,
                operation: a.operation,
                permission_type: a.permission_type,
            })
        });
        Ok(all.collect())
    }

    /// Adds ACLs; a result for each, in order.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn create_acls(&self, bindings: &[AclBinding]) -> Result<Vec<Result<(), Error>>, Error> {
        let creation = |b: &AclBinding| AclCreation {
            resource_type: b.resource_type,
            resource_name: b.resource_name.clone(),
            resource_pattern_type: b.pattern_type,
            principal: b.principal.clone(),
            host: b.host.clone(),
            operation: b.operation,
            permission_type: b.permission_type,
            ..Default::default()
        };
        let request = CreateAclsRequest { creations: bindings.iter().map(creation).collect(), ..Default::default() };
        let response = self.ask(Target::Controller, request, |_| Ok(())).await?;
        Ok(response.results.iter().map(|r| check(r.error_code, r.error_message.as_ref())).collect())
    }

    /// Removes the ACLs that filters mean; for each filter, in order, what was removed.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn delete_acls(&self, filters: &[AclFilter]) -> Result<Vec<Result<Vec<AclBinding>, Error>>, Error> {
        let filter = |f: &AclFilter| DeleteAclsFilter {
            resource_type_filter: f.resource_type,
            resource_name_filter: f.resource_name.clone(),
            pattern_type_filter: f.pattern_type,
            principal_filter: f.principal.clone(),
            host_filter: f.host.clone(),
            operation: f.operation,
            permission_type: f.permission_type,
            ..Default::default()
        };
        let request = DeleteAclsRequest { filters: filters.iter().map(filter).collect(), ..Default::default() };
        let response = self.ask(Target::Controller, request, |_| Ok(())).await?;
        let removed = |r: logrun_wire::messages::delete_acls_response::DeleteAclsFilterResult| {
            check(r.error_code, r.error_message.as_ref())?;
            r.matching_acls
                .into_iter()
                .map(|a| {
                    check(a.error_code, a.error_message.as_ref()).map(|()| AclBinding {
                        resource_type: a.resource_type,
                        resource_name: a.resource_name,
                        pattern_type: a.pattern_type,
                        principal: a.principal,
                        host: a.host,
                        operation: a.operation,
                        permission_type: a.permission_type,
                    })
                })
                .collect()
        };
        Ok(response.filter_results.into_iter().map(removed).collect())
    }

    /// The quotas of the entities that have all of `components`; with `strict`, and no other.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn describe_client_quotas(
        &self,
        components: &[QuotaComponent],
        strict: bool,
    ) -> Result<Vec<(QuotaEntity, BTreeMap<Str, f64>)>, Error> {
        let component = |c: &QuotaComponent| {
            let (match_type, r#match) = match &c.matches {
                QuotaMatch::Exact(name) => (0, Some(name.clone())),
                QuotaMatch::Default => (1, None),
                QuotaMatch::Any => (2, None),
            };
            ComponentData { entity_type: c.entity_type.clone(), match_type, r#match, ..Default::default() }
        };
        let components = components.iter().map(component).collect();
        let request = DescribeClientQuotasRequest { components, strict, ..Default::default() };
        let response = self.ask(Target::Any, request, |r| check(r.error_code, r.error_message.as_ref())).await?;
        let entry = |e: logrun_wire::messages::describe_client_quotas_response::EntryData| {
            let entity = e.entity.into_iter().map(|e| (e.entity_type, e.entity_name)).collect();
            (entity, e.values.into_iter().map(|v| (v.key, v.value)).collect())
        };
        Ok(response.entries.unwrap_or_default().into_iter().map(entry).collect())
    }

    /// Changes quotas, or with `validate_only` says what would come of it.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn alter_client_quotas(
        &self,
        alterations: &[QuotaAlteration],
        validate_only: bool,
    ) -> Result<Each<QuotaEntity, ()>, Error> {
        let entry = |a: &QuotaAlteration| EntryData {
            entity: a
                .entity
                .iter()
                .map(|(kind, name)| EntityData {
                    entity_type: kind.clone(),
                    entity_name: name.clone(),
                    ..Default::default()
                })
                .collect(),
            ops: a
                .ops
                .iter()
                .map(|(key, value)| OpData {
                    key: key.clone(),
                    value: value.unwrap_or(0.0),
                    remove: value.is_none(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let entries = alterations.iter().map(entry).collect();
        let request = AlterClientQuotasRequest { entries, validate_only, ..Default::default() };
        let response = self.ask(Target::Controller, request, |_| Ok(())).await?;
        let result = |e: logrun_wire::messages::alter_client_quotas_response::EntryData| {
            let entity = e.entity.into_iter().map(|e| (e.entity_type, e.entity_name)).collect();
            (entity, check(e.error_code, e.error_message.as_ref()))
        };
        Ok(response.entries.into_iter().map(result).collect())
    }

    /// The SCRAM mechanisms of users, with their iterations; of all users if none is named.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn describe_user_scram_credentials(
        &self,
        users: Option<&[Str]>,
    ) -> Result<Each<Str, Vec<(ScramMechanism, i32)>>, Error> {
        let users =
            users.map(|users| users.iter().map(|u| UserName { name: u.clone(), ..Default::default() }).collect());
        let request = DescribeUserScramCredentialsRequest { users, ..Default::default() };
        let response = self.ask(Target::Any, request, |r| check(r.error_code, r.error_message.as_ref())).await?;
        let user =
            |r: logrun_wire::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResult| {
                let infos = r
                    .credential_infos
                    .iter()
                    .filter_map(|c| Some((ScramMechanism::from_id(c.mechanism)?, c.iterations)));
                (r.user.clone(), check(r.error_code, r.error_message.as_ref()).map(|()| infos.collect()))
            };
        Ok(response.results.into_iter().map(user).collect())
    }

    /// Sets and removes SCRAM credentials; a result for each user.
    ///
    /// # Errors
    /// If the request as a whole fails.
    pub async fn alter_user_scram_credentials(
        &self,
        upsertions: &[ScramUpsertion],
        deletions: &[(Str, ScramMechanism)],
    ) -> Result<Each<Str, ()>, Error> {
        let upsertion = |u: &ScramUpsertion| ScramCredentialUpsertion {
            name: u.user.clone(),
            mechanism: u.mechanism as i8,
            iterations: u.iterations,
            salt: u.salt.clone(),
            salted_password: u.salted_password.clone(),
            ..Default::default()
        };
        let deletion = |(user, mechanism): &(Str, ScramMechanism)| ScramCredentialDeletion {
            name: user.clone(),
            mechanism: *mechanism as i8,
            ..Default::default()
        };
        let request = AlterUserScramCredentialsRequest {
            deletions: deletions.iter().map(deletion).collect(),
            upsertions: upsertions.iter().map(upsertion).collect(),
            ..Default::default()
        };
        let response = self.ask(Target::Controller, request, |_| Ok(())).await?;
        Ok(response.results.into_iter().map(|r| (r.user, check(r.error_code, r.error_message.as_ref()))).collect())
    }

    /// Makes a delegation token, for the caller or for `owner`.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn create_delegation_token(
        &self,
        owner: Option<&Principal>,
        renewers: &[Principal],
        max_lifetime_ms: Option<i64>,
    ) -> Result<DelegationToken, Error> {
        let request = CreateDelegationTokenRequest {
            owner_principal_type: owner.map(|o| o.kind.clone()),
            owner_principal_name: owner.map(|o| o.name.clone()),
            renewers: renewers
                .iter()
                .map(|r| CreatableRenewers {
                    principal_type: r.kind.clone(),
                    principal_name: r.name.clone(),
                    ..Default::default()
                })
                .collect(),
            max_lifetime_ms: max_lifetime_ms.unwrap_or(-1),
            ..Default::default()
        };
        let build = |version: i16| {
            let mut request = request.clone();
            if version < 3 {
                if owner.is_some() {
                    return Err(Error::Invalid("the broker is too old to make a token for somebody else".to_owned()));
                }
                request.owner_principal_type = Some(Str::EMPTY);
                request.owner_principal_name = Some(Str::EMPTY);
            }
            Ok(request)
        };
        let r = self.client.call_with(self.to(Target::Controller), build, |_, r| check(r.error_code, None)).await?;
        Ok(DelegationToken {
            owner: Principal { kind: r.principal_type, name: r.principal_name },
            requester: Principal { kind: r.token_requester_principal_type, name: r.token_requester_principal_name },
            issue_timestamp_ms: r.issue_timestamp_ms,
            expiry_timestamp_ms: r.expiry_timestamp_ms,
            max_timestamp_ms: r.max_timestamp_ms,
            token_id: r.token_id,
            hmac: r.hmac,
            renewers: renewers.to_vec(),
        })
    }

    /// Renews a token for `period_ms`, or for the broker's period; when it ends then.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn renew_delegation_token(&self, hmac: &Bytes, period_ms: Option<i64>) -> Result<i64, Error> {
        let renew_period_ms = period_ms.unwrap_or(-1);
        let request = RenewDelegationTokenRequest { hmac: hmac.clone(), renew_period_ms, ..Default::default() };
        let response = self.ask(Target::Controller, request, |r| check(r.error_code, None)).await?;
        Ok(response.expiry_timestamp_ms)
    }

    /// Ends a token in `period_ms`, or now; when it ends then.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn expire_delegation_token(&self, hmac: &Bytes, period_ms: Option<i64>) -> Result<i64, Error> {
        let expiry_time_period_ms = period_ms.unwrap_or(-1);
        let request = ExpireDelegationTokenRequest { hmac: hmac.clone(), expiry_time_period_ms, ..Default::default() };
        let response = self.ask(Target::Controller, request, |r| check(r.error_code, None)).await?;
        Ok(response.expiry_timestamp_ms)
    }

    /// The tokens of these owners, or all that the caller may see.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn describe_delegation_tokens(
        &self,
        owners: Option<&[Principal]>,
    ) -> Result<Vec<DelegationToken>, Error> {
        let owner = |o: &Principal| DescribeDelegationTokenOwner {
            principal_type: o.kind.clone(),
            principal_name: o.name.clone(),
            ..Default::default()
        };
        let owners = owners.map(|owners| owners.iter().map(owner).collect());
        let request = DescribeDelegationTokenRequest { owners, ..Default::default() };
        let response = self.ask(Target::Any, request, |r| check(r.error_code, None)).await?;
        let token =
            |t: logrun_wire::messages::describe_delegation_token_response::DescribedDelegationToken| DelegationToken {
                owner: Principal { kind: t.principal_type, name: t.principal_name },
                requester: Principal { kind: t.token_requester_principal_type, name: t.token_requester_principal_name },
                issue_timestamp_ms: t.issue_timestamp,
                expiry_timestamp_ms: t.expiry_timestamp,
                max_timestamp_ms: t.max_timestamp,
                token_id: t.token_id,
                hmac: t.hmac,
                renewers: t
                    .renewers
                    .into_iter()
                    .map(|r| Principal { kind: r.principal_type, name: r.principal_name })
                    .collect(),
            };
        Ok(response.tokens.into_iter().map(token).collect())
    }
}
